"""Generated test media: small videos and pictures in many containers and with many quirks.

Every frame of :func:`video` carries its own number as a bar code, so a test can tell which frame it got
(:func:`frame_number`) and hold that against the time it was given for it. :func:`quadrants` is a picture
whose orientation can be told from its corners (:func:`corners`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray
from PIL import Image

RGB = NDArray[np.uint8]

BITS = 10
RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 30), (30, 30, 220), (240, 240, 240)

# What a test means by "a video in this container": a codec that one meets in it.
CODECS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".avi": "mpeg4", ".webm": "libvpx"}
FAST = {
    "libx264": {"preset": "ultrafast", "bf": "2", "sc_threshold": "0"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "mpeg4": {"bf": "2", "qscale": "3"},
}


def numbered(index: int, size: tuple[int, int] = (160, 96)) -> RGB:
    """A grey picture with ``index`` as ten black or white bars, most significant bit on the left."""
    width, height = size
    picture = np.full((height, width, 3), 90, np.uint8)
    bar = width // BITS
    for bit in range(BITS):
        picture[: height // 2, bit * bar : (bit + 1) * bar] = 255 * (index >> (BITS - 1 - bit) & 1)
    picture[height // 2 :, : width // 2] = (40, 40 + index % 150, 90)
    return picture


def frame_number(image: RGB) -> int:
    """The number that :func:`numbered` drew, after any compression and scaling."""
    height, width = image.shape[:2]
    number = 0
    for bit in range(BITS):
        centre = int((bit + 0.5) * (width // BITS))
        number = number * 2 + int(image[height // 8 : height // 3, centre - 2 : centre + 3].mean() > 127)
    return number


def quadrants(size: tuple[int, int] = (160, 96)) -> RGB:
    """Red top left, green top right, blue bottom left, white bottom right."""
    width, height = size
    picture = np.empty((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2], picture[: height // 2, width // 2 :] = RED, GREEN
    picture[height // 2 :, : width // 2], picture[height // 2 :, width // 2 :] = BLUE, WHITE
    return picture


def corners(image: RGB) -> str:
    """Colours of the corners, clockwise from the top left, as letters: "RGWB" for an upright picture."""
    height, width = image.shape[:2]
    names = {"R": RED, "G": GREEN, "B": BLUE, "W": WHITE, "-": (0, 0, 0)}
    places = [(height // 8, width // 8), (height // 8, -width // 8)]
    places += [(-height // 8, -width // 8), (-height // 8, width // 8)]
    return "".join(
        min(names, key=lambda name: np.abs(image[place].astype(int) - names[name]).sum()) for place in places
    )


def video(
    path: Path,
    *,
    frames: int = 30,
    rate: int | Fraction = 30,
    size: tuple[int, int] = (160, 96),
    codec: str | None = None,
    pixel_format: str = "yuv420p",
    keyint: int = 12,
    paint: Callable[[int], RGB] | None = None,
    times: Sequence[float] | None = None,
    rotation: float | None = None,
    mirrored: bool = False,
    pixel_aspect: Fraction | None = None,
    colorspace: int | None = None,
    convert: Callable[[av.VideoFrame], av.VideoFrame] = lambda frame: frame,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a video; the container is chosen by the name.

    ``times`` (seconds) make it one of variable frame rate. ``rotation`` is counter-clockwise degrees in
    the display matrix. ``convert`` makes the encoder's frame out of an RGB one. ``container_options`` go
    to the muxer.
    """
    codec = codec or CODECS[path.suffix]
    paint = paint or (lambda index: numbered(index, size))
    encoder_options = {**FAST.get(codec, {}), "g": str(keyint), "keyint_min": str(keyint), **(options or {})}
    with av.open(str(path), "w", container_options=container_options) as container:
        stream = container.add_stream(codec, rate=rate, options=encoder_options)
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if colorspace is not None:
            stream.codec_context.colorspace = colorspace
        if rotation is not None:
            stream.set_display_rotation(rotation, hflip=mirrored)
        for index in range(frames):
            frame = convert(av.VideoFrame.from_ndarray(paint(index), format="rgb24"))
            if times is not None:
                frame.pts, frame.time_base = round(times[index] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def audio_only(path: Path, *, cover: bool = False, seconds: float = 1.0) -> Path:
    """A tone; with ``cover``, with a picture attached as music files have."""
    rate = 44100
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=rate)
        sound.layout = "mono"
        if cover:
            art = container.add_stream("png", rate=1)
            art.width, art.height, art.pix_fmt = 160, 96, "rgb24"
            art.disposition = Disposition.attached_pic
            picture = av.VideoFrame.from_ndarray(quadrants(), format="rgb24")
            container.mux(art.encode(picture))
            container.mux(art.encode(None))
        tone = np.sin(np.arange(int(rate * seconds)) / 20).astype(np.float32)
        for start in range(0, len(tone), 1024):
            block = tone[None, start : start + 1024]
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def join(path: Path, parts: Sequence[Path]) -> Path:
    """Copy the packets of several one-stream videos into one, as a recorder does that changes resolution."""
    with av.open(str(path), "w") as output:
        stream, shift = None, 0
        for part in parts:
            with av.open(str(part)) as source:
                origin = source.streams.video[0]
                stream = stream or output.add_stream_from_template(origin)
                end = shift
                for packet in source.demux(origin):
                    if packet.dts is not None:
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        end = max(end, packet.pts + (packet.duration or 33))
                        packet.stream = stream
                        output.mux(packet)
                shift = end
    return path


def cut(source: Path, path: Path, fraction: float) -> Path:
    """The first part of a file, as an interrupted upload leaves it."""
    content = source.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    return path


def scratch(source: Path, path: Path, start: float, end: float) -> Path:
    """A file with noise from ``start`` to ``end`` (fractions of its length)."""
    content = bytearray(source.read_bytes())
    first, last = int(len(content) * start), int(len(content) * end)
    content[first:last] = np.random.default_rng(3).bytes(last - first)
    path.write_bytes(content)
    return path


def replaced(source: Path, path: Path, old: bytes, new: bytes) -> Path:
    """A file in which ``old`` is ``new`` everywhere, both of one length."""
    content = source.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))
    return path


def claim_duration(source: Path, path: Path, seconds: float) -> Path:
    """A Matroska file whose header claims ``seconds``, whatever it contains."""
    content = bytearray(source.read_bytes())
    at = content.index(b"\x44\x89\x88") + 3  # Duration, a float of 8 bytes, in milliseconds
    content[at : at + 8] = struct.pack(">d", seconds * 1000)
    path.write_bytes(content)
    return path


def claim_mp4_duration(source: Path, path: Path, seconds: float) -> Path:
    """An MP4 file whose movie, track and media headers claim ``seconds``."""
    content = bytearray(source.read_bytes())
    movie = content.index(b"mvhd") + 4
    movie_scale = struct.unpack_from(">I", content, movie + 12)[0]
    struct.pack_into(">I", content, movie + 16, int(seconds * movie_scale))
    struct.pack_into(">I", content, content.index(b"tkhd") + 4 + 20, int(seconds * movie_scale))
    media = content.index(b"mdhd") + 4
    struct.pack_into(">I", content, media + 16, int(seconds * struct.unpack_from(">I", content, media + 12)[0]))
    path.write_bytes(content)
    return path


def picture(path: Path, image: Image.Image | None = None, *, orientation: int = 1, **options: object) -> Path:
    """Write a picture; the format is chosen by the name. ``orientation`` goes into its EXIF data."""
    image = image or Image.fromarray(quadrants())
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, **options)
    return path


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG that claims a size and has one row of data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(3 * min(width, 100) + 1)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))
    return path


def jpeg_header(path: Path, width: int, height: int) -> Path:
    """A JPEG that claims a size that it does not have."""
    Image.fromarray(quadrants()).save(path, "JPEG")
    content = bytearray(path.read_bytes())
    struct.pack_into(">HH", content, content.index(b"\xff\xc0") + 5, height, width)
    path.write_bytes(content)
    return path


def webp_header(path: Path, width: int, height: int) -> Path:
    """A WebP whose canvas claims a size that it does not have."""
    exif = Image.Exif()
    exif[0x0112] = 1
    Image.fromarray(quadrants()).save(path, "WEBP", exif=exif)  # EXIF is what makes it state a canvas
    content = bytearray(path.read_bytes())
    at = content.index(b"VP8X") + 12
    content[at : at + 6] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    path.write_bytes(content)
    return path
