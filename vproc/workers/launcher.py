"""Confine this process and become another program: ``python -I -S launcher.py SPEC PROGRAM ARGUMENT…``.

A script of the standard library alone, run by its path: the daemon never imports it, and it imports nothing of vproc. Each
child pays for what is imported here, so it is little: ``json`` and ``signal`` alone would double the 11 ms that it takes. What
is to be done is decided by `workers.confinement`, which writes SPEC (marshal, in hex: the same Python reads it); here it is
only carried out, in the order in which each step still may. A step that fails ends the process before the program starts: exit
code 126 and one line on standard error, ``vproc-launcher NONCE STEP: REASON``. The program cannot forge that line, for it
never learns the nonce.

SPEC: ``nonce``, ``parent`` (the pid that must still be our parent), ``cwd``, ``rlimits`` ([[resource, soft, hard]]),
``drop_capabilities``, ``no_new_privileges`` (booleans), ``landlock`` (null or ``handled``: the attribute's 64-bit words,
``rules``: [[path, access]]), ``seccomp`` (null or ``program``: the filter in hex, ``own_pid``: the instructions whose
operand is our pid).
"""

from __future__ import annotations

import ctypes
import marshal
import os
import resource
import stat
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # each child would pay the 3 ms that this import takes
    from typing import Any

EXIT_REFUSED = 126

# The same on every architecture.
_SIGKILL, _SIGNALS, _SIG_SETMASK = 9, range(1, 65), 2
_SIGSET_BYTES = 128
_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64
# Landlock's numbers are the same on every architecture.
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_LANDLOCK_RULE_PATH_BENEATH = 1
# EXECUTE, WRITE_FILE, READ_FILE, TRUNCATE, IOCTL_DEV: the only rights that a rule on a file may give.
_LANDLOCK_FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS = 1
_IOPRIO_BEST_EFFORT_LOWEST = 2 << 13 | 7
_NICE = 10
_OOM_SCORE_ADJ = b"900"

_libc = ctypes.CDLL(None, use_errno=True)


class _Filter(ctypes.Structure):
    """The kernel's ``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _prctl(option: int, *arguments: int) -> int:
    words = (*arguments, 0, 0, 0, 0)[:4]
    return _checked(_libc.prctl(option, *(ctypes.c_ulong(word) for word in words)))


def _syscall(number: int, *arguments: Any) -> int:
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments))


def _die_with_parent(spec: dict[str, Any]) -> None:
    """Be killed when the daemon dies, also when it died before this line."""
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != spec["parent"]:
        raise ProcessLookupError("the daemon is gone")


def _start_clean(spec: dict[str, Any]) -> None:
    """No descriptor above 2, the job's directory, and every signal at its default: Python ignores SIGXFSZ, and what is ignored
    stays so through exec."""
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    os.chdir(spec["cwd"])
    os.umask(0o077)
    for number in _SIGNALS:  # the few that nobody may change say so, and are at their default
        _libc.signal(number, None)
    _checked(_libc.sigprocmask(_SIG_SETMASK, bytes(_SIGSET_BYTES), None))


def _step_back(_: dict[str, Any]) -> None:
    """Last for CPU and disk, first for the out-of-memory killer. As far as it may; none of it is a barrier."""
    try:
        with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:  # noqa: PTH123 - pathlib costs 10 ms
            file.write(_OOM_SCORE_ADJ)
    except OSError:
        pass
    if os.getpriority(os.PRIO_PROCESS, 0) < _NICE:
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    if number := _IOPRIO_SET.get(os.uname().machine):
        _libc.syscall(ctypes.c_long(number), _IOPRIO_WHO_PROCESS, 0, _IOPRIO_BEST_EFFORT_LOWEST)


def _limit(spec: dict[str, Any]) -> None:
    """Set the rlimits, no higher than a hard limit that stands already."""
    for number, soft, hard in spec["rlimits"]:
        ceiling = resource.getrlimit(number)[1]
        bound = hard if ceiling == resource.RLIM_INFINITY else min(hard, ceiling)
        resource.setrlimit(number, (min(soft, bound), bound))


def _drop_capabilities(spec: dict[str, Any]) -> None:
    """Give every capability up, so that root too is nobody in particular. Root would get those of the bounding set back at exec:
    it is emptied where that is allowed, and where it is not, no-new-privileges holds it."""
    if not spec["drop_capabilities"]:
        return
    for number in range(_CAPABILITIES):
        try:
            _prctl(_PR_CAPBSET_DROP, number)
        except OSError:
            break
    _libc.prctl(_PR_CAP_AMBIENT, *(ctypes.c_ulong(word) for word in (_PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)))
    header, held = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), ctypes.create_string_buffer(24)
    _checked(_libc.capget(header, held))
    if any(held.raw):  # a service that has none may be forbidden the call itself
        _checked(_libc.capset(header, bytes(24)))


def _forbid_new_privileges(spec: dict[str, Any]) -> None:
    if spec["no_new_privileges"]:
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _restrict_files(spec: dict[str, Any]) -> None:
    """Landlock: what no rule allows is refused, to root as well. A path that this machine has not is passed over."""
    landlock = spec["landlock"]
    if landlock is None:
        return
    attribute = struct.pack(f"={len(landlock['handled'])}Q", *landlock["handled"])
    ruleset = _syscall(_LANDLOCK_CREATE_RULESET, attribute, ctypes.c_size_t(len(attribute)), 0)
    for path, access in landlock["rules"]:
        try:
            target = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        allowed = access if stat.S_ISDIR(os.fstat(target).st_mode) else access & _LANDLOCK_FILE_RIGHTS
        rule = struct.pack("=Qi", allowed, target)
        _syscall(_LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_RULE_PATH_BENEATH, rule, 0)
        os.close(target)
    _syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _filter_system_calls(spec: dict[str, Any]) -> None:
    seccomp = spec["seccomp"]
    if seccomp is None:
        return
    program = bytearray.fromhex(seccomp["program"])
    for index in seccomp["own_pid"]:
        struct.pack_into("=I", program, index * 8 + 4, os.getpid())
    loaded = _Filter(len(program) // 8, bytes(program))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(loaded))


_STEPS = (
    ("parent", _die_with_parent),
    ("start", _start_clean),
    ("priority", _step_back),
    ("rlimits", _limit),
    ("capabilities", _drop_capabilities),
    ("no_new_privileges", _forbid_new_privileges),
    ("landlock", _restrict_files),
    ("seccomp", _filter_system_calls),
)


def main(arguments: list[str]) -> None:
    """Carry out each step, then become the program. Does not return."""
    nonce, step = "", "spec"
    try:
        spec = marshal.loads(bytes.fromhex(arguments[0]))  # noqa: S302 - the daemon wrote it
        nonce = spec["nonce"]
        for step, carry_out in _STEPS:  # noqa: B007 - the failed step is named below
            carry_out(spec)
        step = "exec"
        os.execve(arguments[1], arguments[1:], dict(os.environ))  # noqa: S606 - to start it is what this script is for
    except BaseException as error:  # noqa: BLE001 - whatever it was, the program must not start
        os.write(2, f"vproc-launcher {nonce} {step}: {error!r}\n".encode(errors="replace"))
    os._exit(EXIT_REFUSED)


if __name__ == "__main__":
    main(sys.argv[1:])
