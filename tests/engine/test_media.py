"""Videos and images as they come: every container, every quirk, and what is no media at all."""

from __future__ import annotations

import csv
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import InputContainer
from av.video.stream import VideoStream
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from detection.engine import media as media_module
from detection.engine.errors import ErrorCode, MediaError
from detection.engine.media import Limits, open_media, sample_count
from detection.engine.pixels import jpeg_pixels
from detection.engine.types import Frame, MediaInfo, MediaKind
from tests import clips

NO_SPECIAL_LIMITS = Limits()


def read(path: Path, count: int = 1000) -> tuple[MediaInfo, list[Frame]]:
    with open_media(path) as media:
        frames = list(media.sample(count))
    for frame in frames:
        assert frame.image.shape == (media.info.height, media.info.width, 3)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
    return media.info, frames


def refusal(path: Path, limits: Limits = NO_SPECIAL_LIMITS) -> MediaError:
    with pytest.raises(MediaError) as caught, open_media(path, limits=limits) as media:
        list(media.sample(4))
    assert len(caught.value.message) > 20
    assert str(path) not in caught.value.message
    return caught.value


def numbers(frames: list[Frame]) -> list[int]:
    return [clips.frame_number(frame.image) for frame in frames]


# --- what a video gives ---------------------------------------------------------------------------------


MIMES = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".avi": "video/x-msvideo",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
}


@pytest.mark.parametrize("suffix", clips.CODECS)
def test_every_container_gives_every_frame_at_its_own_time(tmp_path: Path, suffix: str) -> None:
    info, frames = read(clips.video(tmp_path / f"clip{suffix}"))

    assert info.kind is MediaKind.VIDEO
    assert (info.mime, info.width, info.height, info.rotation) == (MIMES[suffix], 160, 96, 0)
    assert info.fps == pytest.approx(30, rel=0.01)
    assert info.duration == pytest.approx(1, abs=0.04)
    assert info.frame_count == 30
    assert numbers(frames) == list(range(30))
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.time for frame in frames] == pytest.approx([i / 30 for i in range(30)], abs=0.002)


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "expected"),
    [
        ("10-bit.mkv", "libx265", "yuv420p10le", "hevc"),
        ("10-bit.mov", "prores_ks", "yuv422p10le", "prores"),
        ("alpha.mov", "prores_ks", "yuva444p10le", "prores"),
        ("alpha.avi", "rawvideo", "bgra", "rawvideo"),
        ("grey.mkv", "ffv1", "gray", "ffv1"),
        ("full-range.avi", "mjpeg", "yuvj420p", "mjpeg"),
        ("vp9.webm", "libvpx-vp9", "yuv420p", "vp9"),
        ("av1.mp4", "libsvtav1", "yuv420p", "av1"),
    ],
)
def test_codecs_and_pixel_formats(tmp_path: Path, name: str, codec: str, pixel_format: str, expected: str) -> None:
    path = clips.video(tmp_path / name, codec=codec, pixel_format=pixel_format, frames=12)
    info, frames = read(path)

    assert info.codec == expected
    assert numbers(frames) == list(range(12))


def test_odd_sizes_stay_as_they_are(tmp_path: Path) -> None:
    info, frames = read(clips.video(tmp_path / "a.mkv", codec="ffv1", pixel_format="yuv444p", size=(161, 97)))

    assert (info.width, info.height) == (161, 97)
    assert numbers(frames) == list(range(30))


@pytest.mark.parametrize(
    ("height", "space", "tag"),
    [
        (96, "ITU709", 1),
        (720, "ITU709", 1),
        (96, "ITU601", 6),
        (720, "ITU601", 6),
        (96, "ITU601", None),  # untagged: the older standard in SD, the newer in HD
        (720, "ITU709", None),
    ],
)
def test_colours_survive(tmp_path: Path, height: int, space: str, tag: int | None) -> None:
    size = (height * 5 // 3 // 2 * 2, height)

    def convert(frame: av.VideoFrame) -> av.VideoFrame:
        plain = frame.reformat(format="yuv420p", dst_colorspace=space)
        plain.colorspace = tag or 2  # 2: unspecified
        return plain

    path = clips.video(
        tmp_path / "a.mp4",
        size=size,
        frames=1,
        paint=lambda _: np.full((*size[::-1], 3), (200, 40, 40), np.uint8),
        colorspace=tag,
        convert=convert,
    )
    _, [frame] = read(path)

    assert frame.image.reshape(-1, 3).mean(axis=0) == pytest.approx([200, 40, 40], abs=5)


@pytest.mark.parametrize(
    ("turn", "mirrored", "expected"),
    [
        (0, False, "RGWB"),
        (90, False, "GWBR"),
        (180, False, "WBRG"),
        (-90, False, "BRGW"),
        (0, True, "GRBW"),
        (90, True, "WGRB"),  # the last three are what ffmpeg's command line makes of the same files
        (180, True, "BWGR"),
        (-90, True, "RBWG"),
    ],
)
def test_rotation_is_applied(tmp_path: Path, turn: int, mirrored: bool, expected: str) -> None:
    """``turn`` is counter-clockwise, as a display matrix counts."""
    path = clips.video(
        tmp_path / "a.mp4", frames=3, rotation=turn, mirrored=mirrored, paint=lambda _: clips.quadrants()
    )
    info, frames = read(path)

    assert {clips.corners(frame.image) for frame in frames} == {expected}
    assert (info.width, info.height) == ((96, 160) if turn in (90, -90) else (160, 96))
    if not mirrored:
        assert info.rotation == -turn % 360


def test_wide_pixels_are_made_square(tmp_path: Path) -> None:
    wide, frames = read(clips.video(tmp_path / "wide.mp4", pixel_aspect=Fraction(4, 3)))
    tall, _ = read(clips.video(tmp_path / "tall.mkv", pixel_aspect=Fraction(1, 2)))
    turned, _ = read(clips.video(tmp_path / "turned.mp4", pixel_aspect=Fraction(4, 3), rotation=90))

    assert (wide.width, wide.height) == (213, 96)
    assert (tall.width, tall.height) == (80, 96)
    assert (turned.width, turned.height) == (96, 213)
    assert numbers(frames) == list(range(30))


def test_variable_frame_rate_keeps_the_streams_times(tmp_path: Path) -> None:
    times = [0, 0.1, 0.2, 0.5, 1, 1.1, 3, 3.01, 3.5, 5]
    info, frames = read(clips.video(tmp_path / "a.mkv", frames=10, times=times))

    assert [frame.time for frame in frames] == pytest.approx(times, abs=0.002)
    assert numbers(frames) == list(range(10))
    assert info.duration is not None
    assert info.duration >= 5


def test_a_variable_frame_rate_is_sampled_by_time_not_by_number(tmp_path: Path) -> None:
    """A hundred frames in the first second, one a second in the next nine: half of them shows the first."""
    times = [i / 100 for i in range(100)] + [1.0 + i for i in range(1, 10)]
    _, frames = read(clips.video(tmp_path / "a.mkv", frames=len(times), times=times), count=10)

    assert sum(frame.time <= 1 for frame in frames) <= 3
    assert frames[-1].time >= 8


def test_a_stream_that_starts_late_starts_at_zero(tmp_path: Path) -> None:
    _, frames = read(clips.video(tmp_path / "a.mkv", frames=10, times=[7 + i / 10 for i in range(10)]))

    assert [frame.time for frame in frames] == pytest.approx([i / 10 for i in range(10)], abs=0.002)


@pytest.mark.parametrize("suffix", clips.CODECS)
def test_a_video_of_one_frame(tmp_path: Path, suffix: str) -> None:
    info, [frame] = read(clips.video(tmp_path / f"a{suffix}", frames=1), count=32)

    assert (frame.index, frame.time) == (0, 0.0)
    assert sample_count(info, 32) == 1
    assert info.duration is not None
    assert 0 < info.duration < 0.1


def test_the_resolution_changes_in_the_middle(tmp_path: Path) -> None:
    """What follows is fitted into the first shape; nobody's face is stretched."""
    landscape = clips.video(tmp_path / "1.webm", frames=20)
    portrait = clips.video(tmp_path / "2.webm", frames=20, size=(96, 160), paint=lambda _: clips.quadrants((96, 160)))
    info, frames = read(clips.join(tmp_path / "both.webm", [landscape, portrait]))

    assert (info.width, info.height) == (160, 96)
    assert len(frames) == 40
    assert frames[-1].image[:, :48].max() < 20  # black beside the picture
    assert clips.corners(frames[-1].image[:, 51:109]) == "RGWB"


def test_the_resolution_grows_beyond_the_limit_in_the_middle(tmp_path: Path) -> None:
    small = clips.video(tmp_path / "1.webm", frames=20)
    large = clips.video(tmp_path / "2.webm", frames=20, size=(640, 480))
    path = clips.join(tmp_path / "both.webm", [small, large])

    with open_media(path, limits=Limits(max_pixels=160 * 96)) as media:
        assert numbers(list(media.sample(100))) == list(range(20))


def test_sampling_twice(tmp_path: Path) -> None:
    """Sampling again starts again, also in the middle of the first time."""
    with open_media(clips.video(tmp_path / "a.mp4")) as media:
        first = media.sample(10)
        next(first)
        again = numbers(list(media.sample(10)))
        assert again == numbers(list(media.sample(10)))
        assert len(again) == 10


def test_a_count_of_nothing_is_a_mistake(tmp_path: Path) -> None:
    with open_media(clips.video(tmp_path / "a.mp4")) as media, pytest.raises(ValueError, match="0 frames"):
        list(media.sample(0))
    with open_media(clips.picture(tmp_path / "a.png")) as media, pytest.raises(ValueError, match="0 frames"):
        list(media.sample(0))


# --- how it is sampled ----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["h264.mp4", "sparse.mp4", "a.mov", "a.avi", "a.mkv", "a.webm", "live.webm"])
def long_video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """(25 s at 30 frames/s, more than the decode budget; frames between keyframes)."""
    keyint = 250 if request.param == "sparse.mp4" else 50
    path = tmp_path_factory.mktemp("long") / request.param
    live = {"live": "1"} if request.param == "live.webm" else None
    return clips.video(path, frames=750, keyint=keyint, container_options=live), keyint


@pytest.mark.parametrize("count", [1, 2, 7, 32, 100, 1000])
def test_samples_are_spread_over_a_long_video(long_video: tuple[Path, int], count: int) -> None:
    path, keyint = long_video
    info, frames = read(path, count)
    assert info.duration is not None
    times = [frame.time for frame in frames]

    assert 0 < len(frames) <= sample_count(info, count)
    assert all(later > earlier for earlier, later in pairwise(times))
    assert all(later.index > earlier.index for earlier, later in pairwise(frames))
    assert 0 <= times[0] <= info.duration / count
    # A sample may lie up to a keyframe interval before the place where it was wanted.
    slack = info.duration / count + keyint / 30 + 0.1
    assert info.duration - slack <= times[-1] < info.duration
    assert max(later - earlier for earlier, later in pairwise([0.0, *times])) <= slack
    # The number in the picture is the truth about its time.
    assert times == pytest.approx([number / 30 for number in numbers(frames)], abs=0.002)


@pytest.mark.parametrize("suffix", clips.CODECS)
@pytest.mark.parametrize("count", [1, 3, 32, 90])
def test_samples_of_a_short_video_are_exact(tmp_path: Path, suffix: str, count: int) -> None:
    _, frames = read(clips.video(tmp_path / f"a{suffix}", frames=90, keyint=250), count)

    wanted = [(i + 0.5) * 90 / count - 0.5 for i in range(count)]
    assert numbers(frames) == pytest.approx(wanted, abs=0.51)


def test_a_video_with_one_keyframe_is_still_seen_to_its_end(tmp_path: Path) -> None:
    path = clips.video(tmp_path / "a.mkv", frames=1000, keyint=10_000)
    _, frames = read(path, count=8)

    assert len(frames) == 8
    assert frames[-1].time > 30


def test_no_more_is_decoded_than_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = 0
    convert = media_module.VideoFile._decode

    def counting(self: media_module.VideoFile, packet: media_module.VideoPacket | None) -> list[av.VideoFrame]:
        nonlocal decoded
        decoded += packet is not None
        return convert(self, packet)

    monkeypatch.setattr(media_module.VideoFile, "_decode", counting)
    with open_media(clips.video(tmp_path / "a.mp4", frames=1000, keyint=50)) as media:
        at_opening = decoded
        assert at_opening < 10
        assert len(list(media.sample(8))) == 8
        # Eight keyframe intervals of at most 50 frames, and never more than the budget.
        assert decoded - at_opening <= 8 * 50


def test_how_many_samples_to_expect() -> None:
    image = MediaInfo(MediaKind.IMAGE, "image/png", 1, 1, "png")
    unknown = MediaInfo(MediaKind.VIDEO, "video/webm", 1, 1, "vp8")
    short = MediaInfo(MediaKind.VIDEO, "video/webm", 1, 1, "vp8", frame_count=10)

    assert sample_count(image, 32) == 1
    assert sample_count(unknown, 32) == 32
    assert (sample_count(short, 32), sample_count(short, 4)) == (10, 4)


# --- damaged and odd videos -----------------------------------------------------------------------------


def test_a_recording_without_duration_or_index(tmp_path: Path) -> None:
    """As browsers record: the duration is measured."""
    path = clips.video(tmp_path / "a.webm", frames=90, container_options={"live": "1"})
    with av.open(str(path)) as container:
        assert container.duration is None

    info, frames = read(path)
    assert info.duration == pytest.approx(3, abs=0.05)
    assert info.frame_count == 90
    assert numbers(frames) == list(range(90))


class Unseekable:
    """A container that refuses every seek, as some damaged ones do."""

    def __init__(self, container: InputContainer) -> None:
        self._container = container

    def __getattr__(self, name: str) -> object:
        return getattr(self._container, name)

    def seek(self, *args: object, **options: object) -> None:
        raise av.error.PermissionError(1, "cannot seek")


@pytest.mark.parametrize("suffix", clips.CODECS)
def test_a_video_that_cannot_be_searched_gives_the_same(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clips.video(tmp_path / f"a{suffix}", frames=600, keyint=30)
    _, expected = read(path, count=10)
    really_open = media_module._open_video

    def open_unseekable(*args: object) -> tuple[Unseekable, VideoStream]:
        container, stream = really_open(*args)
        return Unseekable(container), stream

    monkeypatch.setattr(media_module, "_open_video", open_unseekable)
    _, frames = read(path, count=10)
    assert [frame.time for frame in frames] == pytest.approx([frame.time for frame in expected], abs=0.07)
    assert len(frames) == 10


def test_a_fragmented_mp4(tmp_path: Path) -> None:
    flags = {"movflags": "frag_keyframe+empty_moov+skip_trailer"}
    info, frames = read(clips.video(tmp_path / "a.mp4", frames=90, container_options=flags))

    assert info.duration == pytest.approx(3, abs=0.05)
    assert numbers(frames) == list(range(90))


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".webm"])
def test_of_a_truncated_video_the_readable_part_is_used(tmp_path: Path, suffix: str) -> None:
    options = {"movflags": "faststart"} if suffix == ".mp4" else None
    whole = clips.video(tmp_path / f"whole{suffix}", frames=300, keyint=30, container_options=options)
    info, frames = read(clips.cut(whole, tmp_path / f"cut{suffix}", 0.5), count=16)

    times = [frame.time for frame in frames]
    assert len(frames) >= 12
    assert 2 < times[-1] < 8
    assert times == pytest.approx([number / 30 for number in numbers(frames)], abs=0.04)
    if suffix != ".avi":  # which then has no duration, and FFmpeg guesses from the size
        assert info.duration == pytest.approx(10, abs=0.05)


def test_an_mp4_without_its_index_cannot_be_read(tmp_path: Path) -> None:
    whole = clips.video(tmp_path / "whole.mp4", frames=60)

    error = refusal(clips.cut(whole, tmp_path / "cut.mp4", 0.6))
    assert error.code is ErrorCode.UNREADABLE_MEDIA
    assert "incomplete" in error.message


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".webm"])
def test_a_broken_stretch_is_stepped_over(tmp_path: Path, suffix: str) -> None:
    whole = clips.video(tmp_path / f"whole{suffix}", frames=300, keyint=30)
    _, frames = read(clips.scratch(whole, tmp_path / f"broken{suffix}", 0.4, 0.5), count=30)

    times = [frame.time for frame in frames]
    assert all(later > earlier for earlier, later in pairwise(times))
    assert sum(time < 3.5 for time in times) >= 8
    assert sum(time > 6.5 for time in times) >= 8


def test_a_video_whose_beginning_is_broken(tmp_path: Path) -> None:
    whole = clips.video(tmp_path / "whole.mp4", frames=300, keyint=30)
    _, frames = read(clips.scratch(whole, tmp_path / "broken.mp4", 0.01, 0.25), count=30)

    assert len(frames) >= 15
    assert frames[-1].time > 9


def test_a_video_in_which_everything_is_broken(tmp_path: Path) -> None:
    whole = clips.video(tmp_path / "whole.mp4", frames=300)
    path = clips.scratch(whole, tmp_path / "broken.mp4", 0.005, 0.9)

    assert refusal(path).code is ErrorCode.UNREADABLE_MEDIA


def test_two_seconds_under_a_twelve_hour_header(tmp_path: Path) -> None:
    honest = clips.video(tmp_path / "a.mkv", frames=60)

    error = refusal(clips.claim_duration(honest, tmp_path / "12.mkv", 12 * 3600))
    assert error.code is ErrorCode.MEDIA_TOO_LONG
    assert "12:00:00" in error.message
    assert "4:00:00" in error.message


def test_two_seconds_under_a_three_hour_header_give_two_seconds(tmp_path: Path) -> None:
    honest = clips.video(tmp_path / "a.mkv", frames=60)
    info, frames = read(clips.claim_duration(honest, tmp_path / "3.mkv", 3 * 3600), count=32)

    assert info.duration == 3 * 3600
    assert info.frame_count == 60
    assert len(frames) == 32
    assert 1.8 < frames[-1].time < 2


def test_an_mp4_is_believed_for_its_index_not_for_its_header(tmp_path: Path) -> None:
    honest = clips.video(tmp_path / "a.mp4", frames=60)
    info, frames = read(clips.claim_mp4_duration(honest, tmp_path / "12.mp4", 12 * 3600))

    assert info.duration == pytest.approx(2, abs=0.05)
    assert len(frames) == 60


def test_a_header_that_claims_too_little_hides_nothing(tmp_path: Path) -> None:
    honest = clips.video(tmp_path / "a.mkv", frames=120)
    path = clips.claim_duration(honest, tmp_path / "short.mkv", 0.5)
    info, frames = read(path)

    assert info.duration == pytest.approx(4, abs=0.05)
    assert len(frames) == 120
    assert refusal(path, Limits(max_duration=3)).code is ErrorCode.MEDIA_TOO_LONG


# --- what is refused ------------------------------------------------------------------------------------


def test_a_video_beyond_the_limits(tmp_path: Path) -> None:
    path = clips.video(tmp_path / "a.mp4", frames=60)

    assert refusal(path, Limits(max_duration=1)).code is ErrorCode.MEDIA_TOO_LONG
    assert refusal(path, Limits(max_duration=2.1, max_pixels=160 * 96 - 1)).code is ErrorCode.TOO_MANY_PIXELS
    with open_media(path, limits=Limits(max_duration=2.1, max_pixels=160 * 96)) as media:
        assert len(list(media.sample(4))) == 4


@pytest.mark.parametrize("suffix", clips.CODECS)
def test_every_container_says_how_large_it_is_too_large(tmp_path: Path, suffix: str) -> None:
    error = refusal(clips.video(tmp_path / f"a{suffix}", frames=3), Limits(max_pixels=1000))

    assert error.code is ErrorCode.TOO_MANY_PIXELS
    assert "160 × 96" in error.message


def test_stretching_counts(tmp_path: Path) -> None:
    path = clips.video(tmp_path / "a.mp4", frames=3, pixel_aspect=Fraction(8))

    assert refusal(path, Limits(max_pixels=200 * 96)).code is ErrorCode.TOO_MANY_PIXELS


def test_an_unknown_codec(tmp_path: Path) -> None:
    known = clips.video(tmp_path / "a.mp4", frames=3)

    error = refusal(clips.replaced(known, tmp_path / "b.mp4", b"avc1", b"zzz1"))
    assert error.code is ErrorCode.UNSUPPORTED_CODEC
    assert "H.264" in error.message


@pytest.mark.parametrize("cover", [False, True])
def test_sound_is_no_video_even_with_a_cover(tmp_path: Path, cover: bool) -> None:
    error = refusal(clips.audio_only(tmp_path / "song.mp4", cover=cover))

    assert error.code is ErrorCode.UNREADABLE_MEDIA
    assert "contains no video stream" in error.message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"Dear user, this is a text.\n" * 100,
        b"\x00" * 5000,
        b"MZ\x90\x00" + bytes(1000),
        b"GIF89a" + bytes(100),
        b"%PDF-1.7\n",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"RIFF\x00\x00\x00\x00AVI ",
        b"RIFF\x00\x00\x00\x00WEBPVP8 ",
        b"\x1a\x45\xdf\xa3",
        b"\x00\x00\x00\x18ftypisom" + bytes(100),
        b"\x00\x00\x00\x18ftypheic" + bytes(100),
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.jpg"])
def test_what_is_no_media_whatever_its_name(
    tmp_path: Path, content: bytes, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    assert refusal(path).code is ErrorCode.UNREADABLE_MEDIA
    assert capfd.readouterr().err == ""


def test_what_is_no_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "missing.mp4").code is ErrorCode.UNREADABLE_MEDIA
    assert refusal(tmp_path).code is ErrorCode.UNREADABLE_MEDIA


@pytest.mark.parametrize(
    ("name", "playlist"),
    [
        ("a.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n"),
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"),
        ("a.mp4", "ffconcat version 1.0\nfile {target}\n"),
        ("a.avi", "#EXTM3U\n#EXTINF:9,\nfile://{target}\n"),
        ("a.mov", "<MPD><BaseURL>{target}</BaseURL></MPD>"),
    ],
)
def test_a_playlist_reads_no_other_file(tmp_path: Path, name: str, playlist: str) -> None:
    secret = clips.video(tmp_path / "secret.mp4", frames=3)
    path = tmp_path / name
    path.write_text(playlist.format(target=secret.name))

    assert refusal(path).code is ErrorCode.UNREADABLE_MEDIA


def test_ffmpeg_itself_would_read_the_other_file_and_our_options_alone_forbid_it(tmp_path: Path) -> None:
    """The second line of defence: even a demuxer that is let loose may not open another format or file."""
    clips.video(tmp_path / "secret.mp4", frames=3)
    path = tmp_path / "a.mp4"
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")

    with av.open(str(path)) as container:
        assert container.format.name == "concat"
        assert len(list(container.decode(video=0))) == 3
    with pytest.raises(av.error.FFmpegError):
        av.open(str(path), options=media_module._FFMPEG_OPTIONS)
    with pytest.raises(av.error.FFmpegError):
        av.open("http://127.0.0.1:9/a.mp4", options=media_module._FFMPEG_OPTIONS)


@pytest.mark.parametrize(
    "name",
    [
        "a:b.mp4",
        "http:evil.mp4",
        "concat:a|b.mp4",
        'it\'s "quoted".mp4',
        "clip 😀 ü.mp4",
        "%d.mp4",
        "x" * 251 + ".mp4",
    ],
)
def test_a_name_is_only_a_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    clips.video(tmp_path / "plain.mp4", frames=3).rename(path)
    monkeypatch.chdir(tmp_path)

    assert len(read(path)[1]) == 3
    assert len(read(Path(name))[1]) == 3


def test_the_extension_does_not_matter(tmp_path: Path) -> None:
    film, still = clips.video(tmp_path / "a.webm", frames=3), clips.picture(tmp_path / "a.png")
    film.rename(tmp_path / "film.jpg")
    still.rename(tmp_path / "still.mp4")

    assert read(tmp_path / "film.jpg")[0].mime == "video/webm"
    assert read(tmp_path / "still.mp4")[0].mime == "image/png"


@pytest.mark.parametrize("suffix", clips.CODECS)
def test_metadata_in_no_known_encoding(tmp_path: Path, suffix: str) -> None:
    path = clips.replaced(clips.video(tmp_path / f"a{suffix}", frames=3), tmp_path / f"b{suffix}", b"Lavf", b"La\xb7f")
    assert len(read(path)[1]) == 3
    assert refusal(path, Limits(max_pixels=1000)).code is ErrorCode.TOO_MANY_PIXELS


def test_nothing_is_written_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = clips.video(tmp_path / "whole.mp4", frames=60)
    broken = [
        clips.scratch(whole, tmp_path / "broken.mp4", 0.3, 0.6),
        clips.cut(whole, tmp_path / "cut.mp4", 0.5),
        clips.png_header(tmp_path / "bomb.png", 30_000, 30_000),
    ]
    capfd.readouterr()  # the encoder's
    for path in broken:
        try:
            read(path)
        except MediaError:
            continue
    assert capfd.readouterr().err == ""


# --- pictures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mime"),
    [("a.jpg", "image/jpeg"), ("a.jpeg", "image/jpeg"), ("a.png", "image/png"), ("a.webp", "image/webp")],
)
def test_every_kind_of_picture(tmp_path: Path, name: str, mime: str) -> None:
    info, [frame] = read(clips.picture(tmp_path / name), count=32)

    assert info.kind is MediaKind.IMAGE
    assert (info.mime, info.width, info.height) == (mime, 160, 96)
    assert (info.duration, info.fps, info.rotation) == (None, None, 0)
    assert (frame.index, frame.time) == (0, 0.0)
    assert clips.corners(frame.image) == "RGWB"


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
@pytest.mark.parametrize(
    ("orientation", "expected", "rotation"),
    [
        (1, "RGWB", 0),
        (2, "GRBW", 0),
        (3, "WBRG", 180),
        (4, "BWGR", 180),
        (5, "RBWG", 270),
        (6, "BRGW", 90),
        (7, "WGRB", 90),
        (8, "GWBR", 270),
        (9, "RGWB", 0),
    ],
)
def test_exif_orientation_is_applied(tmp_path: Path, name: str, orientation: int, expected: str, rotation: int) -> None:
    info, [frame] = read(clips.picture(tmp_path / name, orientation=orientation))

    assert clips.corners(frame.image) == expected
    assert info.rotation == rotation
    assert (info.width, info.height) == ((96, 160) if orientation in (5, 6, 7, 8) else (160, 96))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
def test_a_picture_with_broken_exif_data_is_a_picture(tmp_path: Path) -> None:
    image = Image.fromarray(clips.quadrants())
    image.save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff\x00\x01\x02\x03")
    image.save(tmp_path / "b.jpg", exif=b"Exif\0\0nonsense")

    for name in ("a.jpg", "b.jpg"):
        _, [frame] = read(tmp_path / name)
        assert clips.corners(frame.image) == "RGWB"


@pytest.mark.parametrize(("name", "mode"), [("a.jpg", "CMYK"), ("a.png", "P"), ("a.webp", "RGBA"), ("a.png", "RGBA")])
def test_other_ways_to_store_colours(tmp_path: Path, name: str, mode: str) -> None:
    _, [frame] = read(clips.picture(tmp_path / name, Image.fromarray(clips.quadrants()).convert(mode)))

    assert clips.corners(frame.image) == "RGWB"


@pytest.mark.parametrize(("name", "mode"), [("a.jpg", "L"), ("a.png", "L"), ("a.png", "1"), ("a.png", "LA")])
def test_a_grey_picture(tmp_path: Path, name: str, mode: str) -> None:
    image = Image.new("L", (40, 30), 0)
    image.paste(255, (20, 0, 40, 30))
    _, [frame] = read(clips.picture(tmp_path / name, image.convert(mode)))

    assert frame.image[15, 5].tolist() == pytest.approx([0, 0, 0], abs=3)
    assert frame.image[15, 35].tolist() == pytest.approx([255, 255, 255], abs=3)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, axis=0)
    _, [frame] = read(clips.picture(tmp_path / "a.png", Image.fromarray(ramp)))

    assert np.abs(frame.image[0, :, 1].astype(int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_transparency_becomes_white(tmp_path: Path, name: str) -> None:
    image = Image.new("RGBA", (40, 30), (200, 0, 0, 255))
    image.paste((0, 0, 200, 0), (20, 0, 40, 30))
    _, [frame] = read(clips.picture(tmp_path / name, image, lossless=True))

    assert frame.image[15, 5].tolist() == pytest.approx([200, 0, 0], abs=1)
    assert frame.image[15, 35].tolist() == [255, 255, 255]


def test_a_transparent_palette_colour_becomes_white(tmp_path: Path) -> None:
    image = Image.new("P", (40, 30), 1)
    image.putpalette([0, 0, 200, 200, 0, 0])
    image.paste(0, (20, 0, 40, 30))
    _, [frame] = read(clips.picture(tmp_path / "a.png", image, transparency=0))

    assert frame.image[15, 5].tolist() == [200, 0, 0]
    assert frame.image[15, 35].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("name", "kind"), [("a.webp", "WEBP"), ("a.png", "PNG"), ("a.jpg", "MPO")])
def test_of_several_pictures_the_first(tmp_path: Path, name: str, kind: str) -> None:
    first, second = Image.fromarray(clips.quadrants()), Image.new("RGB", (160, 96), "black")
    first.save(tmp_path / name, kind, save_all=True, append_images=[second, second])
    _, [frame] = read(tmp_path / name)

    assert clips.corners(frame.image) == "RGWB"


@pytest.mark.parametrize("write", [clips.png_header, clips.jpeg_header])
def test_a_picture_that_claims_to_be_huge(tmp_path: Path, write: object) -> None:
    assert callable(write)
    error = refusal(write(tmp_path / "a.jpg", 30_000, 30_000))

    assert error.code is ErrorCode.TOO_MANY_PIXELS
    assert "30000 × 30000" in error.message


def test_a_webp_that_claims_to_be_huge(tmp_path: Path) -> None:
    """So huge that Pillow refuses it before it tells the size."""
    assert refusal(clips.webp_header(tmp_path / "a.webp", 16_000, 16_000)).code is ErrorCode.TOO_MANY_PIXELS


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_picture_beyond_the_limit(tmp_path: Path, name: str) -> None:
    path = clips.picture(tmp_path / name)

    assert refusal(path, Limits(max_pixels=160 * 96 - 1)).code is ErrorCode.TOO_MANY_PIXELS
    with open_media(path, limits=Limits(max_pixels=160 * 96)) as media:
        assert len(list(media.sample(1))) == 1


@pytest.mark.parametrize("write", [clips.png_header, clips.jpeg_header])
def test_a_picture_of_no_size(tmp_path: Path, write: object) -> None:
    assert callable(write)
    assert refusal(write(tmp_path / "a.jpg", 0, 0)).code is ErrorCode.UNREADABLE_MEDIA


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_truncated_picture(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (96, 160, 3), dtype=np.uint8)
    whole = clips.picture(tmp_path / name, Image.fromarray(noise))

    error = refusal(clips.cut(whole, tmp_path / f"cut-{name}", 0.5))
    assert error.code is ErrorCode.UNREADABLE_MEDIA
    assert "incomplete" in error.message


def of_pillow(path: Path) -> np.ndarray | None:
    """The pixels by Pillow alone; None if it refuses them."""
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        return None


def straight(path: Path) -> np.ndarray | None:
    with path.open("rb") as file, JpegImageFile(file) as header:
        return jpeg_pixels(file, header)


@pytest.fixture
def photo() -> Image.Image:
    """Smooth and rough, of a size that ends inside the blocks of a JPEG."""
    rng = np.random.default_rng(1)
    ramp = np.linspace(0, 200, 333)[None, :, None] + np.linspace(0, 40, 201)[:, None, None]
    return Image.fromarray((ramp + rng.integers(0, 16, (201, 333, 3))).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": 30},
        {"subsampling": 0},
        {"subsampling": 1},
        {"subsampling": 2, "quality": 95},
        {"progressive": True},
        {"restart_marker_rows": 2},
        {"keep_rgb": True},
        {"exif": b"Exif\0\0nonsense", "comment": b"x" * 60_000},
    ],
    ids=["plain", "poor", "4:4:4", "4:2:2", "4:2:0", "progressive", "restarts", "stored as RGB", "much beside it"],
)
def test_a_jpeg_has_pillows_pixels_although_pillow_did_not_decode_it(
    tmp_path: Path, photo: Image.Image, options: dict[str, object]
) -> None:
    path = tmp_path / "a.jpg"
    photo.save(path, **options)
    pixels = straight(path)
    assert pixels is not None
    assert np.array_equal(pixels, of_pillow(path))
    assert np.array_equal(read(path)[1][0].image, pixels)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_jpeg_of_other_colours_is_pillows(tmp_path: Path, photo: Image.Image, mode: str) -> None:
    photo.convert(mode).save(tmp_path / "a.jpg")
    assert straight(tmp_path / "a.jpg") is None


def test_a_jpeg_with_far_too_much_behind_it_is_not_read_whole(tmp_path: Path, photo: Image.Image) -> None:
    path = tmp_path / "a.jpg"
    photo.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(1 << 20))
    assert straight(path) is not None, "a phone's short film behind its photo"
    path.write_bytes(whole + bytes(3 << 20))
    assert straight(path) is None
    assert np.array_equal(read(path)[1][0].image, of_pillow(path))


def test_a_damaged_jpeg_is_what_pillow_makes_of_it(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    rng = np.random.default_rng(5)
    path = tmp_path / "a.jpg"
    outcomes = set()
    for attempt in range(60):
        changed = bytearray(whole[: len(whole) - attempt % 3])  # with its end, half of it, none
        for place in rng.integers(2, len(changed), attempt % 4):
            changed[place] = int(rng.integers(256))
        path.write_bytes(changed)
        expected = of_pillow(path)
        outcomes.add(expected is None)
        if expected is None:
            assert refusal(path).code is ErrorCode.UNREADABLE_MEDIA, attempt
        else:
            assert np.array_equal(read(path)[1][0].image, expected), attempt
    assert outcomes == {True, False}, "damage of one kind only"


def test_a_closed_picture_is_closed(tmp_path: Path) -> None:
    with open_media(clips.picture(tmp_path / "a.png")) as media:
        pass
    with pytest.raises(ValueError, match="closed"):
        list(media.sample(1))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.mp4", "a.avi", "a.mkv", "a.webm", "a.mov"])
def test_random_damage_gives_frames_or_a_coded_error(tmp_path: Path, name: str) -> None:
    """Nothing but MediaError ever comes out, wherever a file is damaged."""
    is_video = Path(name).suffix in clips.CODECS
    whole = clips.video(tmp_path / name, frames=20) if is_video else clips.picture(tmp_path / name)
    content = whole.read_bytes()
    random = np.random.default_rng(11)
    damaged = tmp_path / f"damaged-{name}"
    for attempt in range(60):
        changed = bytearray(content)
        region = 400 if attempt % 2 else len(content)  # headers are where it hurts
        for place in random.integers(0, min(region, len(content)), 1 + attempt % 8):
            changed[place] = int(random.integers(256))
        damaged.write_bytes(changed)
        try:
            with open_media(damaged) as media:
                times = [frame.time for frame in media.sample(8)]
        except MediaError:
            continue
        assert all(later > earlier for earlier, later in pairwise(times))


# --- the real thing -------------------------------------------------------------------------------------


def test_real_clips(shared_data: Path) -> None:
    with (shared_data / "clips" / "manifest.csv").open() as file:
        names = [row["file"] for row in csv.DictReader(file)]
    for name in names[::20]:
        info, frames = read(shared_data / "clips" / name, count=32)
        assert info.codec == "h264"
        assert info.duration is not None
        assert 2 < info.duration < 8
        assert info.fps == pytest.approx(27, abs=4)
        assert len(frames) == 32
        spacing = info.duration / 32
        assert frames[0].time <= spacing
        assert frames[-1].time >= info.duration - 2 * spacing
        assert frames[0].image.std() > 10
