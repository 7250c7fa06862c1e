"""Turns decoded pictures into what the engine works on: upright RGB uint8 arrays."""

from __future__ import annotations

import errno
from fractions import Fraction
from typing import BinaryIO, Final, NamedTuple

import numpy as np
import simplejpeg
from av.error import FFmpegError
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter
from PIL import Image

from detection.engine.errors import ErrorCode, MediaError
from detection.engine.types import RGBImage

_SANE_PIXEL_ASPECT: Final = (Fraction(1, 10), Fraction(10))  # outside, the header is wrong, not the picture
_AVCOL_SPC_UNSPECIFIED: Final = 2
_HD_HEIGHT: Final = 720
_JPEG_EXTRA_BYTES: Final = 1 << 20  # for whatever stands in a JPEG beside its pixels


class Orientation(NamedTuple):
    """How a stored picture is turned for display: x' = a·x + c·y and y' = b·x + d·y, each 0, 1 or -1."""

    a: int = 1
    b: int = 0
    c: int = 0
    d: int = 1

    @classmethod
    def from_matrix(cls, matrix: tuple[int, ...]) -> Orientation:
        """The right angle nearest to a display matrix (row-major 3 x 3, 16.16 fixed point)."""
        a, b, _, c, d = matrix[:5]
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(-1 if a < 0 else 1, 0, 0, -1 if d < 0 else 1)
        return cls(0, -1 if b < 0 else 1, -1 if c < 0 else 1, 0)

    @property
    def swaps_sides(self) -> bool:
        return self.a == 0

    @property
    def clockwise(self) -> int:
        """Degrees; a mirrored picture counts as mirrored left-right first and then turned."""
        return {(0, 1): 0, (-1, 0): 90, (0, -1): 180, (1, 0): 270}[self.c, self.d]

    def apply(self, image: RGBImage) -> RGBImage:
        if self.swaps_sides:
            image = image.transpose(1, 0, 2)
        flip_x, flip_y = self.a + self.c < 0, self.b + self.d < 0
        return np.ascontiguousarray(image[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


# EXIF's numbering of the eight orientations.
EXIF_ORIENTATIONS: Final = {
    2: Orientation(-1, 0, 0, 1),
    3: Orientation(-1, 0, 0, -1),
    4: Orientation(1, 0, 0, -1),
    5: Orientation(0, 1, 1, 0),
    6: Orientation(0, 1, -1, 0),
    7: Orientation(0, -1, -1, 0),
    8: Orientation(0, -1, 1, 0),
}


def check_memory(error: FFmpegError) -> None:
    """Raise MemoryError for what failed for want of it: no fault of the file, and no damaged frame."""
    if error.errno == errno.ENOMEM:
        raise MemoryError("FFmpeg could not allocate memory") from error


def image_pixels(picture: Image.Image) -> RGBImage:
    """Any Pillow mode as RGB uint8 (height, width, 3)."""
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255 instead of scaling
        grey = (np.asarray(picture).astype(np.int32).clip(0, 65535) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if "A" in picture.getbands() or "a" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    # Each of the two would copy the picture once more, which for a large photo is as slow as decoding it.
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def jpeg_pixels(file: BinaryIO, header: Image.Image) -> RGBImage | None:
    """The pixels of a colour JPEG, the same that Pillow gives, in half the time; None where Pillow has to do it.

    Both decode with libjpeg-turbo. Pillow does it row by row into memory of its own, at four bytes a pixel, and two
    copies more make an array of that. What is not entirely right is Pillow's, too: it knows what can be borne.

    Args:
        file: of the whole JPEG.
        header: what Pillow made of its header; nothing is loaded yet.
    """
    if header.mode != "RGB":
        return None
    most = _JPEG_EXTRA_BYTES + 3 * header.width * header.height
    file.seek(0)
    data = file.read(most + 1)
    try:
        height, width, _space, _subsampling = simplejpeg.decode_jpeg_header(data)
        if (width, height) != header.size or len(data) > most:
            return None
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB"))
    except ValueError:
        return None


def frame_orientation(frame: VideoFrame) -> Orientation:
    """What the display matrix says; upright without one."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData) or matrix.buffer_size < 36:
        return Orientation()
    return Orientation.from_matrix(tuple(np.frombuffer(bytes(matrix)[:36], np.int32).tolist()))


def square_pixel_size(frame: VideoFrame, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """(width, height) at which ``frame`` has its true shape, before it is turned."""
    if not pixel_aspect or not _SANE_PIXEL_ASPECT[0] <= pixel_aspect <= _SANE_PIXEL_ASPECT[1]:
        pixel_aspect = Fraction(1)
    return max(1, round(frame.width * pixel_aspect)), frame.height


class FrameConverter:
    """Converts the frames of one video, all to the same size.

    Args:
        size: (width, height) of the result before it is turned.
        pixel_aspect: width of a stored pixel in units of its height.
        orientation: how to turn the result.
    """

    def __init__(self, size: tuple[int, int], pixel_aspect: Fraction | None, orientation: Orientation) -> None:
        self._size = size
        self._pixel_aspect = pixel_aspect
        self._orientation = orientation
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> RGBImage:
        """``frame`` as displayed. One of another shape than the first is fitted in, on black.

        Raises:
            MediaError: ``unsupported_codec`` when its pixel format cannot be converted.
        """
        fitted = self._fit(frame)
        # Untagged HD is BT.709 to every player and camera; FFmpeg would take it for BT.601.
        untagged_hd = frame.colorspace == _AVCOL_SPC_UNSPECIFIED and frame.height >= _HD_HEIGHT
        try:
            rgb = self._reformatter.reformat(
                frame, *fitted, "rgb24", src_colorspace=Colorspace.ITU709 if untagged_hd else None, threads=1
            )
        except FFmpegError as error:
            check_memory(error)
            message = f"The video's pixel format {frame.format.name} cannot be read. Convert it to MP4 (H.264)."
            raise MediaError(ErrorCode.UNSUPPORTED_CODEC, message) from error
        image: RGBImage = np.asarray(rgb.to_ndarray(), dtype=np.uint8)
        if fitted != self._size:
            image = _on_black(image, self._size)
        return self._orientation.apply(image)

    def _fit(self, frame: VideoFrame) -> tuple[int, int]:
        width, height = square_pixel_size(frame, self._pixel_aspect)
        scale = min(self._size[0] / width, self._size[1] / height)
        return max(1, round(width * scale)), max(1, round(height * scale))


def _on_black(image: RGBImage, size: tuple[int, int]) -> RGBImage:
    height, width = image.shape[:2]
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[top : top + height, left : left + width] = image
    return canvas
