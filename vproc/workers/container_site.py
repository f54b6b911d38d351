"""What the container runner finds at its start: who this process is to its engine, the image, whether a container sees the
scratch directory and is as confined as was asked for. And at its start and later: containers that dead daemons left.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_hex

import structlog
from anyio import sleep, to_thread

from vproc.core.containers import LABEL, Fate, Owner, judge, own_container_id
from vproc.core.trial import TRIAL, Trial, read_trial
from vproc.errors import ConfigError, UnavailableError
from vproc.ports import ContainerEngine, ContainerFacts, EngineFacts, ProcessLimits
from vproc.settings import SandboxMode
from vproc.tasks import task_group
from vproc.workers.confinement import OPEN_FILES
from vproc.workers.docker_runner import DockerRunner, Site
from vproc.workers.seccomp import container_profile

SWEPT_EVERY_S = 300.0
_MIB = 1024**2
_LIMITS = ProcessLimits(wall_s=60, cpu_s=20, memory_bytes=256 * _MIB, output_bytes=_MIB, directory_bytes=1 << 62)

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ContainerReport:
    """How this machine's engine confines containers, as a program in one found it. ``missing``: what it does not give."""

    facts: EngineFacts
    trial: Trial
    missing: tuple[str, ...] = field(default=())

    @property
    def level(self) -> str:
        """``full`` or ``partial``."""
        return "partial" if self.missing else "full"

    @property
    def layers(self) -> dict[str, bool]:
        """Each layer and whether it is in force. ``container`` stands for its own view of files, processes and networks."""
        return {
            "container": self.trial.alone,
            "rlimits": self.trial.rlimits,
            "capabilities": self.trial.no_capabilities,
            "no_new_privileges": self.trial.no_new_privileges,
            "seccomp": self.trial.seccomp,
        }

    def describe(self) -> str:
        """One line for a person."""
        names = ", ".join(name.replace("_", " ") for name, held in self.layers.items() if held)
        without = f"; without {', '.join(self.missing)}" if self.missing else ""
        rootless = " (rootless)" if self.facts.rootless else ""
        return f"{self.level}: containers of engine {self.facts.version}{rootless}: {names}{without}"


@dataclass(frozen=True, slots=True)
class OpenedRunner:
    """A runner that was tried, and how its children are confined."""

    runner: DockerRunner
    report: ContainerReport


@asynccontextmanager
async def open_docker_runner(
    engine: ContainerEngine, *, image: str | None, scratch_dir: Path, mode: SandboxMode, devices: Sequence[str] = ()
) -> AsyncIterator[OpenedRunner]:
    """The runner, tried by one container; what dead daemons left is removed now and every five minutes. Raises `ConfigError`
    where it cannot work, and `UnavailableError` where the engine does not answer."""
    facts = await engine.facts()
    site = await _find_site(engine, facts, image=image, devices=devices)
    runner, trial = await _tried(engine, site, scratch_dir, mode)
    report = _judged(facts, trial, mode)
    await sweep(engine, runner)
    async with task_group() as tasks:
        tasks.start_soon(_keep_swept, engine, runner)
        yield OpenedRunner(runner, report)
        tasks.cancel_scope.cancel()


async def _find_site(engine: ContainerEngine, facts: EngineFacts, *, image: str | None, devices: Sequence[str]) -> Site:
    around = await _own_container(engine)
    if image is None and around is None:
        raise ConfigError(
            "VPROC_DOCKER_IMAGE: not set, and this process runs in no container of the engine, whose image it would take: "
            "takes the name of an image with /bin/sh, ffmpeg and ffprobe"
        )
    name = image or (around.image if around else "")
    found = await engine.image_id(name)
    if found is None:
        raise ConfigError(f"VPROC_DOCKER_IMAGE: the engine at {engine.address} has no image {name!r}: docker pull {name}")
    owner = await to_thread.run_sync(_own, around.container_id if around else "")
    # Without a root of the machine, the engine's own user is root in its containers, and files of this user are root's there.
    user = "0:0" if facts.rootless else f"{os.getuid()}:{os.getgid()}"
    return Site(
        owner=owner,
        image=found,
        image_name=name,
        user=user,
        host_ids=facts.maps_users and not facts.rootless,
        seccomp=container_profile() if facts.seccomp else None,
        memory_bytes=facts.memory_bytes or 1 << 40,
        mounts=None if around is None else tuple((mount.source, mount.target) for mount in around.mounts),
        devices=tuple(devices),
        groups=await to_thread.run_sync(_groups, devices),
    )


async def _own_container(engine: ContainerEngine) -> ContainerFacts | None:
    """The container of this engine that this process runs in, if it does."""
    own = await to_thread.run_sync(_own_name)
    return None if own is None else await engine.container(own)


def _own_name() -> str | None:
    try:
        found = own_container_id(Path("/proc/self/mountinfo").read_text())
    except OSError:
        found = None
    marked = any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))
    return found or (os.uname().nodename if marked else None)


def _own(container: str) -> Owner:
    """Who this process is among all of this kernel."""
    return Owner(
        daemon=token_hex(8),
        boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        pids=_pids(),
        pid=f"{os.getpid()}:{_started(os.getpid())}",
        container=container,
    )


def _pids() -> str:
    return str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")


def _started(pid: int) -> str | None:
    """When a process started, in ticks since the boot; None where that cannot be seen."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _groups(devices: Sequence[str]) -> tuple[str, ...]:
    """Whose the nodes are, so that an ordinary user may drive them there as here."""
    return tuple(sorted({str(Path(node).stat().st_gid) for node in devices}))


# --- the trial -------------------------------------------------------------------------------------------------------


async def _tried(engine: ContainerEngine, site: Site, scratch_dir: Path, mode: SandboxMode) -> tuple[DockerRunner, Trial]:
    """A runner that works, with our own filter of system calls where the engine takes one (Podman wants the path of a file)."""
    runner = DockerRunner(engine, site)
    try:
        return runner, await _try(runner, engine, scratch_dir)
    except ConfigError:
        if site.seccomp is None or mode is SandboxMode.REQUIRE:
            raise
        runner = DockerRunner(engine, replace(site, seccomp=None))
        return runner, await _try(runner, engine, scratch_dir)


async def _try(runner: DockerRunner, engine: ContainerEngine, scratch_dir: Path) -> Trial:
    """Run a program in a container, on a directory of ours. Raises `ConfigError` where none can be run, or sees another."""
    word = token_hex(8)
    directory = scratch_dir / f"trial-{word}"

    def make() -> None:
        directory.mkdir(mode=0o700)
        (directory / "asked").write_text(f"{word}\n")

    def clear() -> str:
        answered = (directory / "answered").read_text().strip() if (directory / "answered").exists() else ""
        for path in (*directory.iterdir(), directory):
            path.rmdir() if path.is_dir() else path.unlink()
        return answered

    try:
        runner.site.outside(scratch_dir)
    except UnavailableError as error:
        raise ConfigError(f"VPROC_SCRATCH_DIR: {error.detail}") from error
    await to_thread.run_sync(make)
    try:
        result = await runner.run(["/bin/sh", "-c", TRIAL], cwd=directory, limits=_LIMITS)
    except UnavailableError as error:
        # An engine that answered a moment ago and cannot start this: the image has no shell, or lies elsewhere.
        raise ConfigError(
            f"VPROC_DOCKER_IMAGE: no container of {runner.site.image_name!r} can be started: takes an image with /bin/sh, ffmpeg "
            f"and ffprobe ({error.detail})"
        ) from error
    finally:
        answered = await to_thread.run_sync(clear)
    if answered != word:
        raise ConfigError(
            f"VPROC_SCRATCH_DIR: takes a directory that containers of {engine.address} can be given: {scratch_dir} is not what "
            f"they see, or they may not write it as {runner.site.user} ({result.stderr.strip()[-200:] or 'nothing was said'})"
        )
    return read_trial(result.stdout.decode(errors="replace"), open_files=OPEN_FILES)


def _judged(facts: EngineFacts, trial: Trial, mode: SandboxMode) -> ContainerReport:
    missing = (*trial.missing(), *facts.lacks)
    report = ContainerReport(facts, trial, missing)
    if mode is SandboxMode.REQUIRE and missing:
        raise ConfigError(f"VPROC_SANDBOX: require, and this machine gives {report.describe()}; it takes require, auto or off")
    return report


# --- containers of dead daemons --------------------------------------------------------------------------------------


async def sweep(engine: ContainerEngine, runner: DockerRunner) -> int:
    """Remove what this process has let go of, and what daemons left that are dead for certain; how many. Never another's that may
    live: containers end with their daemon by themselves, and few are left to be found."""
    own, removed = runner.site.owner, 0
    standing = runner.standing
    for state in await engine.labelled(LABEL):
        owner = Owner.of(state.labels)
        fate = await _fate(engine, owner, own)
        if fate is Fate.DEAD or (owner.daemon == own.daemon and state.name not in standing):
            try:
                await engine.remove(state.name)
            except UnavailableError as error:
                log.warning("container_remained", container=state.name, reason=error.detail)
                continue
            log.info("stale_container_removed", container=state.name, daemon=owner.daemon)
            removed += 1
    return removed


async def _fate(engine: ContainerEngine, owner: Owner, own: Owner) -> Fate:
    lives = owner.pids == own.pids and await to_thread.run_sync(_lives, owner.pid)
    runs = bool(owner.container) and await engine.is_running(owner.container)
    return judge(owner, own, pid_lives=lives, container_runs=runs)


def _lives(pid: str) -> bool:
    """Whether the process of that number and start is there. One whose start cannot be seen may be it."""
    number, _, started = pid.partition(":")
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        return True
    return _started(int(number)) in {None, started}


async def _keep_swept(engine: ContainerEngine, runner: DockerRunner) -> None:
    while True:
        await sleep(SWEPT_EVERY_S)
        try:
            await sweep(engine, runner)
        except UnavailableError as error:
            log.warning("containers_not_swept", reason=error.detail)
