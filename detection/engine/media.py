"""Opens videos and images: the only place that does.

A file is judged by what it contains, never by its name, and is treated as hostile:

* its first bytes decide which demuxer may look at it, so no playlist, script or exotic format is ever
  parsed, and FFmpeg may open nothing: it gets this one file as an open descriptor;
* sizes are checked in the header, before a picture is allocated, and held again by the decoder;
* every loop has a bound that does not come from the file.

Pictures come out as they are displayed: rotated, at square pixels, RGB. Transparency is composited on
white in images (what lies under it is arbitrary) and dropped in videos (32-bit AVIs often leave it zero,
which would give a white video). Colour profiles and HDR transfer curves are not applied.
"""

from __future__ import annotations

import os
import struct
import warnings
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, Protocol, Self

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Discard, Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile as PillowFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from detection.engine.demuxing import VideoPacket, is_past, measure, packets_from, shown_at
from detection.engine.errors import ErrorCode, MediaError, gettext_noop
from detection.engine.formats import HEAD_BYTES, HEIF, Container, sniff
from detection.engine.pixels import (
    EXIF_ORIENTATIONS,
    FrameConverter,
    Orientation,
    check_memory,
    frame_orientation,
    image_pixels,
    jpeg_pixels,
    square_pixel_size,
)
from detection.engine.sampling import MOST_FRAMES, Run, Timeline, nearest, plan
from detection.engine.types import Frame, MediaInfo, MediaKind, RGBImage

# FFmpeg's log goes nowhere: what a user must know is in our messages, and a broken file logs by the page.
av.logging.set_level(None)
# Pillow warns about broken EXIF; the picture is fine without it, and stderr belongs to the command line.
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")

_PILLOW_PLUGINS: Final[dict[Container, type[PillowFile]]] = {
    Container.JPEG: JpegImageFile,
    Container.PNG: PngImageFile,
    Container.WEBP: WebPImageFile,
}
_FFMPEG_OPTIONS: Final = {
    "protocol_whitelist": "fd",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi",
    "enable_drefs": "0",  # QuickTime may say "the data is in that other file"; not here
}
_NOT_A_PROGRAMME: Final = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image

# Every thread decodes a frame ahead, which costs a picture of memory each and gains little beyond four. Counted
# here, because a confined process (see `sandbox`) may not ask.
_DECODER_THREADS: Final = min(4, os.cpu_count() or 1)
# The nearest frame to any time lies within half a frame of it. A little more, for frames are not all equally long;
# where they are very unequal, one somewhat further away may be taken.
_NEAREST: Final = 0.75
_FIRST_FRAME_PACKETS: Final = 1024  # how far to look for something that can be decoded
_FIRST_FRAME_PLACES: Final = 8  # and from how many keyframes

_DAMAGED = gettext_noop(
    "The video is damaged or incomplete and cannot be read. Copy or export it again, or convert it to MP4 (H.264)."
)
_NO_DECODER = gettext_noop(
    "The video is encoded in a way that cannot be decoded here. Convert it to MP4 (H.264) and try again."
)
_FOREIGN = gettext_noop(
    "The file is not a video or picture of a kind that can be analysed. "
    "Use MP4, MOV, AVI, MKV or WebM, or JPEG, PNG or WebP."
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is too much. ``max_duration`` in seconds, ``max_pixels`` per picture."""

    max_duration: float = 4 * 3600.0
    max_pixels: int = 50_000_000


class Media(Protocol):
    """An open video or image. Use it as a context manager, from one thread at a time."""

    @property
    def info(self) -> MediaInfo: ...

    def sample(self, count: int, *, exact: bool = False) -> Iterator[Frame]:
        """Yield at most ``count`` frames, evenly over the whole media, times strictly increasing.

        Pictures are RGB uint8 of shape (info.height, info.width, 3), C-contiguous; times are seconds
        from the first frame. One picture is held at a time. May be called again.

        Args:
            count: 1 to ``MOST_FRAMES``.
            exact: take the frames that lie evenly, however much must be decoded for them.

        Raises:
            MediaError: nothing could be decoded.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_media(path: Path, *, limits: Limits = Limits()) -> VideoFile | ImageFile:
    """Open a video or an image, whatever its name, in this very process.

    Raises:
        MediaError: ``unreadable_media``, ``unsupported_codec``, ``media_too_long`` or
            ``too_many_pixels``, with a message for the user.
    """
    return open_file(open_source(path), limits=limits)


def open_source(path: Path) -> BinaryIO:
    """The file for reading. Raises MediaError (``unreadable_media``) where there is none."""
    try:
        return path.open("rb")
    except OSError as error:
        raise MediaError(
            ErrorCode.UNREADABLE_MEDIA, gettext_noop("The file cannot be opened. Upload it again.")
        ) from error


def open_file(file: BinaryIO, *, limits: Limits = Limits()) -> VideoFile | ImageFile:
    """The same as :func:`open_media` for a file that is open already; it is closed with the media or the error."""
    try:
        return _open_file(file, limits)
    except BaseException:
        file.close()
        raise


def _open_file(file: BinaryIO, limits: Limits) -> VideoFile | ImageFile:
    head = os.pread(file.fileno(), HEAD_BYTES, 0)
    if not head:
        raise MediaError(ErrorCode.UNREADABLE_MEDIA, gettext_noop("The file is empty. Upload it again."))
    found = sniff(head)
    if found is HEIF:
        message = gettext_noop("HEIC and AVIF pictures cannot be analysed. Save the picture as JPEG or PNG.")
        raise MediaError(ErrorCode.UNREADABLE_MEDIA, message)
    if found is None:
        raise MediaError(ErrorCode.UNREADABLE_MEDIA, _FOREIGN)
    if found.kind is MediaKind.IMAGE:
        return ImageFile(file, _PILLOW_PLUGINS[found.container], found.container.value, limits)
    return VideoFile(file, found.container.value, found.mime, limits)


def sample_count(info: MediaInfo, count: int) -> int:
    """How many frames ``sample(count)`` intends to give; it may give fewer."""
    if info.kind is MediaKind.IMAGE:
        return 1
    return count if info.frame_count is None else min(count, max(1, info.frame_count))


def _check_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise MediaError(
            ErrorCode.TOO_MANY_PIXELS,
            f"The picture has {width} × {height} pixels; at most {limits.max_pixels / 1e6:g} million can be "
            "analysed. Scale it down and try again.",
        )


def _check_duration(seconds: float, limits: Limits) -> None:
    if seconds > limits.max_duration:
        raise MediaError(
            ErrorCode.MEDIA_TOO_LONG,
            f"The video says that it lasts {_clock(seconds)}; at most {_clock(limits.max_duration)} can be "
            "analysed. Cut it, or save it anew if it is really shorter.",
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class ImageFile:
    """A still picture. Decoded when opened; of an animation, the first frame."""

    def __init__(self, file: BinaryIO, plugin: type[PillowFile], codec: str, limits: Limits) -> None:
        try:
            # The plug-in itself and not Image.open(), which would try other formats as well and which
            # guards against huge pictures with a process-wide limit and a warning of its own.
            with file, plugin(file) as picture:
                _check_pixels(picture.width, picture.height, limits)
                straight = jpeg_pixels(file, picture) if plugin is JpegImageFile else None
                image = image_pixels(picture) if straight is None else straight
                exif = picture.getexif().get(ExifTags.Base.Orientation, 1)
        except Image.DecompressionBombError as error:  # Pillow's own limit, far above any sensible one
            message = gettext_noop("The picture has far too many pixels. Scale it down and try again.")
            raise MediaError(ErrorCode.TOO_MANY_PIXELS, message) from error
        except (OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, struct.error) as error:
            # What Pillow's plug-ins raise, depending on which byte is wrong.
            message = gettext_noop("The picture is damaged or incomplete. Export it again as JPEG or PNG.")
            raise MediaError(ErrorCode.UNREADABLE_MEDIA, message) from error
        orientation = EXIF_ORIENTATIONS.get(exif, Orientation())
        self._image: RGBImage | None = orientation.apply(image)
        height, width = self._image.shape[:2]
        self.info = MediaInfo(MediaKind.IMAGE, f"image/{codec}", width, height, codec, rotation=orientation.clockwise)

    def sample(self, count: int, *, exact: bool = False) -> Iterator[Frame]:
        """The picture, whatever is asked for. See :class:`Media`."""
        del exact
        check_count(count)
        if self._image is None:
            raise ValueError("the image is closed")
        yield Frame(index=0, time=0.0, image=self._image)

    def close(self) -> None:
        self._image = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_count(count: int) -> None:
    """Raises ValueError for a number of frames that nobody may ask for."""
    if not 1 <= count <= MOST_FRAMES:
        raise ValueError(f"cannot sample {count} frames")


class VideoFile:
    """The pictures of one video stream."""

    def __init__(self, file: BinaryIO, demuxer: str, mime: str, limits: Limits) -> None:
        self._file = file
        self._demuxer = demuxer
        self._limits = limits
        self._open()
        try:
            self.info = self._examine(mime)
        except BaseException:
            self.close()
            raise

    def sample(self, count: int, *, exact: bool = False) -> Iterator[Frame]:
        """See :class:`Media`. How the frames are chosen is told in :mod:`detection.engine.sampling`."""
        check_count(count)
        last_time, index = -1.0, -1
        for run in plan(self._timeline, count, exact=exact):
            for pts, picture in nearest(self._decode_run(run), lambda timed: timed[0], run.wanted):
                time = max(0.0, self._seconds(pts))
                if time <= last_time:  # two runs met at one frame
                    continue
                number = round((pts - self._timeline.start) / self._timeline.ticks_per_frame)
                last_time, index = time, max(index + 1, number)
                yield Frame(index, time, self._convert(picture))
        if index < 0:
            raise MediaError(ErrorCode.UNREADABLE_MEDIA, _DAMAGED)

    def close(self) -> None:
        self._container.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        self._container, self._stream = _open_video(self._file, self._demuxer, self._limits)
        # A stream without a time base has no timestamps either; any unit will do.
        self._tick = float(self._stream.time_base or 1 / av.time_base)  # seconds
        self._decoder: VideoCodecContext = self._stream.codec_context
        self._decoder.options = {"max_pixels": _decoder_limit(self._limits)}
        # AUTO decodes whole frames in parallel where the codec can, slices where it cannot. Most videos
        # have one slice a frame, so SLICE alone would use one core. The frame of delay that each thread
        # adds does not matter, because a run drains the decoder rather than feeding it more.
        self._decoder.thread_type = "AUTO"
        self._decoder.thread_count = _DECODER_THREADS

    def _examine(self, mime: str) -> MediaInfo:
        """Check against the limits, find out where the frames lie, decode one."""
        claimed = _claimed_duration(self._container, self._stream)
        _check_duration(claimed or 0.0, self._limits)
        timeline = measure(self._container, self._stream)
        if timeline is None:
            raise MediaError(ErrorCode.UNREADABLE_MEDIA, _DAMAGED)
        self._timeline: Timeline = timeline
        _check_duration(self._seconds(timeline.end), self._limits)
        first = self._first_frame()
        if self._demuxer == Container.AVI:  # knows no times but a frame's number in the order of decoding
            timeline = self._timeline = replace(timeline, start=min(first.ticks, timeline.end))
        last = self._seconds(timeline.end)
        pixel_aspect = self._stream.sample_aspect_ratio
        orientation = frame_orientation(first.frame)
        width, height = size = square_pixel_size(first.frame, pixel_aspect)
        _check_pixels(width, height, self._limits)
        self._convert = FrameConverter(size, pixel_aspect, orientation)
        return MediaInfo(
            kind=MediaKind.VIDEO,
            mime=mime,
            width=height if orientation.swaps_sides else width,
            height=width if orientation.swaps_sides else height,
            codec=self._stream.codec.canonical_name,
            # A truncated file keeps the duration that it claims; its frames show how much of it is there.
            duration=claimed if claimed and claimed >= last else last + self._tick * timeline.ticks_per_frame,
            fps=_frame_rate(self._stream, timeline.frames - 1, last),
            frame_count=timeline.frames,
            rotation=orientation.clockwise,
        )

    def _seconds(self, ticks: float) -> float:
        return (ticks - self._timeline.start) * self._tick

    def _first_frame(self) -> _TimedFrame:
        """Something that can be decoded, as near to the beginning as there is."""
        keyframes = [time - self._timeline.delay for time in self._timeline.keyframes[1:]]
        places = [None, *keyframes[:: max(1, len(keyframes) // _FIRST_FRAME_PLACES)]]
        for place in places:
            wanted = self._timeline.start if place is None else place
            for found in self._decode_run(Run(place, (wanted,), _FIRST_FRAME_PACKETS)):
                return found
        raise MediaError(ErrorCode.UNREADABLE_MEDIA, _DAMAGED)

    def _decode_run(self, run: Run) -> Iterator[_TimedFrame]:
        """The run's frames in order of time."""
        previous = float("-inf") if run.seek is None else run.seek - 1.0
        for frame in self._decode_packets(run):
            ticks = frame.pts if frame.pts is not None else frame.dts
            if ticks is None:
                ticks = round(max(previous, self._timeline.start) + self._timeline.ticks_per_frame)
            too_large = frame.width * frame.height > self._limits.max_pixels
            # Pictures from before the keyframe lean on frames that were not decoded.
            if ticks > previous and not frame.is_corrupt and not too_large:
                previous = ticks
                yield _TimedFrame(ticks, frame)

    def _decode_packets(self, run: Run) -> Iterator[VideoFrame]:
        self._jump(run.seek)
        produced = False
        for fed, packet in enumerate(packets_from(run.seek, self._container, self._stream), start=1):
            self._decoder.skip_frame = "DEFAULT" if self._is_wanted(packet, run) else "NONREF"
            frames = self._decode(packet)
            exhausted = fed >= run.packets
            if exhausted or is_past(packet, run.wanted[-1]):
                frames += self._decode(None)
                self._decoder.flush_buffers()
                produced = produced or bool(frames)
                yield from frames
                if produced or exhausted:
                    return
                continue  # what should have come out was broken: go on to the next that is not
            produced = produced or bool(frames)
            yield from frames
        yield from self._decode(None)

    def _is_wanted(self, packet: VideoPacket, run: Run) -> bool:
        """Whether it may be the nearest frame to a wanted time; other frames matter only as references."""
        shown = shown_at(packet)
        if shown is None:
            return True
        margin = _NEAREST * self._timeline.ticks_per_frame
        following = bisect_left(run.wanted, shown - margin)
        return following < len(run.wanted) and run.wanted[following] <= shown + margin

    def _decode(self, packet: VideoPacket | None) -> list[VideoFrame]:
        try:
            return self._stream.decode(packet)
        except FFmpegError as error:  # a broken packet costs its own picture, not the video
            check_memory(error)
            return []

    def _jump(self, keyframe: int | None) -> None:
        start = min((self._timeline.start, *self._timeline.keyframes[:1])) - self._timeline.delay
        try:
            self._container.seek(start if keyframe is None else keyframe, stream=self._stream)
        except FFmpegError:
            # Cannot seek: start over; whatever precedes the keyframe will be read but not decoded.
            self._container.close()
            self._open()


class _TimedFrame(NamedTuple):
    ticks: int
    frame: VideoFrame


def _open_video(file: BinaryIO, demuxer: str, limits: Limits) -> tuple[InputContainer, VideoStream]:
    """Open the container and choose its video stream; the others are not even read."""
    container = _open_container(file, demuxer, limits)
    try:
        stream = _choose_stream(container)
        width, height = stream.width, stream.height
        if not width * height:
            # A decoder that met a larger picture than max_pixels forgets the size. What the container
            # says remains when no decoder may look.
            with _aside(file), _open_container(file, demuxer, limits, codec_whitelist="none") as plain:
                header = plain.streams[stream.index]
                width, height = getattr(header, "width", 0), getattr(header, "height", 0)
        _check_pixels(width, height, limits)
    except BaseException:
        container.close()
        raise
    for other in container.streams:
        other.discard = Discard.default if other is stream else Discard.all
    return container, stream


def _open_container(file: BinaryIO, demuxer: str, limits: Limits, **options: str) -> InputContainer:
    os.lseek(file.fileno(), 0, os.SEEK_SET)  # where FFmpeg takes the descriptor's position to be
    options = {**_FFMPEG_OPTIONS, "fd": str(file.fileno()), "max_pixels": _decoder_limit(limits), **options}
    try:
        return av.open("fd:", format=demuxer, options=options, metadata_errors="replace")
    except FFmpegError as error:
        # Also where it wants more memory than there is: a header takes hardly any, unless its figures are wrong.
        raise MediaError(ErrorCode.UNREADABLE_MEDIA, _DAMAGED) from error


@contextmanager
def _aside(file: BinaryIO) -> Iterator[None]:
    """Another container may read the file here: the position belongs to the first one and is put back."""
    place = os.lseek(file.fileno(), 0, os.SEEK_CUR)
    try:
        yield
    finally:
        os.lseek(file.fileno(), place, os.SEEK_SET)


def _decoder_limit(limits: Limits) -> str:
    """Keeps decoders from allocating huge pictures. Generous, since they count padding; ours is exact."""
    return str(min(2 * limits.max_pixels + (1 << 18), (1 << 31) - 1))


def _choose_stream(container: InputContainer) -> VideoStream:
    """The default or else the largest video stream; cover art is not a video."""
    videos = [stream for stream in container.streams.video if not stream.disposition & _NOT_A_PROGRAMME]
    if not videos:
        message = gettext_noop("The file contains no video stream. Upload a video or a picture.")
        raise MediaError(ErrorCode.UNREADABLE_MEDIA, message)
    decodable = [stream for stream in videos if stream.codec_context is not None]
    if not decodable:
        raise MediaError(ErrorCode.UNSUPPORTED_CODEC, _NO_DECODER)
    return max(decodable, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height))


def _claimed_duration(container: InputContainer, stream: VideoStream) -> float | None:
    """Seconds that the header gives the video, None where it does not say."""
    if stream.duration is not None and stream.duration > 0 and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and container.duration > 0:
        return container.duration / av.time_base
    return None


def _frame_rate(stream: VideoStream, intervals: int, seconds: float) -> float | None:
    """Frames a second: the header's figure (29.97 rather than 29.96) unless it is wrong."""
    if intervals < 1 or seconds <= 0:
        return None
    measured = intervals / seconds
    claimed = float(stream.guessed_rate or 0)
    return claimed if abs(claimed - measured) <= 0.03 * measured else measured
