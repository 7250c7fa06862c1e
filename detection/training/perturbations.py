"""What happens to pictures and videos on their way, at strengths that others have published.

Three suites: DeeperForensics-1.0 (Jiang et al., arXiv 2001.03024; seven perturbations of five levels), the grid of
GenD (JPEG, blur, resize, noise; resize with four of its six kernels), and what our users' files go through. Written
from their parameters. Compression is real: JPEG by OpenCV, H.264 by libx264. A single crop is filmed in a short pan
for it, so that it is coded like a frame of a video and not like a photograph.

``training.degradations`` draws at random what training sees; here every strength is fixed, and nothing is shared
with it but the JPEG round trip.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine.types import FloatArray, RGBImage
from detection.training.degradations import jpeg

Degradation = Callable[[RGBImage, np.random.Generator], RGBImage]
KERNELS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}
PAN_FRAMES, PAN_STEP, PAN_TAKEN = 5, 2, 3  # frames, pixels a frame, and which frame is kept: a predicted one
NEAR_LOSSLESS = 18  # CRF of the last save, which is not what is measured


@dataclass(frozen=True, slots=True)
class Cell:
    """One degradation at one strength. ``level`` is what the suite calls its parameter's value."""

    suite: str
    kind: str
    level: str
    apply: Degradation

    @property
    def name(self) -> str:
        return f"{self.kind} {self.level}".strip()


def fixed(function: Callable[..., RGBImage], **options: Any) -> Degradation:
    """A degradation in which nothing is left to chance."""
    return lambda image, rng: function(image, **options)  # noqa: ARG005  (every degradation is offered a draw)


# --- degradations: RGB uint8 in and out ------------------------------------------------------------


def _clipped(image: NDArray[Any]) -> RGBImage:
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def _luma_chroma(image: RGBImage) -> FloatArray:
    """Y, Cr, Cb, 0..1, chroma around 0.5."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2YCrCb), np.float32)


def _rgb(luma_chroma: FloatArray) -> RGBImage:
    return _clipped(np.asarray(cv2.cvtColor(luma_chroma, cv2.COLOR_YCrCb2RGB), np.float32) * 255)


def saturation(image: RGBImage, *, factor: float) -> RGBImage:
    planes = _luma_chroma(image)
    planes[..., 1:] = 0.5 + (planes[..., 1:] - 0.5) * factor
    return _rgb(planes)


def contrast(image: RGBImage, *, factor: float) -> RGBImage:
    return _clipped(image.astype(np.float32) * factor)


def grey_blocks(image: RGBImage, rng: np.random.Generator, *, count: int) -> RGBImage:
    """8x8 blocks at random places. The suite counts per 256 px of a frame's side; a crop counts as one."""
    result = image.copy()
    height, width = image.shape[:2]
    for _ in range(count * max(1, min(height, width) // 256)):
        y, x = int(rng.integers(0, max(1, height - 8))), int(rng.integers(0, max(1, width - 8)))
        result[y : y + 8, x : x + 8] = 128
    return result


def colour_noise(image: RGBImage, rng: np.random.Generator, *, variance: float) -> RGBImage:
    planes = _luma_chroma(image)
    return _rgb(planes + rng.normal(0, variance**0.5, planes.shape).astype(np.float32))


def grain(image: RGBImage, rng: np.random.Generator, *, sigma: float) -> RGBImage:
    return _clipped(image + rng.normal(0, 255 * sigma, image.shape).astype(np.float32))


def blur(image: RGBImage, *, kernel: int, sigma: float) -> RGBImage:
    return np.asarray(cv2.GaussianBlur(image, (kernel, kernel), sigma), np.uint8)


def pixelate(image: RGBImage, *, factor: int) -> RGBImage:
    """Down and up again by ``factor``: what DeeperForensics' script calls JPEG."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, width // factor), max(1, height // factor)))
    return np.asarray(cv2.resize(small, (width, height)), np.uint8)


def resize_to(image: RGBImage, *, side: int, kernel: int) -> RGBImage:
    """Shrink the longer side to ``side`` pixels; the detector's own crop brings it to its input size."""
    return scale(image, factor=side / max(image.shape[:2]), kernel=kernel)


def scale(image: RGBImage, *, factor: float, kernel: int = cv2.INTER_AREA) -> RGBImage:
    size = (max(8, round(image.shape[1] * factor)), max(8, round(image.shape[0] * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=kernel), np.uint8)


def video(image: RGBImage, *, crfs: tuple[int, ...]) -> RGBImage:
    """One round of H.264 for each constant rate factor in ``crfs``."""
    for crf in crfs:
        image = h264(image, crf)
    return image


def social_media(image: RGBImage) -> RGBImage:
    """Uploaded in 720p, served in 480p at CRF 30, saved again in 720p."""
    served = h264(scale(image, factor=480 / 720), 30)
    back = cv2.resize(served, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_CUBIC)
    return h264(np.asarray(back, np.uint8), NEAR_LOSSLESS)


def beauty(image: RGBImage) -> RGBImage:
    """Skin smoothed along its edges, brightened a little: what a phone does by default."""
    smooth = cv2.bilateralFilter(image, 9, 40, 9).astype(np.float32)
    mixed = 0.75 * smooth + 0.25 * image
    return _clipped(np.asarray(255 * (mixed / 255) ** 0.9, np.float32))


def screenshot(image: RGBImage) -> RGBImage:
    """Scaled to a display, captioned, saved as JPEG, shared at the old size."""
    height, width = image.shape[:2]
    shown = np.asarray(scale(image, factor=1.25, kernel=cv2.INTER_CUBIC))
    band = round(0.1 * shown.shape[0])
    shown[-band:] = shown[-band:] // 3
    cv2.putText(shown, "breaking", (4, shown.shape[0] - band // 3), cv2.FONT_HERSHEY_SIMPLEX, band / 40, (255,) * 3)
    return np.asarray(cv2.resize(jpeg(shown, 85), (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def h264(image: RGBImage, crf: int) -> RGBImage:
    """What libx264 (preset medium, 4:2:0) makes of ``image`` in the middle of a short pan."""
    height, width = image.shape[:2]
    even = (height + height % 2, width + width % 2)
    reach = PAN_STEP * PAN_FRAMES
    around = cv2.copyMakeBorder(image, reach, reach + 1, reach, reach + 1, cv2.BORDER_REFLECT_101)
    starts = [reach + PAN_STEP * (i - PAN_TAKEN) for i in range(PAN_FRAMES)]
    frames = [around[d : d + even[0], d : d + even[1]] for d in starts]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        _encode(container, (np.ascontiguousarray(f) for f in frames), even, crf, Fraction(25), threads=1)
    buffer.seek(0)
    with av.open(buffer, "r") as container:
        frames_back = list(container.decode(video=0))
    return np.ascontiguousarray(frames_back[PAN_TAKEN].to_ndarray(format="rgb24")[:height, :width])


def _encode(container: Any, frames: Any, size: tuple[int, int], crf: int, rate: Fraction, *, threads: int) -> None:
    # No B-frames: with them x264's AVX-512 code gave another stream in one of seven runs over the same pictures,
    # and a figure that does not repeat itself is none.
    stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "medium", "bf": "0"})
    stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
    stream.codec_context.thread_count = threads
    for number, frame in enumerate(frames):
        picture = frame if isinstance(frame, av.VideoFrame) else av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts, picture.time_base = number, 1 / rate
        container.mux(stream.encode(picture))
    container.mux(stream.encode(None))


# --- suites -----------------------------------------------------------------------------------------


def deeper_forensics() -> list[Cell]:
    """Seven perturbations, five levels each."""
    levels: dict[str, list[Degradation]] = {
        "saturation": [fixed(saturation, factor=f) for f in (0.4, 0.3, 0.2, 0.1, 0.0)],
        "contrast": [fixed(contrast, factor=f) for f in (0.85, 0.725, 0.6, 0.475, 0.35)],
        "grey blocks": [partial(grey_blocks, count=n) for n in (16, 32, 48, 64, 80)],
        "colour noise": [partial(colour_noise, variance=v) for v in (0.001, 0.002, 0.005, 0.01, 0.05)],
        "Gaussian blur": [fixed(blur, kernel=k, sigma=k / 6) for k in (7, 9, 13, 17, 21)],
        "pixelation": [fixed(pixelate, factor=f) for f in (2, 3, 4, 5, 6)],
        "H.264": [fixed(video, crfs=(crf,)) for crf in (30, 32, 35, 38, 40)],
    }
    return [
        Cell("DeeperForensics-1.0", kind, f"level {number}", apply)
        for kind, applied in levels.items()
        for number, apply in enumerate(applied, start=1)
    ]


def gend() -> list[Cell]:
    """JPEG, blur, resize and noise."""
    cells = [Cell("GenD", "JPEG", f"quality {q}", fixed(jpeg, quality=q)) for q in (100, 80, 60, 40, 20, 10)]
    cells += [
        Cell("GenD", "blur", f"{k} px, σ {sigma:g}", fixed(blur, kernel=k, sigma=sigma))
        for k, sigma in ((5, 0.5), (7, 1.0), (11, 1.5), (13, 2.0), (19, 3.0))
    ]
    cells += [
        Cell("GenD", "resize", f"{side} px, {name}", fixed(resize_to, side=side, kernel=kernel))
        for side in (224, 112, 64)
        for name, kernel in KERNELS.items()
    ]
    return cells + [
        Cell("GenD", "noise", f"σ {sigma:g}", partial(grain, sigma=sigma)) for sigma in (0.01, 0.03, 0.05, 0.1, 0.2)
    ]


def everyday() -> list[Cell]:
    """What our users' files go through."""
    return [
        Cell("everyday", "double H.264", "CRF 23, then 32", fixed(video, crfs=(23, 32))),
        Cell("everyday", "social media", "480p, CRF 30, 720p", fixed(social_media)),
        Cell("everyday", "half size", "", fixed(scale, factor=0.5)),
        Cell("everyday", "beauty filter", "", fixed(beauty)),
        Cell("everyday", "screenshot", "", fixed(screenshot)),
    ]


CLEAN = Cell("clean", "clean", "", lambda image, rng: image)  # noqa: ARG005


def barred() -> list[Cell]:
    """The three degradations that a release must withstand: each may cost at most 0.08 of AUC."""
    return [
        Cell("bar", "H.264", "CRF 35", fixed(video, crfs=(35,))),
        Cell("bar", "JPEG", "quality 40", fixed(jpeg, quality=40)),
        Cell("bar", "half size", "", fixed(scale, factor=0.5)),
    ]


# --- whole clips ------------------------------------------------------------------------------------

# Rounds of (height in pixels, or None for unchanged, or a factor below 1; constant rate factor).
Chain = tuple[tuple[float | None, int], ...]
CHAINS: dict[str, Chain] = {
    "H.264 CRF 35": ((None, 35),),
    "double H.264 (CRF 23, then 32)": ((None, 23), (None, 32)),
    "social media (480p, CRF 30, 720p)": ((480, 30), (720, NEAR_LOSSLESS)),
    "half size": ((0.5, NEAR_LOSSLESS),),
}


def recode(source: Path, chain: Chain, folder: Path, *, seconds: float = 3.0) -> Path:
    """Send the first ``seconds`` of a video through ``chain``; returns the last file, in ``folder``."""
    for number, (height, crf) in enumerate(chain):
        target = folder / f"{source.stem.split('~')[0]}~{number}.mp4"
        with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
            stream = reader.streams.video[0]
            factor = 1.0 if height is None else height if height < 1 else height / stream.height
            size = (_even(stream.height * factor), _even(stream.width * factor))
            rate = stream.average_rate or Fraction(25)
            frames = _frames(reader, size, round(seconds * rate))
            _encode(writer, frames, size, crf, Fraction(rate), threads=0)
        source = target
    return source


def _even(length: float) -> int:
    return max(2, round(length / 2) * 2)


def _frames(reader: Any, size: tuple[int, int], number: int) -> Any:
    for index, frame in enumerate(reader.decode(video=0)):
        if index >= number:
            return
        yield frame.reformat(width=size[1], height=size[0], format="yuv420p")
