"""What a process that reads a hostile file may still do: next to nothing.

Three layers, each as far as the platform has it. **Limits** of the operating system: memory, processor time, no
file that can be written, no core dump. **Namespaces** (Linux): no network device. **seccomp** (Linux with
libseccomp): of the system's some 350 calls those that decoding needs, so no file can be opened, no connection made,
no program or process started and no code be loaded. What is forbidden fails as "not permitted".

:func:`enclose` is a wider cage for what is code itself, a pickle: it may read, compute and answer on descriptors that
are open already, but write no file, start no program and reach no other machine or process.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from detection.engine.wire import Bounds

try:
    import pyseccomp
except (ImportError, RuntimeError, TypeError):  # not Linux; libseccomp or even the C library cannot be found
    pyseccomp = None

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_CLONE_THREAD: Final = 0x00010000
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_PROT_EXEC: Final = 4
_OPEN_FILES: Final = 16  # its three standard streams, the file as often as FFmpeg wants it, the way back

# What may be asked of a descriptor. Not to send a signal when something arrives: the system would send it, to any
# process of our user.
_OF_DESCRIPTORS: Final = (fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL)

# What reading one open file, computing in threads and answering takes. Found by running the tests under strace.
_CALLS: Final = (
    *("read", "readv", "pread64", "lseek", "fstat", "newfstatat", "close", "dup"),  # the file; fcntl: see below
    *("write", "writev", "sendto", "recvfrom"),  # the answer
    *("brk", "munmap", "mremap", "madvise"),  # memory; mmap and mprotect: see below
    *("futex", "set_robust_list", "rseq", "sched_yield", "sched_getaffinity", "gettid", "getpid"),  # threads
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
    *("clock_gettime", "gettimeofday", "clock_nanosleep", "nanosleep", "getrandom"),
    *("exit", "exit_group"),
)

# What running somebody's code must not do. Reading files cannot be forbidden here: Python and its libraries load
# themselves from them while they work.
_NOT_TO_CODE: Final = (
    *("execve", "execveat", "fork", "vfork"),
    *("socket", "socketpair", "connect", "bind", "sendmsg", "sendmmsg"),
    *("kill", "tkill", "tgkill", "pidfd_open", "pidfd_send_signal", "ptrace", "process_vm_readv", "process_vm_writev"),
    *("rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_getfd", "process_madvise", "migrate_pages", "move_pages"),
    *("setpriority", "ioprio_set", "sched_setscheduler", "sched_setparam", "sched_setattr", "sched_setaffinity"),
    *("creat", "openat2", "open_by_handle_at", "truncate", "ftruncate", "rename", "renameat", "renameat2", "link"),
    *("linkat", "symlink", "symlinkat", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "mknod", "mknodat"),
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "setxattr", "lsetxattr"),
    *("fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "utime", "utimes", "futimesat", "utimensat"),
    *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "bpf", "userfaultfd", "perf_event_open"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key", "request_key", "shmget", "shmat"),
    *("msgget", "semget", "mq_open", "mq_unlink"),
)
# Of two calls that it needs: to have the system send signals, and to type into the terminal that it was started from.
_SIGNALLING: Final = (8, 10, 15)  # fcntl: F_SETOWN, F_SETSIG, F_SETOWN_EX; Python does not name them all
_TYPING: Final = (0x5412, 0x541C, 0x8901, 0x8902)  # ioctl: TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP
_COMMAND: Final = 0xFFFFFFFF  # the system looks at these bits of a command and no others


class Confinement:
    """Made once by a process that then forks: what takes time is done before the fork.

    ``lacking`` says in words what this platform does not have and nothing else here makes up for.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._filter = _allow_list() if pyseccomp is not None else None
        offline = self._leave_network()
        if self._filter is not None and not self._can_be_entered():
            self._filter = None
        self.lacking: list[str] = []
        if self._filter is None:
            self.lacking += ["seccomp"] if offline else ["seccomp", "network namespace"]

    def _leave_network(self) -> bool:
        # Needs a user namespace first; containers often forbid both, and seccomp alone must do.
        unshare = getattr(self._libc, "unshare", None)
        return unshare is not None and unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0

    def _can_be_entered(self) -> bool:
        """Try it in a fork: a service manager or a container may forbid the call, or threads be out of reach."""
        trial = os.fork()
        if trial:
            return os.waitpid(trial, 0)[1] == 0
        try:
            self.enter(Bounds())
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
            os._exit(0)
        finally:
            os._exit(1)

    def enter(self, bounds: Bounds) -> None:
        """Confine this process for good. Called in a fork that has one thread."""
        with suppress(OSError):  # Linux; a system that runs out of memory shall take this process before a worker
            Path("/proc/self/oom_score_adj").write_text("1000")
        _limit(resource.RLIMIT_AS, bounds.memory)
        _limit(resource.RLIMIT_CPU, bounds.seconds, grace=1)  # SIGXCPU, and who ignores that is killed
        _limit(resource.RLIMIT_FSIZE, 0)
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
        if self._filter is not None:
            self._filter.load()  # also gives up new privileges for ever

    def die_with_parent(self, parent: int) -> None:
        """Have the system kill this process as soon as ``parent``, which forked it, has ended (Linux)."""
        if sys.platform == "linux":
            self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before it could be asked for
            os._exit(0)


def enclose(bounds: Bounds) -> None:
    """Put this process, with all threads that it has, into the wider cage for good.

    Raises:
        OSError: this platform has none; nothing that needs one must be opened then.
    """
    if pyseccomp is None:
        raise OSError(errno.ENOSYS, "there is no seccomp here to confine it with")
    _limit(resource.RLIMIT_AS, bounds.memory)
    _limit(resource.RLIMIT_CPU, bounds.seconds, grace=1)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _deny_list().load()


def _deny_list() -> Any:
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    rules.set_attr(pyseccomp.Attr.CTL_TSYNC, 1)  # numpy has started threads already, which code may ask to work for it
    refuse = pyseccomp.ERRNO(errno.EPERM)
    for name in _NOT_TO_CODE:
        if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) >= 0:
            rules.add_rule(refuse, name)
    for name, flags in (("open", 1), ("openat", 2)):
        for forbidden in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC):
            rules.add_rule(refuse, name, pyseccomp.Arg(flags, pyseccomp.MASKED_EQ, forbidden, forbidden))
    for name, commands in (("fcntl", _SIGNALLING), ("ioctl", _TYPING)):
        for command in commands:
            rules.add_rule(refuse, name, pyseccomp.Arg(1, pyseccomp.MASKED_EQ, _COMMAND, command))
    rules.add_rule(refuse, "prlimit64", pyseccomp.Arg(0, pyseccomp.NE, 0))  # limits of other processes
    rules.add_rule(refuse, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE_THREAD, 0))  # threads, no processes
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    return rules


def _limit(which: int, most: int, *, grace: int = 0) -> None:
    _, hard = resource.getrlimit(which)
    unlimited = hard == resource.RLIM_INFINITY
    # macOS has some of these in name only and refuses to set them.
    with suppress(ValueError, OSError):
        resource.setrlimit(which, (most if unlimited else min(most, hard), most + grace if unlimited else hard))


def _allow_list() -> Any:
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for name in _CALLS:
        if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) != -1:  # some are not there on every processor
            rules.add_rule(pyseccomp.ALLOW, name)
    for command in _OF_DESCRIPTORS:
        rules.add_rule(pyseccomp.ALLOW, "fcntl", pyseccomp.Arg(1, pyseccomp.EQ, command))
    no_code = pyseccomp.Arg(2, pyseccomp.MASKED_EQ, _PROT_EXEC, 0)
    for name in ("mmap", "mprotect"):
        rules.add_rule(pyseccomp.ALLOW, name, no_code)
    # Threads, no processes. What clone3 is asked for cannot be seen, so the C library shall use clone.
    rules.add_rule(pyseccomp.ALLOW, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE_THREAD, _CLONE_THREAD))
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    rules.add_rule(pyseccomp.ALLOW, "prctl", pyseccomp.Arg(0, pyseccomp.EQ, _PR_SET_NAME))
    return rules
