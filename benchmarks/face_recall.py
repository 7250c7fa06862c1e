"""How many faces do the two face detectors find, how exactly, and how fast?

    python benchmarks/face_recall.py [--data ../shared/data] [--yunet ../shared/models/...onnx] [--every 3]

Needs the labelled faces and clips that lie beside the checkout. Prints Markdown tables.

Read the numbers with this in mind: the labelled faces were found and cut out by YuNet, so faces that
YuNet misses are not among them and its own recall is flattered; it is asked here about the crops, in
which a face is larger and more central than where it was found. "Found" means a box with an
intersection over union of 0.4 or more, or landmarks closer than a quarter of the distance from the
eyes to the mouth.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script, from anywhere

from detection.engine.faces import BlazeFaceDetector, FaceDetector, YuNetDetector  # noqa: E402
from detection.engine.media import open_media  # noqa: E402
from detection.engine.types import Box, Face, FloatArray, RGBImage  # noqa: E402

CANVAS = (1920, 1080)
WIDTHS = (24, 32, 48, 64, 96)
FACES_PER_CANVAS = 6


@dataclass(frozen=True)
class Labelled:
    source: str
    path: Path
    box: Box
    landmarks: FloatArray  # (4, 2), our convention

    def image(self) -> RGBImage:
        pixels = cv2.imread(str(self.path))
        if pixels is None:
            raise FileNotFoundError(self.path)
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)

    def moved(self, scale: float, shift: tuple[int, int]) -> Labelled:
        sides = (self.box.left, self.box.top, self.box.right, self.box.bottom)
        left, top, right, bottom = (round(v * scale) + shift[i % 2] for i, v in enumerate(sides))
        landmarks = (self.landmarks * scale + np.array(shift)).astype(np.float32)
        return Labelled(self.source, self.path, Box(left, top, right, bottom), landmarks)

    def eyes_to_mouth(self) -> float:
        return float(np.linalg.norm(self.landmarks[3] - self.landmarks[:2].mean(axis=0)))

    def match(self, found: list[Face]) -> Face | None:
        best = max(found, key=lambda face: face.box.iou(self.box), default=None)
        if best is None or best.box.iou(self.box) >= 0.4:
            return best
        far = [float(np.linalg.norm(face.landmarks - self.landmarks, axis=1).mean()) for face in found]
        return found[int(np.argmin(far))] if min(far) < self.eyes_to_mouth() / 4 else None


def labelled_faces(data: Path) -> list[Labelled]:
    with (data / "faces" / "manifest.csv").open(newline="") as file:
        return [_labelled(data, row) for row in csv.DictReader(file) if row["split"] == "val"]


def _labelled(data: Path, row: dict[str, str]) -> Labelled:
    left, top, width, height = (float(row[f"box_{side}"]) for side in "xywh")
    points = np.array([point.split(",") for point in row["landmarks"].split()], np.float32)
    four = np.stack([points[0], points[1], points[2], (points[3] + points[4]) / 2])
    box = Box(round(left), round(top), round(left + width), round(top + height))
    return Labelled(f"{row['dataset']}-{row['method']}", data / "faces" / row["file"], box, four)


def clip_frames(data: Path, count: int) -> Iterator[tuple[Path, RGBImage]]:
    for clip in sorted((data / "clips" / "val").glob("*/*.mp4")):
        with open_media(clip) as media:
            for frame in media.sample(count):
                yield clip, frame.image


def table(title: str, header: list[str], rows: list[list[str]]) -> None:
    print(f"\n**{title}**\n")
    for cells in [header, ["---"] * len(header), *rows]:
        print("| " + " | ".join(cells) + " |")
    sys.stdout.flush()


def crops(detectors: list[FaceDetector], faces: list[Labelled]) -> None:
    hits: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    extra: dict[str, int] = defaultdict(int)
    pairs: dict[str, list[tuple[Labelled, Face]]] = defaultdict(list)
    for face in faces:
        image = face.image()
        for detector in detectors:
            found = detector.detect(image)
            match = face.match(found)
            hits[face.source][detector.name].append(match is not None)
            hits["all"][detector.name].append(match is not None)
            extra[detector.name] += len(found) - (match is not None)
            if match is not None:
                pairs[detector.name].append((face, match))
    names = [detector.name for detector in detectors]
    rows = [
        [source, str(len(by[names[0]])), *(f"{np.mean(by[name]):.1%}" for name in names)]
        for source, by in sorted(hits.items())
    ]
    rows.append(["other faces in the crops", "", *(str(extra[name]) for name in names)])
    table("Recall on labelled faces (val; labels by YuNet)", ["source", "faces", *names], rows)
    landmarks(pairs)


MEASURES = (
    "middle of the eyes: distance",
    "middle of the eyes: sideways",
    "middle of the eyes: downwards",
    "mouth: distance",
    "mouth: sideways",
    "mouth: downwards",
    "eyes to mouth, ratio",
    "eye to eye, ratio",
    "box width, ratio",
    "box height, ratio",
)


def landmarks(pairs: dict[str, list[tuple[Labelled, Face]]]) -> None:
    columns = {name: np.array([agreement(*pair) for pair in each]) for name, each in pairs.items()}
    rows = [
        [measure, *(f"{c[:, i].mean():+.3f} ± {c[:, i].std():.3f}" for c in columns.values())]
        for i, measure in enumerate(MEASURES)
    ]
    title = "Agreement with the labels (mean ± deviation; unit: distance from the eyes to the mouth)"
    table(title, ["in the face's own frame", *columns], rows)


def agreement(label: Labelled, face: Face) -> list[float]:
    """The ``MEASURES``; "downwards" is from the eyes to the mouth, "sideways" to the person's left."""
    eyes = label.landmarks[:2].mean(axis=0)
    down = (label.landmarks[3] - eyes) / label.eyes_to_mouth()
    side = np.array([down[1], -down[0]])
    values = []
    face_eyes = face.landmarks[:2].mean(axis=0)
    for offset in (face_eyes - eyes, face.landmarks[3] - label.landmarks[3]):
        offset = offset / label.eyes_to_mouth()
        values += [float(np.linalg.norm(offset)), float(offset @ side), float(offset @ down)]
    apart = [float(np.linalg.norm(points[1] - points[0])) for points in (face.landmarks, label.landmarks)]
    return [
        *values,
        float(np.linalg.norm(face.landmarks[3] - face_eyes)) / label.eyes_to_mouth(),
        apart[0] / max(1.0, apart[1]),
        face.box.width / label.box.width,
        face.box.height / label.box.height,
    ]


def clips(detectors: list[FaceDetector], data: Path) -> None:
    """Every val clip shows one person at a time (looked at), so further faces are false, except
    perhaps those on the small screens behind the presenter of clip 712.
    """
    counts: dict[str, list[int]] = defaultdict(list)
    for _, image in clip_frames(data, 6):
        for detector in detectors:
            counts[detector.name].append(len(detector.detect(image)))
    rows = [
        ["frames", *(str(len(each)) for each in counts.values())],
        ["with a face", *(f"{np.mean([n > 0 for n in each]):.1%}" for each in counts.values())],
        ["further faces", *(str(sum(max(0, n - 1) for n in each)) for each in counts.values())],
    ]
    table("Frames of the 24 val clips", ["", *counts], rows)


def small_faces(detectors: list[FaceDetector], faces: list[Labelled], backgrounds: list[RGBImage]) -> None:
    rows = []
    for width in WIDTHS:
        random = np.random.default_rng(width)
        hits: dict[str, list[bool]] = defaultdict(list)
        for background in backgrounds:
            chosen = [faces[i] for i in random.choice(len(faces), FACES_PER_CANVAS, replace=False)]
            image, placed = canvas(background, chosen, width, random)
            for detector in detectors:
                found = detector.detect(image)
                hits[detector.name] += [face.match(found) is not None for face in placed]
        rows.append([f"{width} px", *(f"{np.mean(each):.0%}" for each in hits.values())])
    title = f"Recall in {CANVAS[0]}x{CANVAS[1]} by width of the face ({len(backgrounds) * FACES_PER_CANVAS} each)"
    table(title, ["width", *(detector.name for detector in detectors)], rows)


def canvas(
    background: RGBImage, chosen: list[Labelled], width: int, random: np.random.Generator
) -> tuple[RGBImage, list[Labelled]]:
    """A frame of a clip, enlarged, with faces pasted in columns so that they do not overlap."""
    image = cover(background, CANVAS)
    placed = []
    for column, face in enumerate(chosen):
        scale = width / face.box.width
        crop = cv2.resize(face.image(), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        height = crop.shape[0]
        x = round((column + 0.1) * CANVAS[0] / len(chosen))
        y = int(random.integers(0, CANVAS[1] - height))
        image[y : y + height, x : x + crop.shape[1]] = crop
        placed.append(face.moved(scale, (x, y)))
    return image, placed


def cover(image: RGBImage, size: tuple[int, int]) -> RGBImage:
    scale = max(size[0] / image.shape[1], size[1] / image.shape[0])
    larger = cv2.resize(image, None, fx=scale * 1.001, fy=scale * 1.001, interpolation=cv2.INTER_AREA)
    return np.asarray(larger[: size[1], : size[0]], np.uint8).copy()


def speed(detectors: list[FaceDetector], frames: list[RGBImage], rounds: int = 12) -> None:
    """Interleaved, so that other work on the machine slows both; the medians' ratio is what counts."""
    rows = []
    for size in ((640, 360), (1280, 720), (1920, 1080)):
        pictures = [cover(frame, size) for frame in frames[:rounds]]
        seconds: dict[str, list[float]] = defaultdict(list)
        for picture in pictures[:1] + pictures:  # the first one warms up
            for detector in detectors:
                start = time.perf_counter()
                detector.detect(picture)
                seconds[detector.name].append(time.perf_counter() - start)
        medians = [float(np.median(each[1:])) for each in seconds.values()]
        ratio = f"{medians[1] / medians[0]:.1f}"
        rows.append([f"{size[0]}x{size[1]}", *(f"{1 / median:.0f}" for median in medians), ratio])
    names = [detector.name for detector in detectors]
    table("Frames per second, one thread, same run", ["frame", *names, f"{names[0]} / {names[1]}"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    shared = ROOT.parent / "shared"
    parser.add_argument("--data", type=Path, default=shared / "data")
    parser.add_argument("--yunet", type=Path, default=shared / "models" / "face_detection_yunet_2023mar.onnx")
    parser.add_argument("--every", type=int, default=3, help="take every n-th labelled face (default 3)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    detectors: list[FaceDetector] = [BlazeFaceDetector(threads=1), YuNetDetector(options.yunet)]
    faces = labelled_faces(options.data)[:: options.every]
    frames = [image for _, image in clip_frames(options.data, 1)]
    crops(detectors, faces)
    clips(detectors, options.data)
    small_faces(detectors, [face for face in faces if face.box.width >= max(WIDTHS)], frames[:16])
    speed(detectors, frames)


if __name__ == "__main__":
    main()
