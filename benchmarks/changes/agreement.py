"""What a change did to the answers: face by face where the same faces are looked at, by AUC where they are not."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.changes.measuring import Outcome, Run
from benchmarks.speed.files import CLIPS
from detection.engine.types import Box

SCORES_WITHIN = 1e-3
AUC_WITHIN = 0.005
SAME_FACE = 0.5  # intersection over union

Pair = tuple[Outcome, Outcome]  # with the change, and without


@dataclass(frozen=True, slots=True)
class Clip:
    path: Path
    is_fake: bool


def validation_clips() -> list[Clip]:
    """Of the collection beside the checkout; none where there is none."""
    listing = CLIPS / "manifest.csv"
    if not listing.is_file():
        return []
    with listing.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    return [Clip(CLIPS / row["file"], row["method"] != "real") for row in rows]


@dataclass(frozen=True, slots=True)
class Scores:
    """``faces``: that both ways found; ``others``: that only one of them found there and then."""

    faces: int
    others: int
    largest: float  # difference of a face's score

    @property
    def same(self) -> bool:
        return not self.others and self.largest <= SCORES_WITHIN


def compare_scores(pairs: Sequence[Pair]) -> Scores:
    faces = others = 0
    largest = 0.0
    for now, back in pairs:
        matched, alone = _matched(now["faces"], back["faces"])
        faces, others = faces + len(matched), others + alone
        largest = max([largest, *(abs(one[5] - other[5]) for one, other in matched)])
    return Scores(faces, others, largest)


def _matched(ones: Sequence[list[float]], others: Sequence[list[float]]) -> tuple[list[tuple[list[float], ...]], int]:
    """Those of the same time and place, and how many of both are left."""
    left = list(others)
    matched = []
    for one in ones:
        found = next((other for other in left if one[0] == other[0] and _box(one).iou(_box(other)) > SAME_FACE), None)
        if found is not None:
            left.remove(found)
            matched.append((one, found))
    return matched, len(ones) - len(matched) + len(left)


def _box(face: list[float]) -> Box:
    return Box(*map(int, face[1:5]))


@dataclass(frozen=True, slots=True)
class Ranking:
    """AUC with the change and without, of all frames' faces and of the clips that got a score both ways."""

    clips: int
    faces: tuple[float, float]
    files: tuple[float, float] | None  # None if there are not both kinds
    pairs: int  # of a real clip and a manipulated one: what one more in the right order is worth in the AUC of files
    verdicts: int  # that differ

    @property
    def held(self) -> bool:
        """Whether nothing is lost by the change; to gain is no fault."""
        now, back = self.faces
        return now >= back - AUC_WITHIN


def compare_rankings(clips: Sequence[Clip], pairs: Sequence[Pair]) -> Ranking:
    scored = [
        (clip.is_fake, now["score"], back["score"])
        for clip, (now, back) in zip(clips, pairs, strict=True)
        if now["score"] is not None and back["score"] is not None
    ]
    fake = np.array([row[0] for row in scored], bool)
    opposed = int(fake.sum() * (~fake).sum())
    return Ranking(
        clips=len(scored),
        faces=(_of_faces(clips, [now for now, _ in pairs]), _of_faces(clips, [back for _, back in pairs])),
        files=(_auc(fake, [row[1] for row in scored]), _auc(fake, [row[2] for row in scored])) if opposed else None,
        pairs=opposed,
        verdicts=sum(now["verdict"] != back["verdict"] for now, back in pairs),
    )


def _of_faces(clips: Sequence[Clip], outcomes: Sequence[Outcome]) -> float:
    rows = [(clip.is_fake, face[6]) for clip, one in zip(clips, outcomes, strict=True) for face in one["faces"]]
    return _auc([row[0] for row in rows], [row[1] for row in rows])


def _auc(fake: Sequence[bool] | NDArray[np.bool_], scores: Sequence[float]) -> float:
    return float(roc_auc_score(fake, scores))


def look(clips: Sequence[Clip], now: Run, back: Run) -> list[Pair]:
    return [(now(clip.path), back(clip.path)) for clip in clips]
