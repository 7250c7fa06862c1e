"""Media decoded in a process of its own: the same pictures, and whatever a file does there, it stays there."""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from detection.engine import sandbox as module
from detection.engine.errors import Cancelled, EngineError, ErrorCode, MediaError
from detection.engine.media import Limits, open_media
from detection.engine.pixels import check_memory
from detection.engine.sampling import MOST_FRAMES
from detection.engine.sandbox import Sandbox, SandboxedMedia
from detection.engine.types import Frame, MediaInfo, Mode
from detection.engine.wire import Bounds
from tests import clips
from tests.conftest import lacking
from tests.services import wait_for

ROOT = Path(__file__).resolve().parents[2]
linux = pytest.mark.usefixtures("proc")


@pytest.fixture(scope="module")
def proc() -> None:
    """What Linux says of its processes."""
    if sys.platform != "linux":
        lacking("looks into /proc")


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return Sandbox()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.video(tmp_path_factory.mktemp("clip") / "a.mp4")


@pytest.fixture
def opened(sandbox: Sandbox, clip: Path) -> Iterator[SandboxedMedia]:
    with sandbox(clip, limits=Limits()) as media:
        yield media


def children(parent: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return []


def is_gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def host_of(sandbox: Sandbox) -> int:
    return sandbox._host._process.pid


def decoder_of(sandbox: Sandbox) -> int:
    """The process that reads the file that is open."""
    (decoder,) = children(host_of(sandbox))
    return decoder


def seen(path: Path, opener: Callable, count: int = 5, *, exact: bool = False) -> tuple[MediaInfo, list[Frame]]:
    with opener(path, limits=Limits()) as media:
        return media.info, list(media.sample(count, exact=exact))


# -- The same as without it --------------------------------------------------------------------------------------------
MAKERS = {
    "h264.mp4": clips.video,
    "turned.mov": lambda path: clips.video(path, rotation=90),
    "vp8.webm": clips.video,
    "mpeg4.avi": clips.video,
    "wide.mkv": lambda path: clips.video(path, size=(161, 97), pixel_format="yuv444p"),
    "plain.png": clips.picture,
    "turned.jpg": lambda path: clips.picture(path, orientation=6),
    "clear.webp": lambda path: clips.picture(path, Image.fromarray(clips.quadrants()).convert("RGBA")),
    "deep.png": lambda path: clips.picture(path, Image.fromarray(np.full((96, 160), 40_000, np.uint16))),
}


@pytest.mark.parametrize("name", MAKERS)
def test_the_pictures_are_the_same_bit_for_bit(sandbox: Sandbox, tmp_path: Path, name: str):
    path = MAKERS[name](tmp_path / name)
    info, frames = seen(path, open_media)
    info_there, frames_there = seen(path, sandbox)
    assert info_there == info
    assert [(f.index, f.time) for f in frames_there] == [(f.index, f.time) for f in frames]
    for here, there in zip(frames, frames_there, strict=True):
        assert np.array_equal(here.image, there.image)
        assert there.image.flags.c_contiguous


def test_exact_frames_are_the_same_on_both_sides_and_others_than_cheap_ones(sandbox: Sandbox, tmp_path: Path):
    path = clips.video(tmp_path / "long.mp4", frames=750, keyint=250)
    exact, there, cheap = (
        [clips.frame_number(frame.image) for frame in seen(path, opener, 100, exact=is_exact)[1]]
        for opener, is_exact in ((open_media, True), (sandbox, True), (sandbox, False))
    )
    assert there == exact == [round(7.5 * i + 3.25) for i in range(100)]
    assert cheap != exact


@pytest.mark.parametrize("count", [0, MOST_FRAMES + 1, "all"])
def test_the_decoder_itself_does_not_give_what_nobody_may_want(opened: SandboxedMedia, count: object):
    opened._decoder.ask({"sample": count, "exact": True})
    with pytest.raises(module.DecoderError):
        opened._decoder.answer()


def test_a_thorough_look_may_take_longer(clip: Path):
    sandbox = Sandbox(Bounds(seconds=60, thorough_seconds=900))
    left = {}
    for mode in Mode:
        with sandbox(clip, limits=Limits(), mode=mode) as media:
            left[mode] = media._decoder._seconds
    assert left[Mode.STANDARD] <= 60
    assert 800 < left[Mode.THOROUGH] <= 900


def test_it_may_be_sampled_again_also_when_the_first_time_was_left_midway(opened: SandboxedMedia):
    first = next(opened.sample(5))
    again = list(opened.sample(5))
    assert again[0].time == first.time
    assert [f.time for f in opened.sample(5)] == [f.time for f in again]


def test_after_its_end_it_says_so(sandbox: Sandbox, clip: Path):
    with sandbox(clip, limits=Limits()) as media, pytest.raises(ValueError, match="0 frames"):
        next(media.sample(0))
    with pytest.raises(ValueError, match="closed"):
        next(media.sample(1))


@pytest.mark.parametrize(
    ("make", "limits", "code"),
    [
        (lambda p: p.write_text("hello") and p, Limits(), ErrorCode.UNREADABLE_MEDIA),
        (lambda p: p / "nowhere", Limits(), ErrorCode.UNREADABLE_MEDIA),
        (lambda p: clips.video(p.with_suffix(".mp4")), Limits(max_pixels=99), ErrorCode.TOO_MANY_PIXELS),
        (lambda p: clips.video(p.with_suffix(".mp4")), Limits(max_duration=0.1), ErrorCode.MEDIA_TOO_LONG),
        (lambda p: clips.png_header(p, 30_000, 30_000), Limits(), ErrorCode.TOO_MANY_PIXELS),
    ],
)
def test_a_refusal_is_the_same_in_the_same_words(sandbox: Sandbox, tmp_path: Path, make, limits: Limits, code):
    path = make(tmp_path / "file")
    with pytest.raises(MediaError) as here:
        open_media(path, limits=limits)
    with pytest.raises(MediaError) as there:
        sandbox(path, limits=limits)
    assert (there.value.code, there.value.message) == (here.value.code, here.value.message) == (code, str(here.value))


# -- What a file can do there ------------------------------------------------------------------------------------------
@linux
@pytest.mark.parametrize(
    ("number", "error", "code"),
    [
        (signal.SIGSEGV, MediaError, ErrorCode.UNREADABLE_MEDIA),
        (signal.SIGABRT, MediaError, ErrorCode.UNREADABLE_MEDIA),
        (signal.SIGXCPU, EngineError, ErrorCode.TIMED_OUT),
        (signal.SIGKILL, MemoryError, None),
    ],
)
def test_how_a_decoder_ends_becomes_a_code(sandbox: Sandbox, clip: Path, number: signal.Signals, error, code):
    """A crash, the bound of processor time, and what the system does that is short of memory."""
    with sandbox(clip, limits=Limits()) as media:
        os.kill(decoder_of(sandbox), number)
        with pytest.raises(error) as caught:
            list(media.sample(5))
    assert getattr(caught.value, "code", None) == code
    assert len(seen(clip, sandbox)[1]) == 5, "the next file is not concerned"


def test_a_picture_that_needs_more_memory_than_there_may_be(tmp_path: Path):
    path = clips.picture(tmp_path / "large.png", Image.new("RGBA", (6000, 6000)), compress_level=1)
    with pytest.raises(MemoryError):
        seen(path, Sandbox(Bounds(memory=400 << 20)))


def test_a_video_that_needs_more_memory_than_there_may_be_is_no_damaged_one(tmp_path: Path):
    path = clips.video(tmp_path / "large.mp4", frames=2, size=(4096, 2304))
    with pytest.raises(MemoryError):
        seen(path, Sandbox(Bounds(memory=300 << 20)))


def test_a_header_whose_figures_ask_for_absurd_memory_is_damaged(sandbox: Sandbox, tmp_path: Path):
    content = bytearray(clips.video(tmp_path / "a.mp4").read_bytes())
    at = content.index(b"stts") + 8  # how many entries the table of times has
    content[at : at + 4] = b"\x7f\xff\xff\xff"
    path = tmp_path / "absurd.mp4"
    path.write_bytes(content)
    for opener in (open_media, sandbox):
        with pytest.raises(MediaError) as caught:
            seen(path, opener)
        assert caught.value.code is ErrorCode.UNREADABLE_MEDIA


def test_what_ffmpeg_could_not_allocate_is_no_damage():
    with pytest.raises(MemoryError):
        check_memory(av.error.FFmpegError(errno.ENOMEM, "no memory"))
    check_memory(av.error.FFmpegError(errno.EINVAL, "nonsense"))


def test_a_picture_that_takes_for_ever(tmp_path: Path):
    """One scan five thousand times over: half a megabyte, minutes of work."""
    path = clips.picture(tmp_path / "scans.jpg", Image.new("L", (2000, 2000)), progressive=True)
    content = path.read_bytes()
    scan = content[content.rindex(b"\xff\xda") : -2]
    path.write_bytes(content[:-2] + scan * 5_000 + b"\xff\xd9")
    with pytest.raises(EngineError) as caught:
        seen(path, Sandbox(Bounds(seconds=2)))
    assert caught.value.code is ErrorCode.TIMED_OUT


@linux
def test_a_decoder_that_says_nothing_is_not_waited_for(clip: Path):
    sandbox = Sandbox()
    with sandbox(clip, limits=Limits()) as media:
        host = host_of(sandbox)
        os.kill(decoder_of(sandbox), signal.SIGSTOP)
        media._decoder._seconds = 1
        with pytest.raises(EngineError) as caught:
            list(media.sample(5))
    assert caught.value.code is ErrorCode.TIMED_OUT
    assert len(seen(clip, sandbox)[1]) == 5, "the next file is not concerned"
    assert host_of(sandbox) != host, "it may have been the host that hangs"


TAKEN_OVER = """
import os, socket, sys, time
from detection.engine.decoder import _await
alive, held = os.pipe()
leash, other_end = socket.socketpair()
child = os.fork()
if child == 0:
    {first}
    time.sleep(600)
    os._exit(0)
os.close(held)
print(_await(child, alive, leash))
"""


@linux
@pytest.mark.parametrize("first", ["os.close(held)", "os.write(held, b'x')"])
def test_who_took_a_decoder_over_cannot_stay_by_seeming_to_have_ended(first: str):
    """Its host would wait for it, and no further file of this worker be read."""
    program = TAKEN_OVER.format(first=first)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.stdout, done.stderr) == (f"{-signal.SIGKILL}\n", "")


@linux
def test_a_host_that_does_not_say_how_a_decoder_ended_is_replaced(monkeypatch: pytest.MonkeyPatch, clip: Path):
    monkeypatch.setattr(module, "_REPORT_SECONDS", 1)
    sandbox = Sandbox()
    with sandbox(clip, limits=Limits()) as media:
        decoder, host = decoder_of(sandbox), host_of(sandbox)
        os.kill(host, signal.SIGSTOP)
        os.kill(decoder, signal.SIGKILL)
        with pytest.raises(module.DecoderError, match="not reported"):
            list(media.sample(5))
    assert is_gone(host)
    assert len(seen(clip, sandbox)[1]) == 5


CONFINED = """
import errno, fcntl, json, mmap, os, signal, socket, sys
from detection.engine.confinement import Confinement
from detection.engine.wire import Bounds
peer = socket.socket()
confinement = Confinement()
confinement.enter(Bounds())
def refused(what):
    try:
        what()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "allowed"
print(json.dumps({"lacking": confinement.lacking, **{name: refused(what) for name, what in {
    "open": lambda: open("/etc/passwd"),
    "list": lambda: os.listdir("/"),
    "remove": lambda: os.unlink("/tmp/nothing-of-this-name"),
    "socket": socket.socket,
    "connect": lambda: peer.connect(("127.0.0.1", 9)),
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "kill": lambda: os.kill(os.getppid(), 0),
    # What arrives on a socket makes the system send a signal of one's choice to a process of one's choice.
    "which signal": lambda: fcntl.fcntl(peer, fcntl.F_SETSIG, signal.SIGKILL),
    "to whom": lambda: fcntl.fcntl(peer, fcntl.F_SETOWN, os.getpid()),
    "when": lambda: fcntl.fcntl(peer, fcntl.F_SETFL, os.O_ASYNC),
    "code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
}.items()}}), flush=True)
os._exit(0)
"""


@linux
def test_who_took_a_decoder_over_can_do_nothing_with_it():
    done = subprocess.run([sys.executable, "-c", CONFINED], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    if "seccomp" in said.pop("lacking"):
        lacking("needs libseccomp (Debian: apt install libseccomp2)")
    assert set(said.values()) == {"EPERM"}, said


@linux
@pytest.mark.parametrize("change", ["c.pyseccomp = None", "c.Confinement.enter = lambda self, bounds: 1 / 0"])
def test_a_platform_without_seccomp_or_one_that_forbids_it_says_so(change: str):
    program = f"import detection.engine.confinement as c; {change}; print(c.Confinement().lacking[0])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("seccomp\n", "")


@linux
def test_it_knows_neither_the_site_s_secrets_nor_the_file_s_name(sandbox: Sandbox, opened: SandboxedMedia, clip: Path):
    for process in (host_of(sandbox), decoder_of(sandbox)):
        names = {line.partition(b"=")[0] for line in Path(f"/proc/{process}/environ").read_bytes().split(b"\0")}
        assert b"VERIFRAME_SECRET_KEY" in {name.encode() for name in os.environ}
        assert names <= {b"PYTHONPATH", b"OPENBLAS_NUM_THREADS", b"MALLOC_ARENA_MAX", b"LC_CTYPE", b""}
        assert clip.name.encode() not in Path(f"/proc/{process}/cmdline").read_bytes()


# -- When it ends ------------------------------------------------------------------------------------------------------
@linux
def test_letting_go_ends_the_decoder_whatever_it_is_doing(sandbox: Sandbox, clip: Path):
    with sandbox(clip, limits=Limits()) as media:
        next(media.sample(5))
        decoder = decoder_of(sandbox)
        os.kill(decoder, signal.SIGSTOP)
    wait_for(lambda: is_gone(decoder), "the decoder's end")


@linux
def test_an_exception_from_elsewhere_gets_through_while_it_waits(sandbox: Sandbox, clip: Path):
    """Dramatiq raises time limits and shutdowns in the worker's thread; they must not wait for a file."""
    caught: list[BaseException] = []
    waiting = threading.Event()

    def work() -> None:
        try:
            with sandbox(clip, limits=Limits()) as media:
                os.kill(decoder_of(sandbox), signal.SIGSTOP)
                waiting.set()
                list(media.sample(5))
        except KeyboardInterrupt as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert waiting.wait(60)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt))
    thread.join(60)
    assert caught


@linux
def test_who_waits_is_told_so_and_may_stop(sandbox: Sandbox, clip: Path):
    """A worker renews its lease meanwhile, and hears of a cancellation."""
    stopped = threading.Event()

    def waiting() -> None:
        if stopped.is_set():
            raise Cancelled

    with sandbox(clip, limits=Limits(), waiting=waiting) as media:
        decoder = decoder_of(sandbox)
        os.kill(decoder, signal.SIGSTOP)
        stopped.set()
        with pytest.raises(Cancelled):
            list(media.sample(5))
    wait_for(lambda: is_gone(decoder), "the decoder's end")


@linux
def test_who_waits_for_the_decoders_to_be_loaded_is_told_so_too(clip: Path):
    """That takes long on a busy machine, and a lease is short."""
    sandbox = Sandbox()
    os.kill(sandbox._living_host()._process.pid, signal.SIGSTOP)

    def waiting() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        sandbox(clip, limits=Limits(), waiting=waiting)


@linux
def test_the_signals_that_stop_a_service_are_not_the_file_s_fault(sandbox: Sandbox, opened: SandboxedMedia):
    """A service manager sends SIGTERM to all processes of a service; the worker then hands its work back."""
    for process in (host_of(sandbox), decoder_of(sandbox)):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(process, number)
    assert len(list(opened.sample(5))) == 5


@linux
def test_nothing_outlives_a_worker_that_is_killed(clip: Path):
    program = f"""
import sys, time
from pathlib import Path
from detection.engine.media import Limits
from detection.engine.sandbox import Sandbox
sandbox = Sandbox()
media = sandbox(Path({str(clip)!r}), limits=Limits())
print(sandbox._host._process.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        host = int(worker.stdout.readline())
        (decoder,) = children(host)
        os.kill(decoder, signal.SIGSTOP)
        worker.kill()
    wait_for(lambda: is_gone(host), "the host's end")
    wait_for(lambda: is_gone(decoder), "the decoder's end")


@linux
def test_a_host_that_died_takes_its_decoder_along_and_is_replaced(clip: Path):
    sandbox = Sandbox()
    with sandbox(clip, limits=Limits()) as media:
        decoder, host = decoder_of(sandbox), host_of(sandbox)
        os.kill(decoder, signal.SIGSTOP)  # or it might answer before its host is gone
        os.kill(host, signal.SIGKILL)
        with pytest.raises(MemoryError):
            list(media.sample(5))
    wait_for(lambda: is_gone(decoder), "the decoder's end")
    wait_for(lambda: is_gone(host), "the host's end")
    assert len(seen(clip, sandbox)[1]) == 5
    assert host_of(sandbox) != host


@linux
def test_a_sandbox_that_nobody_needs_any_more_leaves_no_process(clip: Path):
    sandbox = Sandbox()
    seen(clip, sandbox)
    host = host_of(sandbox)
    del sandbox
    wait_for(lambda: is_gone(host), "the host's end")


def test_where_there_are_no_processes_the_worker_reads_the_file_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clip: Path
):
    monkeypatch.setattr(module, "_SUPPORTED", False)
    with caplog.at_level(logging.WARNING):
        sandbox = Sandbox()
    assert "no processes" in caplog.text
    assert len(seen(clip, sandbox)[1]) == 5
    assert sandbox._host is None
