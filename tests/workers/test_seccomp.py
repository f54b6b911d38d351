from __future__ import annotations

import errno
import json
import struct

import pytest

from vproc.workers import seccomp
from vproc.workers.seccomp import ALLOW, DENIED, DENY, KILL, UNKNOWN, container_profile, filter_for

MACHINES = {"x86_64": (0xC000_003E, 0), "aarch64": (0xC000_00B7, 1)}
PID = 4321
ALLOWED = {  # without which no program starts, reads, writes, maps, waits or ends
    "read": (0, 63), "write": (1, 64), "openat": (257, 56), "mmap": (9, 222), "munmap": (11, 215), "futex": (202, 98),
    "execve": (59, 221), "exit_group": (231, 94), "fallocate": (285, 47), "renameat2": (316, 276), "rseq": (334, 293),
    "sched_getaffinity": (204, 123), "getrandom": (318, 278), "statx": (332, 291), "futex_requeue": (456, 456),
}  # fmt: skip


def verdict(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the kernel would answer: classic BPF, as far as the filter uses it, over ``struct seccomp_data``."""
    made = filter_for(machine)
    assert made is not None
    code = [list(instruction) for instruction in struct.iter_unpack("=HBBI", made.program)]
    for index in made.own_pid:
        code[index][3] = PID
    words = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=IIQ6Q", number, arch or MACHINES[machine][0], 0, *words)
    accumulator = at = 0
    while True:
        operation, yes, no, operand = code[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, operand)
            case 0x06:
                return operand
            case 0x15:
                at += yes if accumulator == operand else no
            case 0x35:
                at += yes if accumulator >= operand else no
            case 0x45:
                at += yes if accumulator & operand else no
            case other:
                raise AssertionError(f"not an instruction that the filter should hold: {other:#x}")


@pytest.mark.parametrize("machine", MACHINES)
def test_every_denied_call_is_refused_and_every_needed_one_allowed(machine: str) -> None:
    column = MACHINES[machine][1]
    refused = {name for name, numbers in DENIED.items() if (n := numbers[column]) is not None and verdict(machine, n) == DENY}
    assert refused == {name for name, numbers in DENIED.items() if numbers[column] is not None}
    assert {name for name, numbers in ALLOWED.items() if verdict(machine, numbers[column]) == ALLOW} == set(ALLOWED)


def test_no_way_to_the_same_end_was_forgotten() -> None:
    """Each group is all the calls that do one thing: to deny all but one of them denies nothing."""
    groups = (
        "socket socketpair bind listen accept accept4 connect sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg",
        "io_uring_setup io_uring_enter io_uring_register",
        "ptrace process_vm_readv process_vm_writev kcmp pidfd_open pidfd_getfd process_madvise",
        "pidfd_send_signal tkill rt_sigqueueinfo rt_tgsigqueueinfo",
        "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat",
        "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr",
        "fork vfork setsid setpgid execveat",
        "memfd_create memfd_secret shmget msgget semget mq_open",
        "unshare setns mount umount2 mount_setattr open_tree move_mount fsopen fsconfig fsmount fspick pivot_root chroot",
        "name_to_handle_at open_by_handle_at personality",
        "bpf perf_event_open userfaultfd keyctl add_key request_key",
        "kexec_load kexec_file_load init_module finit_module delete_module reboot",
    )
    assert {name for group in groups for name in group.split()} - DENIED.keys() == set()


@pytest.mark.parametrize("machine", MACHINES)
def test_no_number_stands_for_two_calls(machine: str) -> None:
    special = (seccomp.CLONE, seccomp.CLONE3, seccomp.PRCTL, seccomp.IOCTL, seccomp.KILL_OWN, seccomp.TGKILL_OWN,
               seccomp.PRLIMIT_OWN, seccomp.AFFINITY_OWN)  # fmt: skip
    column = MACHINES[machine][1]
    numbers = [entry[column] for entry in (*DENIED.values(), *special, *ALLOWED.values()) if entry[column] is not None]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_architecture_kill_and_unknown_ones_are_not_implemented(machine: str) -> None:
    assert verdict(machine, 0, arch=0x4000_0003) == KILL
    assert verdict(machine, 457) == UNKNOWN
    assert verdict(machine, 0x4000_0000 + 41) == DENY, "x32's socket"
    assert verdict(machine, 0xFFFF_FFFF) == DENY


THREAD = 0x003D_0F00  # what pthread_create passes


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        (seccomp.CLONE, (THREAD,), ALLOW),
        (seccomp.CLONE, (17,), DENY),  # fork
        (seccomp.CLONE, (0x4000 | 0x100 | 17,), DENY),  # vfork, posix_spawn
        (seccomp.CLONE, (THREAD | 0x1000_0000,), DENY),  # a user namespace
        (seccomp.CLONE, (0x4000_0000,), DENY),
        (seccomp.CLONE3, (), UNKNOWN),
        (seccomp.PRCTL, (1, 0), DENY),  # to outlive the daemon
        (seccomp.PRCTL, (15, 0), ALLOW),  # a thread's name
        (seccomp.IOCTL, (0, 0x5412), DENY),
        (seccomp.IOCTL, (0, 0xFFFF_FFFF_0000_5412), DENY),  # the kernel looks at the low half too
        (seccomp.IOCTL, (0, 0x541C), DENY),
        (seccomp.IOCTL, (0, 0x5401), ALLOW),
        (seccomp.KILL_OWN, (PID, 6), ALLOW),
        (seccomp.KILL_OWN, (PID - 1, 9), DENY),
        (seccomp.KILL_OWN, (0, 9), DENY),
        (seccomp.KILL_OWN, (0xFFFF_FFFF, 9), DENY),
        (seccomp.TGKILL_OWN, (PID, 9, 6), ALLOW),  # abort
        (seccomp.TGKILL_OWN, (1, 1, 9), DENY),
        (seccomp.PRLIMIT_OWN, (0, 7), ALLOW),
        (seccomp.PRLIMIT_OWN, (PID, 7), ALLOW),
        (seccomp.PRLIMIT_OWN, (PID - 1, 7), DENY),
        (seccomp.AFFINITY_OWN, (0,), ALLOW),
        (seccomp.AFFINITY_OWN, (1,), DENY),
    ],
)
def test_calls_that_depend_on_their_arguments(
    machine: str, call: tuple[int, int], arguments: tuple[int, ...], expected: int
) -> None:
    assert verdict(machine, call[MACHINES[machine][1]], *arguments) == expected


def test_an_architecture_without_a_table_has_no_filter() -> None:
    assert filter_for("riscv64") is None


def test_the_profile_for_containers_refuses_the_same_and_links() -> None:
    """But for what the guard's shell takes: to start a program, and to wait for it."""
    profile = json.loads(container_profile())
    assert profile["defaultAction"] == "SCMP_ACT_ALLOW"
    [refused, clone3, *ioctls_and_clones] = profile["syscalls"]
    ioctls, clones = ioctls_and_clones[:2], ioctls_and_clones[2:]
    assert [(rule["names"], rule["args"][0]["value"]) for rule in ioctls] == [(["ioctl"], 0x5412), (["ioctl"], 0x541C)]
    names = set(refused["names"])
    assert set(DENIED) - names == {"fork", "vfork", "setsid", "setpgid", "execveat"}
    assert names - set(DENIED) == {"symlink", "symlinkat", "link", "linkat", "mknod", "mknodat"}
    assert not names & {"execve", "clone", "wait4", "openat", "mkdir", "mkdirat", "rename", "renameat2"}
    assert (clone3["names"], clone3["errnoRet"]) == (["clone3"], errno.ENOSYS)
    flags = [rule["args"][0]["value"] for rule in clones]
    assert sum(flags) == 0x7E02_0000
    assert all(flag == rule["args"][0]["valueTwo"] and flag.bit_count() == 1 for flag, rule in zip(flags, clones, strict=True))
