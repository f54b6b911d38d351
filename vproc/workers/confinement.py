"""What a confined child may do, as the command line that starts it: layers, Landlock's rules, rlimits. Pure but for looking at
the interpreter's own place; `workers.launcher` carries it out, `workers.sandbox` finds what the kernel gives.
"""

from __future__ import annotations

import marshal
import platform
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from vproc.errors import UnavailableError
from vproc.ports import ProcessLimits
from vproc.workers.seccomp import filter_for

_LAUNCHER = Path(__file__).with_name("launcher.py")
CPU_GRACE_S = 5
"""Between SIGXCPU, at which a child may still say something, and SIGKILL."""
OPEN_FILES = 256
EXIT_REFUSED = 126
"""`launcher.EXIT_REFUSED`, which cannot be imported: it is a script of another process."""

_PATH = "/usr/local/bin:/usr/bin:/bin"

# Landlock's rights by the ABI that brought them (Documentation/userspace-api/landlock.rst).
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(6))
_MAKE_DIR, _MAKE_REG = 1 << 7, 1 << 8
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FILE_RIGHTS_BITS = {1: 13, 2: 14, 3: 15, 5: 16}
_NET_RIGHTS = 0b11  # bind and connect of TCP, ABI 4
_SCOPES = 0b11  # abstract unix sockets and signals, ABI 6
_NET_ABI, _SCOPE_ABI = 4, 6

_READ = _READ_FILE | _READ_DIR
# No symbolic link, FIFO, socket or device may be made in the job's directory: the daemon opens by name what stands there.
_OWN = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
_SYSTEM_RULES = (
    *((path, _READ | _EXECUTE) for path in ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/nix/store", "/gnu/store")),
    *((path, _READ) for path in ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d")),
    # libc counts the processors there, x265 the memory nodes, SVT-AV1 the sockets.
    *((path, _READ) for path in ("/sys/devices/system/cpu", "/sys/devices/system/node", "/proc/cpuinfo", "/proc/meminfo")),
    *((path, _READ) for path in ("/dev/urandom", "/dev/random", "/dev/zero")),
    ("/dev/null", _READ | _WRITE_FILE),
)
# Where drivers look up what a device node belongs to.
_DEVICE_PLACES = ("/sys/class/drm", "/sys/dev/char", "/sys/bus/pci/devices", "/proc/driver/nvidia", "/dev/dri")


class Layer(StrEnum):
    """A layer of the confinement: the label of ``vproc_sandbox_enabled``, and the launcher's name of the step."""

    RLIMITS = "rlimits"
    CAPABILITIES = "capabilities"
    NO_NEW_PRIVILEGES = "no_new_privileges"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


class LayerRefusedError(UnavailableError):
    """The launcher could not carry a step out and started nothing. ``step`` is a `Layer` or one of its other steps."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(f"the launcher stopped at {step}: {reason}")
        self.step = step
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Confinement:
    """How children are confined. Each layer named is required: a child that cannot have it is not started.

    ``launcher`` is the command line that runs `workers.launcher`; ``readable`` are paths that children may read beside the
    system's programs and libraries, ``devices`` the nodes that they may drive: none but where a profile asks for a hardware
    encoder.
    """

    layers: frozenset[Layer]
    landlock_abi: int = 0
    launcher: tuple[str, ...] = (sys.executable, "-I", "-S", str(_LAUNCHER))
    readable: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()

    def command(self, argv: Sequence[str], *, cwd: Path, limits: ProcessLimits, parent: int, nonce: str) -> list[str]:
        """The command line that confines itself and becomes ``argv``, whose program is an absolute path without links.

        ``cwd`` likewise absolute; ``parent`` is the pid at whose death the child dies. The nonce marks the launcher's own words.
        """
        seccomp = filter_for(platform.machine()) if Layer.SECCOMP in self.layers else None
        spec = {
            "nonce": nonce,
            "parent": parent,
            "cwd": str(cwd),
            "rlimits": rlimits(limits),
            "drop_capabilities": Layer.CAPABILITIES in self.layers,
            "no_new_privileges": Layer.NO_NEW_PRIVILEGES in self.layers,
            "landlock": self._landlock(Path(argv[0]), cwd) if Layer.LANDLOCK in self.layers else None,
            "seccomp": seccomp and {"program": seccomp.program.hex(), "own_pid": seccomp.own_pid},
        }
        return [*self.launcher, marshal.dumps(spec).hex(), *argv]

    def _landlock(self, program: Path, cwd: Path) -> dict[str, object]:
        handled = handled_rights(self.landlock_abi)
        programs = ((path, _READ | _EXECUTE) for path in (*self.readable, *program_paths(program)))
        rules = (*_SYSTEM_RULES, *programs, *self._device_rules(), (str(cwd), _OWN))
        return {"handled": handled, "rules": [(path, access & handled[0]) for path, access in rules]}

    def _device_rules(self) -> list[tuple[str, int]]:
        if not self.devices:
            return []
        return [*((path, _READ) for path in _DEVICE_PLACES), *((node, _READ | _WRITE_FILE | _IOCTL_DEV) for node in self.devices)]


def environment(cwd: Path) -> dict[str, str]:
    """All of a child's environment."""
    return {"PATH": _PATH, "LANG": "C.UTF-8", "HOME": str(cwd), "TMPDIR": str(cwd)}


def rlimits(limits: ProcessLimits) -> list[tuple[int, int, int]]:
    """(resource, soft, hard). Never RLIMIT_NPROC: it counts all processes of the user, the daemon's among them."""
    data = [] if limits.data_bytes is None else [(resource.RLIMIT_DATA, limits.data_bytes, limits.data_bytes)]
    return [
        *data,
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES),
        (resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + CPU_GRACE_S),
        (resource.RLIMIT_FSIZE, limits.output_bytes, limits.output_bytes),
        (resource.RLIMIT_AS, limits.memory_bytes, limits.memory_bytes),
    ]


def handled_rights(abi: int) -> list[int]:
    """The words of ``struct landlock_ruleset_attr`` that this ABI knows: file rights, network rights, scopes, all of each."""
    bits = next(bits for known, bits in sorted(_FILE_RIGHTS_BITS.items(), reverse=True) if abi >= known)
    words = [(1 << bits) - 1]
    if abi >= _NET_ABI:
        words.append(_NET_RIGHTS)
    if abi >= _SCOPE_ABI:
        words.append(_SCOPES)
    return words


def program_paths(program: Path) -> tuple[str, ...]:
    """What a program outside the system's directories needs: itself, and the ``lib`` beside its ``bin``. Never its whole
    directory, which may be somebody's home."""
    beside = (str(program.parent.parent / "lib"),) if program.parent.name == "bin" else ()
    return (str(program), *beside)


def raise_if_refused(returncode: int, stderr: str, nonce: str) -> None:
    """Raise `LayerRefusedError` where the launcher, not the program, ended the process."""
    head = f"vproc-launcher {nonce} "
    if returncode != EXIT_REFUSED or head not in stderr:
        return
    step, _, reason = stderr.partition(head)[2].partition(": ")
    raise LayerRefusedError(step, reason.strip())
