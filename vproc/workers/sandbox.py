"""What the kernel gives to confine ffmpeg with, found by trying: a hostile program is run inside and tells what it could do.

How a child is confined is in `workers.confinement`; what is tried, in `workers.escapes`.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from anyio import CancelScope, to_thread

from vproc.errors import ConfigError, UnavailableError
from vproc.ports import ProcessLimits, ProcessResult
from vproc.settings import SandboxMode
from vproc.workers.confinement import Confinement, Layer, LayerRefusedError
from vproc.workers.runners import LocalRunner
from vproc.workers.seccomp import filter_for

_PR_SET_DUMPABLE = 4
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_CREATE_RULESET_VERSION = 1
_MIB = 1024**2
_LIMITS = ProcessLimits(wall_s=20, cpu_s=10, memory_bytes=512 * _MIB, output_bytes=_MIB, directory_bytes=64 * _MIB)
_MISSABLE = (Layer.CAPABILITIES, Layer.NO_NEW_PRIVILEGES, Layer.LANDLOCK, Layer.SECCOMP)
_LAST_ATTEMPT = "exec_own_file"


@dataclass(frozen=True, slots=True)
class Escape:
    """One attempt to get out of the confinement, and the kernel's answer."""

    name: str
    refused: bool
    reason: str


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """How this machine confines children. ``missing``: layers that it cannot give, with the reason; ``escapes``: what was tried
    from inside, nothing where the sandbox is off."""

    mode: SandboxMode
    confinement: Confinement
    missing: Mapping[Layer, str] = field(default_factory=dict)
    escapes: tuple[Escape, ...] = ()

    @property
    def level(self) -> str:
        """``full``, ``partial`` or ``off``, for ``/readyz`` and the log."""
        if self.mode is SandboxMode.OFF:
            return "off"
        return "partial" if self.missing or self.allowed else "full"

    @property
    def layers(self) -> dict[str, bool]:
        """Each layer, and whether it is in force."""
        return {layer.value: layer in self.confinement.layers for layer in Layer}

    @property
    def allowed(self) -> tuple[str, ...]:
        """The attempts that got through."""
        return tuple(escape.name for escape in self.escapes if not escape.refused)

    def describe(self) -> str:
        """One line for a person."""
        names = (
            f"Landlock (ABI {self.confinement.landlock_abi})" if layer is Layer.LANDLOCK else layer.replace("_", " ")
            for layer in Layer
            if layer in self.confinement.layers
        )
        parts = [f"{self.level}: {', '.join(names)}"]
        if self.missing:
            parts.append("without " + ", ".join(f"{layer} ({reason})" for layer, reason in self.missing.items()))
        if self.escapes:
            parts.append(f"{len(self.escapes) - len(self.allowed)} of {len(self.escapes)} escapes refused")
        if self.allowed:
            parts.append("allowed: " + ", ".join(self.allowed))
        return "; ".join(parts)


async def probe_sandbox(mode: SandboxMode, *, scratch_dir: Path | None = None) -> SandboxReport:
    """Find the layers that hold here and try to escape from them; a fifth of a second. ``scratch_dir`` is where jobs will work.

    Each child is afterwards required to have the layers that were found. Raises `ConfigError` under ``require`` where one is
    missing or an attempt got through, and `UnavailableError` where no child can be started at all.
    """
    if mode is SandboxMode.OFF:
        return SandboxReport(mode, Confinement(frozenset({Layer.RLIMITS})))
    abi = landlock_abi()
    missing: dict[Layer, str] = {}
    if abi < 1:
        missing[Layer.LANDLOCK] = "this kernel has none, or it is not enabled"
    if filter_for(platform.machine()) is None:
        missing[Layer.SECCOMP] = f"there is no filter for {platform.machine()}"
    while True:
        confinement = Confinement(frozenset(Layer) - missing.keys(), landlock_abi=abi)
        try:
            escapes = await try_escapes(confinement, scratch_dir=scratch_dir)
            break
        except LayerRefusedError as error:
            if error.step not in _MISSABLE:
                raise
            missing[Layer(error.step)] = error.reason
    report = SandboxReport(mode, confinement, missing, escapes)
    if mode is SandboxMode.REQUIRE and report.level != "full":
        raise ConfigError(f"VPROC_SANDBOX: require, and this machine gives {report.describe()}; it takes require, auto or off")
    return report


async def try_escapes(confinement: Confinement, *, scratch_dir: Path | None = None) -> tuple[Escape, ...]:
    """Run the hostile program under a confinement. Raises `LayerRefusedError` where a layer cannot be had.

    An attempt that the kernel answers by ending the program is refused: what surrounds the daemon (a service's own filter of
    system calls) may do so. The program is then started anew behind it.
    """
    source = await to_thread.run_sync(Path(__file__).with_name("escapes.py").read_text)
    python = replace(confinement, readable=(sys.base_prefix, sys.base_exec_prefix))
    escapes: list[Escape] = []
    async with _directory(scratch_dir) as outside:
        while not escapes or escapes[-1].name != _LAST_ATTEMPT:
            bounds = (str(_LIMITS.memory_bytes), str(_LIMITS.output_bytes))
            command = [sys.executable, "-I", "-S", "-c", source, str(os.getpid()), str(outside), *bounds, str(len(escapes))]
            result = await LocalRunner(python).run(command, cwd=outside / "job", limits=_LIMITS)
            escapes += _escapes_in(result)
    return tuple(escapes)


def _escapes_in(result: ProcessResult) -> list[Escape]:
    """What the program told: up to its last attempt, or to the one at which the kernel ended it. Raises `UnavailableError` where
    it ended otherwise, which proves nothing."""
    escapes: list[Escape] = []
    begun = None
    try:
        for line in result.stdout.splitlines():
            words = json.loads(line)
            if len(words) == 1:
                [begun] = words
            else:
                escapes.append(Escape(*words))
    except (ValueError, TypeError):
        escapes, begun = [], None
    if begun is not None and result.returncode == -signal.SIGSYS and (not escapes or escapes[-1].name != begun):
        return [*escapes, Escape(begun, refused=True, reason="the process was ended (SIGSYS)")]
    if result.returncode or not escapes or escapes[-1].name != _LAST_ATTEMPT:
        last = result.stderr.strip().splitlines()[-1:] or ["nothing on standard error"]
        raise UnavailableError(f"the sandbox's self-test ended early with {result.returncode}: {last[0]}")
    return escapes


def landlock_abi() -> int:
    """Landlock's version in this kernel; 0 where there is none, or something forbids to ask."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(ctypes.c_long(_LANDLOCK_CREATE_RULESET), None, ctypes.c_size_t(0), _LANDLOCK_CREATE_RULESET_VERSION)
    return max(0, int(version))


def keep_memory_private() -> None:
    """Let no other process of this user read the memory and the environment of this one, which hold its keys: neither a child
    that got out, nor another service. No core is dumped from then on, and only root attaches a debugger."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, *(ctypes.c_ulong(0) for _ in range(4)))


def graphics_devices(root: Path = Path("/dev")) -> tuple[str, ...]:
    """The nodes of this machine's graphics cards that encode: render nodes and NVIDIA's."""
    return tuple(sorted(str(node) for pattern in ("dri/renderD*", "nvidia*") for node in root.glob(pattern)))


@asynccontextmanager
async def _directory(parent: Path | None) -> AsyncIterator[Path]:
    """A directory that holds an empty ``job``, removed at the end."""

    def make() -> Path:
        made = Path(mkdtemp(prefix="vproc-selftest-", dir=parent)).resolve()
        (made / "job").mkdir()
        return made

    path = await to_thread.run_sync(make)
    try:
        yield path
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(rmtree, path)
