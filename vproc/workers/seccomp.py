"""The system calls that a confined program may not make, as a classic BPF program for seccomp. Pure: nothing is loaded here
(`workers.launcher` does that).

What is refused answers EPERM, so that a library that tries goes on without; a call that the table does not know, being newer,
and ``clone3``, whose flags a filter cannot read, answer ENOSYS, at which libc falls back. Only a call by another
architecture's table, for which these numbers mean something else, kills.

Not refused: ``execve``. The filter is in force before the program starts, which takes one, and a filter cannot read a path.
Landlock bounds it to installed programs, which inherit this filter and cannot fork.

Numbers: Linux's ``arch/x86/entry/syscalls/syscall_64.tbl`` and ``include/uapi/asm-generic/unistd.h``.
"""

from __future__ import annotations

import errno
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass

ALLOW = 0x7FFF_0000
KILL = 0x8000_0000
DENY = 0x0005_0000 | errno.EPERM
UNKNOWN = 0x0005_0000 | errno.ENOSYS

_AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
_X32_BIT = 0x4000_0000
_NEWEST_KNOWN = 456  # futex_requeue, Linux 6.7

_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGUMENTS = 0, 4, 16

_CLONE_THREAD = 0x0001_0000
_CLONE_NEW_ANY = 0x7E02_0000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_PR_SET_PDEATHSIG = 1
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C

_NETWORK = {
    "socket": (41, 198), "socketpair": (53, 199), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242), "connect": (42, 203), "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    "recvfrom": (45, 207), "recvmsg": (47, 212), "recvmmsg": (299, 243),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
}  # fmt: skip
_OTHER_PROCESSES = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "inotify_init": (253, None), "inotify_init1": (294, 26), "inotify_add_watch": (254, 27),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
}  # fmt: skip
# Nothing that outlives its process group, or holds memory that RLIMIT_AS does not count.
_ESCAPES = {
    "fork": (57, None), "vfork": (58, None), "setsid": (112, 157), "setpgid": (109, 154), "execveat": (322, 281),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190),
    "mq_open": (240, 180), "personality": (135, 92), "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51),
    "pivot_root": (155, 41), "mount": (165, 40), "umount2": (166, 39), "mount_setattr": (442, 442), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
}  # fmt: skip
# What Landlock does not rule, and a file's owner may do to it anywhere.
_FILE_ATTRIBUTES = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
}  # fmt: skip
_KERNEL = {
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "clock_adjtime": (305, 266), "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    "acct": (163, 89), "syslog": (103, 116), "vhangup": (153, 58), "lookup_dcookie": (212, 18), "iopl": (172, None),
    "ioperm": (173, None), "modify_ldt": (154, None), "uselib": (134, None),
}  # fmt: skip
DENIED: Mapping[str, tuple[int | None, int | None]] = {
    **_NETWORK,
    **_OTHER_PROCESSES,
    **_ESCAPES,
    **_FILE_ATTRIBUTES,
    **_KERNEL,
}
"""Name → number on x86_64 and on aarch64; None where there is no such call."""

# Calls that are needed, but not with every argument.
CLONE, CLONE3, PRCTL, IOCTL = (56, 220), (435, 435), (157, 167), (16, 29)
KILL_OWN, TGKILL_OWN, PRLIMIT_OWN, AFFINITY_OWN = (62, 129), (234, 131), (302, 261), (203, 122)

_LINKS_AND_NODES = ("symlink", "symlinkat", "link", "linkat", "mknod", "mknodat")
_OF_A_SHELL = frozenset({"fork", "vfork", "setsid", "setpgid", "execveat"})
_NAMESPACES = tuple(1 << bit for bit in range(32) if _CLONE_NEW_ANY >> bit & 1)

_Instruction = tuple[int, int, int, int | None]
_OWN_PID: _Instruction = (_IF_EQUAL, 0, 1, None)  # None: filled in by the launcher, which alone knows the pid


@dataclass(frozen=True, slots=True)
class Filter:
    """A program of ``struct sock_filter``; ``own_pid`` are the instructions whose operand must become the process's pid."""

    program: bytes
    own_pid: tuple[int, ...]


def filter_for(machine: str) -> Filter | None:
    """The filter for what ``uname -m`` says; None for an architecture whose numbers are not known here."""
    arch = _AUDIT_ARCH.get(machine)
    if arch is None:
        return None
    column = 0 if machine == "x86_64" else 1
    code: list[_Instruction] = [
        (_LOAD, 0, 0, _OFFSET_ARCH),
        (_IF_EQUAL, 1, 0, arch),
        _answer(KILL),
        (_LOAD, 0, 0, _OFFSET_NUMBER),
        (_IF_AT_LEAST, 0, 1, _X32_BIT),
        _answer(DENY),
        (_IF_AT_LEAST, 0, 1, _NEWEST_KNOWN + 1),
        _answer(UNKNOWN),
        *_rule(CLONE3[column], _answer(UNKNOWN)),
        *_rule(
            CLONE[column],
            _argument(0),
            (_IF_ANY_BIT, 0, 1, _CLONE_NEW_ANY),
            _answer(DENY),
            (_IF_ANY_BIT, 1, 0, _CLONE_THREAD),
            _answer(DENY),
        ),
        *_rule(PRCTL[column], _argument(0), (_IF_EQUAL, 0, 1, _PR_SET_PDEATHSIG), _answer(DENY)),
        *_rule(
            IOCTL[column],
            _argument(1),
            (_IF_EQUAL, 1, 0, _TIOCSTI),
            (_IF_EQUAL, 0, 1, _TIOCLINUX),
            _answer(DENY),
        ),
    ]
    for only_own in (KILL_OWN, TGKILL_OWN):
        code += _rule(only_own[column], _argument(0), _OWN_PID, _answer(ALLOW), _answer(DENY))
    for own_or_zero in (PRLIMIT_OWN, AFFINITY_OWN):
        code += _rule(
            own_or_zero[column], _argument(0), (_IF_EQUAL, 0, 1, 0), _answer(ALLOW), _OWN_PID, _answer(ALLOW), _answer(DENY)
        )
    for numbers in DENIED.values():
        if (number := numbers[column]) is not None:
            code += _rule(number, _answer(DENY), otherwise=None)
    code.append(_answer(ALLOW))
    own = tuple(index for index, (*_, operand) in enumerate(code) if operand is None)
    program = b"".join(struct.pack("=HBBI", operation, yes, no, operand or 0) for operation, yes, no, operand in code)
    return Filter(program, own)


def container_profile() -> str:
    """The same refusals as an engine's profile (JSON), for children in containers. What a shell takes is allowed, since one
    guards them; and links, pipes and devices are refused, for which Landlock gives no right outside of containers: the daemon
    opens by name what stands in a job's directory."""
    refused = sorted({*DENIED, *_LINKS_AND_NODES} - _OF_A_SHELL)
    rules: list[dict[str, object]] = [{"names": refused, "action": "SCMP_ACT_ERRNO"}]
    rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS})
    for request in (_TIOCSTI, _TIOCLINUX):
        equal = {"index": 1, "value": request, "op": "SCMP_CMP_EQ"}
        rules.append({"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": [equal]})
    for flag in _NAMESPACES:
        bit = {"index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"}
        rules.append({"names": ["clone"], "action": "SCMP_ACT_ERRNO", "args": [bit]})
    return json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}, separators=(",", ":"))


def _answer(action: int) -> _Instruction:
    return (_RETURN, 0, 0, action)


def _argument(index: int) -> _Instruction:
    """Load the low half of an argument: both architectures are little-endian, and what is compared here has 32 bits."""
    return (_LOAD, 0, 0, _OFFSET_ARGUMENTS + 8 * index)


def _rule(number: int, *body: _Instruction, otherwise: int | None = ALLOW) -> list[_Instruction]:
    """The body for one call; where it comes to no answer, ``otherwise`` (None: it always does)."""
    whole = body if otherwise is None else (*body, _answer(otherwise))
    return [(_IF_EQUAL, 0, len(whole), number), *whole]
