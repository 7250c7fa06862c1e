"""What compression leaves of the detector, and what of it is refused: ``python -m benchmarks.compression``.

Saves validation clips as H.264 and validation faces as JPEG, ever more strongly, and prints a Markdown table: median
blockiness of the faces, files that are refused as too compressed, false alarms, and the AUC that there would be if
nothing were refused. This is what the limits of blockiness in the model registry are set by.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from detection.engine import aggregation
from detection.engine.factory import EngineConfig, build_pipeline
from detection.engine.pipeline import Pipeline
from detection.engine.registry import find_model
from detection.engine.runtimes.litert import LiteRTClassifier
from detection.engine.types import MediaKind, ReasonCode, Verdict
from detection.training.datasets import Sample, read_manifests
from detection.training.degradations import jpeg
from detection.training.perturbations import Chain, recode
from detection.training.robustness import balanced
from detection.training.scoring import Clip, Detector, comparisons, judge_images, read_clips, score_faces

CHAINS: dict[str, Chain] = {
    **{f"H.264, CRF {crf}": ((None, crf),) for crf in (23, 28, 32, 35, 38, 40, 45, 51)},
    "H.264, 480p, CRF 28": ((480, 28),),
    "H.264, CRF 45, then 20": ((None, 45), (None, 20)),
}
QUALITIES = (90, 75, 60, 50, 40, 30, 20, 10)


@dataclass(frozen=True)
class Row:
    """One way to save a file: ``refused`` of ``files``, ``alarms`` of ``reals``."""

    name: str
    blockiness: float
    refused: int
    files: int
    alarms: int
    reals: int
    auc: float

    def __str__(self) -> str:
        counts = f"{self.refused} of {self.files} | {self.alarms} of {self.reals}"
        return f"| {self.name} | {self.blockiness:.2f} | {counts} | {self.auc:.3f} |"


def of_clips(name: str, chain: Chain, clips: Sequence[Clip], pipeline: Pipeline) -> Row:
    """The AUC is of the worst track's mean logit, refused or not; a clip without a face ranks last."""
    with tempfile.TemporaryDirectory() as folder:
        results = [pipeline.run(recode(clip.path, chain, Path(folder), seconds=2.0)) for clip in clips]
    logits = [max((aggregation.mean_logit(t.scores) for t in r.tracks), default=-30.0) for r in results]
    labels = np.array([clip.label for clip in clips])
    seen = [s.quality.blockiness for r in results for t in r.tracks for s in t.scores]
    refused = sum(ReasonCode.TOO_COMPRESSED in {reason.code for reason in r.reasons} for r in results)
    alarms = sum(r.verdict is Verdict.MANIPULATED and not clip.label for r, clip in zip(results, clips, strict=True))
    reals = int((labels == 0).sum())
    return Row(name, float(np.median(seen)), refused, len(clips), alarms, reals, float(roc_auc_score(labels, logits)))


def of_faces(quality: int, samples: Sequence[Sample], detector: Detector) -> Row:
    """The AUC is the mean over the manipulations, each against its own source's reals."""
    save = partial(jpeg, quality=quality)
    faces = score_faces(samples, detector, change=lambda _, image: save(image), what=f"JPEG {quality}")
    limits = detector.spec.quality
    problems = [aggregation.unusable_because(q, limits, MediaKind.IMAGE) for q in faces.qualities]
    judged = judge_images(faces, detector.spec)
    areas = [roc_auc_score(judged.labels[m], judged.scores[m]) for m in comparisons(judged).values()]
    return Row(
        f"JPEG, quality {quality}",
        float(np.median([q.blockiness for q in faces.qualities])),
        problems.count(ReasonCode.TOO_COMPRESSED),
        len(samples),
        int(((judged.labels == 0) & judged.having((Verdict.MANIPULATED,))).sum()),
        int((judged.labels == 0).sum()),
        float(np.mean(areas)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--frames", type=int, default=16, help="looked at in each clip")
    parser.add_argument("--faces", type=int, default=400)
    options = parser.parse_args()
    spec = find_model()
    print(f"{spec.name} {spec.version} ({spec.sha256[:12]})\n")
    print("| saved as | blockiness | refused | false alarms | AUC if nothing were refused |\n|---|---|---|---|---|")
    clips = read_clips(options.data / "clips" / "manifest.csv")
    pipeline = build_pipeline(EngineConfig(frames=options.frames))
    for name, chain in CHAINS.items():
        print(of_clips(name, chain, clips, pipeline), flush=True)
    everyone = read_manifests([options.data / "faces" / "manifest.csv"])
    samples = balanced([s for s in everyone if s.split == "val"], options.faces)
    detector = Detector(spec, LiteRTClassifier(spec))
    for quality in QUALITIES:
        print(of_faces(quality, samples, detector), flush=True)


if __name__ == "__main__":
    main()
