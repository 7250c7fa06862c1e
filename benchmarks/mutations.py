"""Files that a stranger may send: generated media, and what chance and malice make of them.

Everything follows from a seed, so file number 1234 is the same file in every run.
"""

from __future__ import annotations

import io
import itertools
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image

from tests import clips


class Sample(NamedTuple):
    """A file as it is sent."""

    name: str
    content: bytes

    @property
    def extension(self) -> str:
        return self.name.rpartition(".")[2]

    def changed(self, content: bytes) -> Sample:
        return Sample(self.name, content)


class Draw(NamedTuple):
    """What a mutation works with: its own chance, the file it changes, and all there are."""

    rng: Generator
    sample: Sample
    others: list[Sample]


Mutation = Callable[[Draw], Sample]

_VALUES = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFE,
    0xFFFFFFFF,
    0xFFFFFFFFFFFFFFFF,
)
_HTML = b"<!doctype html><script>alert(document.domain)</script>"
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
_PDF = b"%PDF-1.4\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n%%EOF"


def originals(folder: Path) -> list[Sample]:
    """Small media of every kind that is taken, all in order."""
    videos = [
        clips.video(folder / "h264.mp4", frames=20),
        clips.video(folder / "fragments.mp4", frames=20, container_options={"movflags": "frag_keyframe+empty_moov"}),
        clips.video(folder / "hevc.mp4", frames=12, codec="libx265"),
        clips.video(folder / "turned.mov", frames=12, rotation=90),
        clips.video(folder / "h264.mkv", frames=20),
        clips.video(folder / "vp9.mkv", frames=12, codec="libvpx-vp9"),
        clips.video(folder / "vp8.webm", frames=20),
        clips.video(folder / "mpeg4.avi", frames=20),
        clips.video(folder / "mjpeg.avi", frames=8, codec="mjpeg", pixel_format="yuvj420p"),
    ]
    noise = Image.fromarray(np.random.default_rng(5).integers(0, 255, (96, 160, 3), dtype=np.uint8))
    pictures = [
        clips.picture(folder / "plain.png"),
        clips.picture(folder / "palette.png", noise.quantize(32)),
        clips.picture(folder / "deep.png", Image.fromarray(np.full((96, 160), 40_000, np.uint16))),
        clips.picture(folder / "clear.png", noise.convert("RGBA")),
        clips.picture(folder / "plain.jpg", noise, orientation=6),
        clips.picture(folder / "progressive.jpeg", noise, progressive=True),
        clips.picture(folder / "lossy.webp", noise),
        clips.picture(folder / "lossless.webp", noise, lossless=True),
        clips.picture(folder / "moving.webp", noise, save_all=True, append_images=[noise.rotate(9)]),
    ]
    return [Sample(path.name, path.read_bytes()) for path in [*videos, *pictures]]


# -- Chance ----------------------------------------------------------------------------------------------------------
def flipped_bits(draw: Draw) -> Sample:
    rng, sample = draw.rng, draw.sample
    content = np.frombuffer(sample.content, np.uint8).copy()
    for at in _places(rng, len(content), int(rng.integers(1, 65))):
        content[at] ^= 1 << int(rng.integers(8))
    return sample.changed(content.tobytes())


def noise(draw: Draw) -> Sample:
    rng, sample = draw.rng, draw.sample
    content = bytearray(sample.content)
    start = int(rng.integers(16, len(content)))
    length = int(rng.integers(1, max(2, len(content) // 3)))
    end = min(len(content), start + length)
    content[start:end] = rng.bytes(end - start)
    return sample.changed(bytes(content))


def truncated(draw: Draw) -> Sample:
    rng, sample = draw.rng, draw.sample
    return sample.changed(sample.content[: int(rng.integers(0, len(sample.content)))])


def shuffled_blocks(draw: Draw) -> Sample:
    """Stretches left out, sent twice, or changed for each other, as a bad disk or a bad program does."""
    rng, sample = draw.rng, draw.sample
    cuts = sorted({0, len(sample.content), *_places(rng, len(sample.content), 7)})
    blocks = [sample.content[a:b] for a, b in itertools.pairwise(cuts)]
    first = blocks[0]
    rest = [blocks[int(i)] for i in rng.integers(1, len(blocks), rng.integers(1, 10))] if len(blocks) > 1 else []
    return sample.changed(first + b"".join(rest))


# -- Malice ----------------------------------------------------------------------------------------------------------
def wrong_numbers(draw: Draw) -> Sample:
    """Lengths, counts, offsets and sizes that overflow, underflow or lie."""
    rng, sample = draw.rng, draw.sample
    content = bytearray(sample.content)
    for at in _places(rng, len(content), int(rng.integers(1, 9))):
        width = int(rng.choice([2, 4, 8]))
        value = _VALUES[int(rng.integers(len(_VALUES)))] % (1 << 8 * width)
        field = value.to_bytes(width, "big" if rng.random() < 0.5 else "little")
        content[at : at + width] = field[: max(0, len(content) - at)]
    return sample.changed(bytes(content))


def spliced(draw: Draw) -> Sample:
    """The head of one file on the body of another."""
    rng, sample, others = draw.rng, draw.sample, draw.others
    other = others[int(rng.integers(len(others)))]
    cut = int(rng.choice([12, 32, 64, 256, len(sample.content) // 2]))
    return sample.changed(sample.content[:cut] + other.content[int(rng.integers(len(other.content))) :])


def polyglot(draw: Draw) -> Sample:
    """A file that is also something else: a page, a script, a document, an archive, another medium."""
    rng, sample, others = draw.rng, draw.sample, draw.others
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("../../evil.sh", "#!/bin/sh\nid\n")
        packed.writestr("zeros", bytes(1_000_000))
    parts = [_HTML, _SVG, _PDF, b"#!/bin/sh\nid\n", b"#EXTM3U\nfile:///etc/passwd\n", archive.getvalue()]
    parts.append(others[int(rng.integers(len(others)))].content)
    part = parts[int(rng.integers(len(parts)))]
    where = rng.random()
    if where < 0.25:
        return sample.changed(part + sample.content)
    if where < 0.5 and sample.extension in ("jpg", "jpeg"):
        comment = part[:60_000]
        return sample.changed(
            sample.content[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + sample.content[2:]
        )
    if where < 0.5 and sample.extension == "png":
        return sample.changed(sample.content[:33] + _chunk(b"tEXt", b"Comment\0" + part) + sample.content[33:])
    return sample.changed(sample.content + part)


def disguised(draw: Draw) -> Sample:
    """Another file's name, or one that means something to a shell, a browser or a file system."""
    rng, sample = draw.rng, draw.sample
    extension = str(rng.choice(["mp4", "mov", "mkv", "webm", "avi", "jpg", "png", "webp", "svg", "html", "php", ""]))
    stems = [
        "../../../etc/passwd",
        "a;id",
        "$(id)",
        "-rf",
        "con",
        "x" * 300,
        "..",
        "<img src=x onerror=alert(1)>",
        "\u202egpj",
    ]
    return Sample(f"{stems[int(rng.integers(len(stems)))]}.{extension}", sample.content)


def claims(draw: Draw) -> Sample:
    """A header that promises what does not follow."""
    rng, sample = draw.rng, draw.sample
    side = [1, 7, 160, 4000, 7000, 20_000, 65_535, 2_000_000_000]
    width, height = (side[int(i)] for i in rng.integers(len(side), size=2))
    if sample.extension in ("jpg", "jpeg"):
        at = max(sample.content.find(b"\xff\xc0"), sample.content.find(b"\xff\xc2")) + 5
        return _written(sample, at, struct.pack(">HH", min(height, 65_535), min(width, 65_535)))
    if sample.extension == "png":
        header = b"IHDR" + struct.pack(">II", width, height) + sample.content[24:29]
        return _written(sample, 12, header + struct.pack(">I", zlib.crc32(header)))
    if sample.extension == "webp":
        return _written(
            sample, 24, (width - 1 & 0xFFFFFF).to_bytes(3, "little") + (height - 1 & 0xFFFFFF).to_bytes(3, "little")
        )
    atoms = [b"tkhd", b"mvhd", b"mdhd", b"stsz", b"stco", b"stts", b"ctts", b"stsc", b"avcC", b"elst", b"trun", b"tfhd"]
    atoms += [b"\x44\x89", b"\x2a\xd7\xb1", b"\xb0", b"\xba", b"avih", b"strh", b"strf", b"idx1"]
    places = [at for at in map(sample.content.find, atoms) if at > 0]
    at = places[int(rng.integers(len(places)))] + int(rng.integers(3, 32))
    return _written(sample, at, _VALUES[int(rng.integers(len(_VALUES)))].to_bytes(8, "big")[-4:])


def bomb(draw: Draw) -> Sample:
    """Little to send, much to unpack."""
    rng = draw.rng
    make = _BOMBS[int(rng.integers(len(_BOMBS)))]
    return make(draw)


def _png_of_zeros(draw: Draw) -> Sample:
    rng = draw.rng
    width, height = int(rng.integers(2_000, 9_000)), int(rng.integers(2_000, 9_000))
    packer = zlib.compressobj(9)
    rows = [packer.compress(bytes(1 + 3 * width)) for _ in range(height if width * height < 60e6 else 100)]
    return _png(width, height, b"".join(rows) + packer.flush())


def _png_text(draw: Draw) -> Sample:
    rng = draw.rng
    kind = (b"zTXt", b"iCCP", b"iTXt")[int(rng.integers(3))]
    packed = zlib.compress(bytes(int(rng.integers(1, 80)) << 20), 9)
    before = b"a\0\0" if kind != b"iTXt" else b"a\0\1\0\0\0"
    return _png(16, 16, zlib.compress(bytes(49 * 16)), _chunk(kind, before + packed))


def _png_chunks(draw: Draw) -> Sample:
    rng = draw.rng
    many = b"".join([_chunk(b"tEXt", b"k\0" + bytes(8))] * int(rng.integers(1_000, 100_000)))
    return _png(16, 16, zlib.compress(bytes(49 * 16)), many)


def _jpeg_scans(draw: Draw) -> Sample:
    """One scan many times over: each costs a pass over the whole picture."""
    rng = draw.rng
    side = int(rng.integers(500, 2_000))
    content = io.BytesIO()
    Image.new("L", (side, side)).save(content, "JPEG", progressive=True)
    data = content.getvalue()
    start = data.rindex(b"\xff\xda")
    return Sample("scans.jpg", data[:-2] + data[start:-2] * int(rng.integers(10, 300)) + b"\xff\xd9")


def _nested_boxes(draw: Draw) -> Sample:
    rng = draw.rng
    kind = (b"moov", b"trak", b"udta", b"meta")[int(rng.integers(4))]
    content = b""
    for _ in range(int(rng.integers(10, 3_000))):
        content = struct.pack(">I", len(content) + 8) + kind + content
    return Sample(
        "boxes.mp4", b"\0\0\0\x14ftypisom\0\0\0\0isom" + struct.pack(">I", len(content) + 8) + b"moov" + content
    )


def _nested_elements(draw: Draw) -> Sample:
    rng = draw.rng
    header = b"\x1a\x45\xdf\xa3\x8b\x42\x82\x88matroska"
    return Sample(
        "deep.mkv", header + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" * int(rng.integers(2, 20_000))
    )


def _long_video(draw: Draw) -> Sample:
    """Frames that hardly take a byte: one picture's packets written over and over."""
    rng, sample = draw.rng, draw.sample
    frame = sample.content if sample.extension == "avi" else b"\0" * 8
    return Sample("long.avi", frame + b"00dc\1\0\0\0\0\0" * int(rng.integers(10_000, 300_000)))


_BOMBS = (_png_of_zeros, _png_text, _png_chunks, _jpeg_scans, _nested_boxes, _nested_elements, _long_video)

KINDS: tuple[Mutation, ...] = (
    flipped_bits,
    noise,
    truncated,
    shuffled_blocks,
    wrong_numbers,
    spliced,
    polyglot,
    disguised,
    claims,
    bomb,
)


def mutated(number: int, seed: int, samples: list[Sample]) -> tuple[str, Sample]:
    """File ``number`` and the kind of its mutation."""
    rng = np.random.default_rng([seed, number])
    kind = KINDS[number % len(KINDS)]
    sample = samples[int(rng.integers(len(samples)))]
    return kind.__name__.replace("_", " "), kind(Draw(rng, sample, samples))


def _places(rng: Generator, length: int, count: int) -> list[int]:
    """Where to change something: every other time near the beginning or the end, where headers and indexes lie."""
    anywhere = rng.integers(0, length, count)
    near = np.minimum(rng.exponential(200, count).astype(int), length - 1)
    ends = np.where(rng.random(count) < 0.5, near, length - 1 - near)
    return [int(place) for place in np.where(rng.random(count) < 0.5, anywhere, ends)]


def _written(sample: Sample, at: int, field: bytes) -> Sample:
    return sample.changed(sample.content[:at] + field + sample.content[at + len(field) :])


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(width: int, height: int, data: bytes, extra: bytes = b"") -> Sample:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return Sample("bomb.png", b"\x89PNG\r\n\x1a\n" + header + extra + _chunk(b"IDAT", data) + _chunk(b"IEND", b""))
