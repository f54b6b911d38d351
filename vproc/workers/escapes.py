"""What a hostile program would try, tried: run inside the confinement by `workers.sandbox`, as ``python -I -S -c SOURCE …``.

A script of the standard library alone. For each attempt two lines of JSON on standard output: ``[name]`` before it and ``[name,
refused, reason]`` behind it, so that it is known which one the kernel answered with the end of the process. None of
them harms where it is not refused: mounts of no file system, signals of number 0, a seize that ends with the process, and towards
the metadata address a datagram socket that is connected and sends nothing.

Arguments: the pid of the daemon, a directory outside the job's, the memory limit and the file size limit in bytes, and how many
attempts to leave out, as those before have been tried.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial

_X86_64 = os.uname().machine == "x86_64"
_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_CAPBSET_READ, _PR_GET_NO_NEW_PRIVS = 1, 23, 39
_PTRACE_SEIZE = 0x4206
_TIOCSTI = 0x5412
_X32_GETPID = 0x4000_0000 + 39
_CALLS = {  # name: numbers on x86_64 and aarch64, arguments that do nothing where the call is allowed
    "io_uring_setup": (425, 425, 0, None),
    "process_vm_readv": (310, 270, os.getppid(), None, 0, None, 0, 0),
    "pidfd_open": (434, 434, os.getppid(), 0),
    "bpf": (321, 280, 0, None, 0),
    "keyctl": (250, 219, 0, -3, 0),
    "userfaultfd": (323, 282, 1),
    "perf_event_open": (298, 241, None, 0, -1, -1, 0),
    "kexec_load": (246, 104, 0, 99, None, 0),
    "init_module": (175, 105, None, 0, None),
    "open_by_handle_at": (304, 265, -100, None, 0),
    "personality": (135, 92, 0xFFFF_FFFF),
    "memfd_create": (319, 279, b"x", 0),
    "shmget": (29, 194, 0, 0, 0),
    "pivot_root": (155, 41, None, None),
    "clone3": (435, 435, None, 0),
    "unshare_network": (272, 97, 0x4000_0000),
    "unshare_user": (272, 97, 0x1000_0000),
}
_REFUSALS = {errno.EPERM, errno.EACCES, errno.ENOSYS}


class Allowed(Exception):  # noqa: N818 - it is the answer, not an error
    """The attempt got through; says how far."""


def _call(function: Callable[..., int], *arguments: object) -> None:
    """Raise the call's refusal. Any other error means that it was let in and only its arguments were wrong."""
    ctypes.set_errno(0)
    if function(*arguments) < 0 and (number := ctypes.get_errno()) in _REFUSALS:
        raise OSError(number, os.strerror(number))


def _system_call(name: str) -> None:
    x86_64, aarch64, *arguments = _CALLS[name]
    _call(_libc.syscall, _word(x86_64 if _X86_64 else aarch64), *map(_word, arguments))


def _socketpair() -> None:
    for end in socket.socketpair():
        end.close()


def _make_link() -> None:
    os.symlink("/etc/passwd", "link")  # noqa: PTH211
    os.unlink("link")  # noqa: PTH108


def _make_fifo() -> None:
    os.mkfifo("fifo")
    os.unlink("fifo")  # noqa: PTH108


def _word(value: object) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value


def _socket(family: str) -> None:
    kind = socket.SOCK_DGRAM if family == "AF_NETLINK" else socket.SOCK_STREAM
    socket.socket(getattr(socket, family), socket.SOCK_RAW if family == "AF_PACKET" else kind).close()


def _connect(address: str, kind: socket.SocketKind) -> None:
    with socket.socket(type=kind) as connection:
        connection.settimeout(0.2)
        try:
            connection.connect((address, 9))
        except PermissionError:
            raise
        except OSError as error:
            raise Allowed(f"tried: {error}") from None


def _read(path: str) -> None:
    os.close(os.open(path, os.O_RDONLY))


def _write(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    os.unlink(path)  # noqa: PTH108


def _fork() -> None:
    if not (pid := os.fork()):
        os._exit(0)
    os.waitpid(pid, 0)


def _eat_memory(limit: int) -> None:
    try:
        mmap.mmap(-1, limit).close()
    except OSError as error:
        raise PermissionError(error.errno, "no more memory") from None


def _eat_disk(limit: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open("large", "wb", buffering=0) as file:  # noqa: PTH123
        file.seek(limit)
        try:
            file.write(b"x")
        except OSError as error:
            raise PermissionError(error.errno, "the file may not grow") from None
        finally:
            os.unlink("large")  # noqa: PTH108


def _raise_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard + 1 if hard >= 0 else hard))
    if hard < 0:
        raise Allowed("there is no limit")


def _have_capabilities() -> None:
    effective = (ctypes.c_uint32 * 6)()
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _libc.capget(header, effective)
    if not any(effective):
        raise PermissionError("no capability in any set")


def _gain_privileges() -> None:
    if _libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1:
        raise PermissionError("no new privileges")


def _inherited() -> None:
    extra = sorted(set(os.environ) - {"PATH", "LANG", "HOME", "TMPDIR", "LC_CTYPE"})
    for fd in range(3, 64):
        try:
            os.fstat(fd)
        except OSError:
            continue
        extra.append(f"descriptor {fd}")
    if not extra:
        raise PermissionError("clean")
    raise Allowed(", ".join(extra))


def _run_own_file() -> None:
    """Become a program of the job's directory, which would say so in our stead."""
    with os.fdopen(os.open("escaped", os.O_CREAT | os.O_WRONLY, 0o700), "w") as file:
        file.write('#!/bin/sh\necho \'["exec_own_file", false, "ran"]\'\n')
    os.execv("./escaped", ["escaped"])  # noqa: S606


def attempts(parent: int, outside: str, memory_bytes: int, file_bytes: int) -> dict[str, Callable[[], object]]:
    """Every attempt by its name, those that change this process last."""
    here: dict[str, Callable[[], object]] = {
        **{family.lower(): partial(_socket, family) for family in _FAMILIES},
        "socketpair": _socketpair,
        "connect_metadata": lambda: _connect("169.254.169.254", socket.SOCK_DGRAM),
        "connect_loopback": lambda: _connect("127.0.0.1", socket.SOCK_STREAM),
        "read_passwd": lambda: _read("/etc/passwd"),
        "read_shadow": lambda: _read("/etc/shadow"),
        "read_parent_environ": lambda: _read(f"/proc/{parent}/environ"),
        "read_parent_memory": lambda: _read(f"/proc/{parent}/mem"),
        "read_parent_descriptors": lambda: os.listdir(f"/proc/{parent}/fd"),  # noqa: PTH208
        "read_parent_output": lambda: os.close(os.open(f"/proc/{parent}/fd/2", os.O_WRONLY)),
        "list_root": lambda: os.listdir("/"),  # noqa: PTH208
        "list_outside": lambda: os.listdir(outside),  # noqa: PTH208
        "write_outside": lambda: _write(f"{outside}/vproc-escape-{os.getpid()}"),
        "write_tmp": lambda: _write(f"/tmp/vproc-escape-{os.getpid()}"),  # noqa: S108
        "write_shm": lambda: _write(f"/dev/shm/vproc-escape-{os.getpid()}"),  # noqa: S108
        "chmod_outside": lambda: os.chmod(outside, os.stat(outside).st_mode & 0o7777),  # noqa: PTH101, PTH116
        "touch_outside": lambda: os.utime(outside),
        "make_link": _make_link,
        "make_fifo": _make_fifo,
        "signal_parent": lambda: os.kill(parent, 0),
        "limit_parent": lambda: resource.prlimit(parent, resource.RLIMIT_CORE),
        "nice_parent": lambda: os.setpriority(os.PRIO_PROCESS, parent, os.getpriority(os.PRIO_PROCESS, parent)),
        "trace_parent": lambda: _call(_libc.ptrace, ctypes.c_long(_PTRACE_SEIZE), ctypes.c_long(parent), None, None),
        "push_terminal": lambda: _call(_libc.ioctl, 0, ctypes.c_ulong(_TIOCSTI), b"x"),
        "outlive_parent": lambda: _call(_libc.prctl, _PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL)),
        "mount": lambda: _call(_libc.mount, None, b".", b"vproc-none", ctypes.c_ulong(0), None),
        "fork": _fork,
        "eat_memory": lambda: _eat_memory(memory_bytes),
        "eat_disk": lambda: _eat_disk(file_bytes),
        "raise_limit": _raise_limit,
        "capabilities": _have_capabilities,
        "new_privileges": _gain_privileges,
        "inherited": _inherited,
        **{name: partial(_system_call, name) for name in _CALLS},
        "exec_own_file": _run_own_file,
    }
    if _X86_64:
        here = {"x32_call": lambda: _call(_libc.syscall, ctypes.c_long(_X32_GETPID)), **here}
    return here


_FAMILIES = ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_UNIX", "AF_VSOCK")


def main(arguments: list[str]) -> None:
    """Try everything and tell."""
    parent, outside, memory_bytes, file_bytes, tried = arguments
    everything = attempts(int(parent), outside, int(memory_bytes), int(file_bytes))
    for name, attempt in list(everything.items())[int(tried) :]:
        _tell([name])
        try:
            attempt()
        except Allowed as how:
            answer: tuple[str, bool, str] = (name, False, str(how))
        except (OSError, ValueError) as error:
            answer = (name, True, f"{type(error).__name__}: {error}")
        else:
            answer = (name, False, "allowed")
        _tell(answer)


def _tell(words: Sequence[object]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
