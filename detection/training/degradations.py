"""Single steps of what a picture goes through between the camera and us: codecs, sizes, optics, phones, screens.

Every function takes and returns RGB uint8 of one shape. Randomness, where there is any, depends on the shape of
the picture only and never on what is in it, so one draw can be replayed on both members of a pair.
"""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np

from detection.engine.types import FloatArray, RGBImage

BORDER = cv2.BORDER_REFLECT_101


def to_uint8(image: FloatArray) -> RGBImage:
    """Round and clip floats in 0..255."""
    return np.asarray(np.clip(image + 0.5, 0, 255), np.uint8)


# --- codecs ---------------------------------------------------------------------------------------------------


def jpeg(image: RGBImage, quality: int, *, chroma_halved: bool = True) -> RGBImage:
    """One round of JPEG compression at ``quality`` 1..100."""
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if chroma_halved else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    return _through(image, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])


def webp(image: RGBImage, quality: int) -> RGBImage:
    """One round of lossy WebP at ``quality`` 1..100."""
    return _through(image, ".webp", [cv2.IMWRITE_WEBP_QUALITY, quality])


def jpeg2000(image: RGBImage, permille: int) -> RGBImage:
    """One round of wavelet compression to about ``permille`` thousandths of the raw size."""
    return _through(image, ".jp2", [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, permille])


def _through(image: RGBImage, extension: str, options: list[int]) -> RGBImage:
    _, data = cv2.imencode(extension, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded a line above
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def h264(image: RGBImage, crf: int, *, step: tuple[int, int] = (0, 0), frames: int = 3) -> RGBImage:
    """What x264 at constant rate factor ``crf`` (0..51, more is worse) leaves of a picture inside a short pan.

    The picture moves by ``step`` (x, y) pixels a frame and the last frame, which was predicted from those before
    it, is what comes back: inter-frame prediction blurs what does not move and smears what does.

    Args:
        image: RGB uint8 (height, width, 3), at least 16 pixels each way.
        crf: quality of the stream; 23 is x264's default, social networks use 28 to 35.
        step: motion per frame, in pixels.
        frames: length of the clip; 1 gives a key frame.
    """
    height, width = image.shape[:2]
    rest_x, rest_y = abs(step[0]) * (frames - 1), abs(step[1]) * (frames - 1)
    out_height, out_width = height + rest_y + (height + rest_y) % 2, width + rest_x + (width + rest_x) % 2
    pads = (rest_y, out_height - height + rest_y, rest_x, out_width - width + rest_x)
    padded = cv2.copyMakeBorder(image, *pads, borderType=BORDER)
    encoder, decoder = _x264(out_width, out_height, crf), av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = []
    for number in range(frames):
        left = rest_x - step[0] * (frames - 1 - number)  # the last frame is not shifted
        top = rest_y - step[1] * (frames - 1 - number)
        window = np.ascontiguousarray(padded[top : top + out_height, left : left + out_width], np.uint8)
        frame = av.VideoFrame.from_ndarray(window, format="rgb24")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoded = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
    return np.ascontiguousarray(decoded[-1].to_ndarray(format="rgb24")[:height, :width])


def _x264(width: int, height: int, crf: int) -> av.VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height = width, height
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
    encoder.thread_count = 1
    # "zerolatency" forbids B-frames and look-ahead: the last frame in is the last frame out, a P-frame.
    encoder.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency"}
    return encoder


# --- size and optics ------------------------------------------------------------------------------------------


def resize_chain(image: RGBImage, rng: np.random.Generator, low: int = 96) -> RGBImage:
    """Shrink to a random size, not below ``low`` pixels on the short side, and come back.

    That is what a small upload or a video call does. It also evens out that real faces are smaller than
    manipulated ones in most collections.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    position = float(rng.uniform())
    down = int(rng.choice([cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    up = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    if side <= low:
        return image
    factor = float((low / side) ** position)
    return resize_round(image, factor, down, up)


def resize_round(image: RGBImage, factor: float, down: int = cv2.INTER_AREA, up: int = cv2.INTER_CUBIC) -> RGBImage:
    """Resize by ``factor`` with OpenCV's interpolation ``down``, and back with ``up``."""
    height, width = image.shape[:2]
    small = (max(8, round(width * factor)), max(8, round(height * factor)))
    shrunk = cv2.resize(image, small, interpolation=down)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=up), np.uint8)


def blur_or_sharpen(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """Defocus or motion blur, or the unsharp mask that phones and sites apply."""
    kind, strength = int(rng.integers(3)), float(rng.uniform())
    angle, amount = float(rng.uniform(0, 180)), float(rng.uniform(0.2, 1.0))
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.3 + 1.3 * strength), np.uint8)
    if kind == 1:
        return motion_blur(image, 2 + 5 * strength, angle)
    soft = cv2.GaussianBlur(image, (0, 0), 0.8 + 1.2 * strength)
    return np.asarray(cv2.addWeighted(image, 1 + amount, soft, -amount, 0), np.uint8)


def motion_blur(image: RGBImage, length: float, angle: float) -> RGBImage:
    """Smear along a line of ``length`` pixels at ``angle`` degrees."""
    side = 2 * int(np.ceil(length / 2)) + 1
    centre = side // 2
    dx, dy = np.cos(np.radians(angle)) * length / 2, np.sin(np.radians(angle)) * length / 2
    kernel = np.zeros((side, side), np.uint8)
    # Coordinates with four binary places: short lines at odd angles would otherwise all be the same.
    ends = [(round((centre + s * dx) * 16), round((centre + s * dy) * 16)) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 255, 1, cv2.LINE_AA, 4)
    weights = kernel.astype(np.float32)
    return np.asarray(cv2.filter2D(image, -1, weights / max(weights.sum(), 1.0), borderType=BORDER), np.uint8)


def noise(image: RGBImage, rng: np.random.Generator, low: float = 1.0, high: float = 8.0) -> RGBImage:
    """Sensor noise, sigma ``low`` to ``high`` levels, half of the time the same in all channels and half of the
    time with the grain of a demosaiced and compressed picture rather than of single pixels."""
    channels, coarse, sigma = 1 if rng.random() < 0.5 else 3, rng.random() < 0.5, float(rng.uniform(low, high))
    grain = rng.standard_normal((*image.shape[:2], channels), np.float32) * np.float32(sigma)
    if coarse:
        grain = np.reshape(cv2.GaussianBlur(grain, (0, 0), 0.7) * 1.8, grain.shape)
    return to_uint8(image + grain)


# --- colour, phones, screens ----------------------------------------------------------------------------------


def colour(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """Brightness, contrast, gamma and white balance; now and then no colour at all."""
    gains = rng.uniform(0.8, 1.2) * rng.uniform(0.93, 1.07, 3)
    offset, gamma = float(rng.uniform(-18, 18)), float(np.exp(rng.uniform(-0.25, 0.25)))
    grey = rng.random() < 0.06
    levels = np.arange(256, dtype=np.float64)[:, None] / 255
    table = to_uint8((255 * levels**gamma * gains + offset).astype(np.float32))
    changed = np.asarray(cv2.LUT(image, table[None]), np.uint8)
    if grey:
        changed = np.asarray(cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
    return changed


def beautify(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """Smooth skin but keep edges, as phone cameras and filters do; half of the time with some sharpening after."""
    spread, mix, sharpen = float(rng.uniform(12, 45)), float(rng.uniform(0.4, 0.9)), float(rng.uniform(-0.4, 0.4))
    smooth = cv2.bilateralFilter(image, 5, spread, 3)
    mixed = np.asarray(cv2.addWeighted(smooth, mix, image, 1 - mix, 0), np.uint8)
    if sharpen <= 0:
        return mixed
    soft = cv2.GaussianBlur(mixed, (0, 0), 1.5)
    return np.asarray(cv2.addWeighted(mixed, 1 + sharpen, soft, -sharpen, 0), np.uint8)


def recapture(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """A picture of a screen: slight perspective, its gamma, the moire of two pixel grids, some softness."""
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-0.012, 0.012, (4, 2)).astype(np.float32) * (width, height)
    to_screen = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    gamma, depth = float(np.exp(rng.uniform(-0.2, 0.2))), float(rng.uniform(0.01, 0.05))
    period, angle = float(rng.uniform(2.2, 9.0)), float(rng.uniform(0, np.pi))
    phase = rng.uniform(0, 2 * np.pi, 3)
    blur = float(rng.uniform(0.4, 1.0))
    seen = cv2.GaussianBlur(cv2.warpPerspective(image, to_screen, (width, height), borderMode=BORDER), (0, 0), blur)
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    along = (np.cos(angle) * xs + np.sin(angle) * ys) * np.float32(2 * np.pi / period)
    # Each colour's subpixels lie elsewhere, so the pattern is coloured.
    waves = np.stack([np.sin(along + np.float32(p)) for p in phase], axis=2)
    lit = np.power(seen.astype(np.float32) / 255, np.float32(gamma)) * (1 + np.float32(depth) * waves)
    return to_uint8(lit * 255)
