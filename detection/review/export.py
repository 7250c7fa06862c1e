"""What reviewers decided and users allow, as labelled face crops that ``detection.training`` reads.

Faces are cut by the training's own code, out of the file or, where that is deleted, out of the crops that are still
kept; the latter are a collection of their own, because they show less around a face. Not for the web process: it loads
OpenCV.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from django.conf import settings

from detection import storage
from detection.engine.types import Verdict
from detection.models import Analysis, FaceScore, Upload
from detection.review import audit
from detection.training.layouts import Medium, in_validation
from detection.training.prepare import Options, Summary, prepare_media

LABELS: Final = {Verdict.AUTHENTIC: 0, Verdict.MANIPULATED: 1}
METHODS: Final = ("real", "manipulated")
FILES, CROPS = "reviewed", "reviewed-crops"  # the collections' names
OPTIONS: Final = Options()


@dataclass(slots=True)
class Export:
    """What was written, and what was left out and why."""

    summary: Summary
    analyses: int
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Source:
    """Something to cut faces out of, and what it is of."""

    medium: Medium
    file: storage.Stored
    analysis: Analysis

    def fetch(self) -> None:
        """Have it on this machine, alone: those before it are done."""
        if isinstance(self.file, storage.Remote):
            for path in self.medium.path.parent.iterdir():
                path.unlink()
            with contextlib.suppress(FileNotFoundError):  # deleted since it was listed; whoever opens it says so
                self.medium.path.write_bytes(self.file.read_bytes())


def export(output: Path) -> Export:
    """Write manifest and crops of everything that is decided and allowed.

    Args:
        output: a new or empty folder: crops of an earlier export may be of users who have changed their minds since.

    Raises:
        FileExistsError: there is something in it.
    """
    if output.exists() and any(output.iterdir()):
        raise FileExistsError(f"{output} is not empty")
    left_out: Counter[str] = Counter()
    with TemporaryDirectory() as copies:
        found = {
            source.medium.source: source
            for analysis in _decided(left_out)
            for source in _sources(analysis, left_out, Path(copies))
        }
        used: set[Analysis] = set()

        def still_allowed(medium: Medium) -> bool:
            """Others take hours, in which its user may have taken the permission back, or all of it away."""
            analysis = found[medium.source].analysis
            allowed = Upload.objects.filter(pk=analysis.upload_id, consented_at__isnull=False).exists()
            if allowed and analysis not in used:
                used.add(analysis)
                audit.record(audit.Action.EXPORT, analysis, after={"verdict": analysis.reviewed_verdict})
            if allowed:
                found[medium.source].fetch()
            return allowed

        media = [source.medium for source in found.values()]
        summary = prepare_media(media, output, options=OPTIONS, still_wanted=still_allowed)
    left_out["no consent"] += len({source.analysis for source in found.values()} - used)
    return Export(summary, len(used), +left_out)


def _decided(left_out: Counter[str]) -> Iterator[Analysis]:
    """One decided analysis for each file whose user allows it, the latest."""
    found = Analysis.objects.filter(status=Analysis.Status.SUCCEEDED)  # one that runs anew has no faces to count
    rows = found.exclude(reviewed_verdict="").select_related("upload").order_by("-reviewed_at")
    seen: set[object] = set()
    for analysis in rows.iterator():
        if analysis.upload.consented_at is None:
            left_out["no consent"] += 1
        elif not analysis.cases.filter(is_current=True, decided_at__isnull=False).exists():
            left_out["disputed"] += 1
        elif analysis.upload_id not in seen:
            seen.add(analysis.upload_id)
            yield analysis


def _sources(analysis: Analysis, left_out: Counter[str], copies: Path) -> list[_Source]:
    """What faces can be cut out of; nothing, with the reason counted, where there is no such thing or no label."""
    label = LABELS.get(Verdict(analysis.reviewed_verdict))
    if label is None:
        left_out["nobody can tell"] += 1
        return []
    if label and analysis.tracks.count() > 1:
        left_out["several people, and which is manipulated was not said"] += 1
        return []
    name = _pseudonym(f"export-upload-{analysis.upload_id}")
    file = storage.source(analysis.upload)
    if analysis.upload.media_deleted_at is None and file.exists():
        return [_source(analysis, label, FILES, file, name, copies)]
    crops = [_source(analysis, label, CROPS, crop, f"{name}-{n}", copies) for n, crop in _kept_crops(analysis)]
    if not crops:
        left_out["file and crops are deleted"] += 1
    return crops


def _source(analysis: Analysis, label: int, dataset: str, file: storage.Stored, name: str, copies: Path) -> _Source:
    path = copies / name if isinstance(file, storage.Remote) else file
    group = _pseudonym(f"export-{analysis.upload.user_id}")
    split = "val" if in_validation(f"{FILES}/{group}") else "train"
    return _Source(Medium(path, label, dataset, METHODS[label], split, group, name), file, analysis)


def _pseudonym(name: str) -> str:
    """Of who sent it, so that nobody is trained on and validated on, or of a file; the same in every export. Without
    this site's key it leads to nobody.
    """
    return hmac.digest(settings.SECRET_KEY.encode(), name.encode(), hashlib.sha256).hex()[:16]


def _kept_crops(analysis: Analysis) -> list[tuple[int, storage.Stored]]:
    """Crops, with their numbers, of the person who is seen most often, evenly over the video, as many as are taken of a
    file.

    Faces that were smaller than what the training keeps were enlarged for the network and are left out.
    """
    scores = FaceScore.objects.filter(track__analysis=analysis, has_pictures=True, face_size__gte=OPTIONS.min_face)
    tracks: dict[int, list[int]] = {}
    for track, number in scores.order_by("time", "number").values_list("track_id", "number"):
        tracks.setdefault(track, []).append(number)
    numbers = max(tracks.values(), key=len, default=[])
    step = max(1, -(-len(numbers) // OPTIONS.frames))
    crops = ((number, storage.store().picture(analysis, f"faces/{number}.jpg")) for number in numbers[::step])
    return [(number, crop) for number, crop in crops if crop.exists()]
