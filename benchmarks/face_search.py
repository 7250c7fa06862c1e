"""What following faces from frame to frame saves over looking everywhere in each, and whether it costs anything.

``python -m benchmarks.face_search [--split val] [--height 1080]``: runs the engine over the clips beside the checkout
both ways, one after the other for each clip, and prints a Markdown table. ``--height`` enlarges the clips first, which
takes more tiles to search. Ranked by the mean logit of all faces, since enlarged ones are too blurred for a score.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from detection.engine.faces import BlazeFaceDetector
from detection.engine.factory import EngineConfig, build_pipeline
from detection.engine.pipeline import Pipeline
from detection.engine.types import AnalysisResult, Face, RGBImage


class Everywhere(BlazeFaceDetector):
    """Never only follows."""

    def follow(self, image: RGBImage, faces: Sequence[Face]) -> list[Face]:
        del faces
        return self.detect(image)


def enlarged(path: Path, height: int, folder: Path) -> Path:
    """A copy of this height."""
    target = folder / path.name
    with av.open(str(path)) as source, av.open(str(target), "w") as output:
        video = source.streams.video[0]
        width = round(video.width * height / video.height / 2) * 2
        options = {"preset": "veryfast", "crf": "20"}
        stream = output.add_stream("libx264", rate=video.average_rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, frame in enumerate(source.decode(video)):
            larger = frame.reformat(width, height)
            larger.pts, larger.time_base = number, 1 / Fraction(video.average_rate)
            output.mux(stream.encode(larger))
        output.mux(stream.encode(None))
    return target


def faces(result: AnalysisResult) -> int:
    return sum(len(track.scores) for track in result.tracks)


def logit(result: AnalysisResult) -> float:
    return float(np.mean([score.logit for track in result.tracks for score in track.scores]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/clips"))
    parser.add_argument("--split", default="val", choices=["train", "val"])
    parser.add_argument("--height", type=int, help="lines to enlarge the clips to; as they are if not given")
    options = parser.parse_args()
    with (options.data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == options.split]
    ways = {"everywhere": _pipeline(Everywhere(threads=2)), "followed": _pipeline(BlazeFaceDetector(threads=2))}
    results: dict[str, list[AnalysisResult]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        for row in tqdm(rows, unit="clip"):
            path = options.data / row["file"]
            if options.height:
                path = enlarged(path, options.height, Path(folder))
            for way, pipeline in ways.items():
                results[way].append(pipeline.run(path))
    labels = [int(row["method"] != "real") for row in rows]
    print(
        "| search | faces | seconds for them | seconds in all | AUC | verdicts that differ |\n|---|---|---|---|---|---|"
    )
    for way, found in results.items():
        seconds = [sum(result.timings[stage] for result in found) for stage in ("faces", "total")]
        print(
            f"| {way} | {sum(map(faces, found))} | {seconds[0]:.1f} | {seconds[1]:.1f} "
            f"| {roc_auc_score(labels, [logit(result) for result in found]):.4f} "
            f"| {sum(a.verdict != b.verdict for a, b in zip(found, results['everywhere'], strict=True))} |"
        )
    pairs = zip(*results.values(), strict=True)
    gaps = [abs(logit(a) - logit(b)) for a, b in pairs]
    print(f"\n{len(rows)} clips; mean logits differ by {np.mean(gaps):.3f} on average, by {max(gaps):.3f} at most")


def _pipeline(detector: BlazeFaceDetector) -> Pipeline:
    pipeline = build_pipeline(EngineConfig(sandbox=None, adaptive=False))
    pipeline._face_detector = detector
    return pipeline


if __name__ == "__main__":
    main()
