"""The ffmpegs that jobs of this process are done with, and what confines them: children of its own, containers, or both where
profiles name both. Only what some profile's files go to is opened: where all jobs run in containers, no ffmpeg is needed beside.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import structlog

from vproc.containers.address import engine_socket
from vproc.containers.engine import open_engine
from vproc.core.profile import Profile
from vproc.core.runners import RunnerKind
from vproc.errors import DependencyError, UnavailableError
from vproc.outside import at_start
from vproc.settings import SandboxMode, Settings
from vproc.telemetry import Metrics
from vproc.workers.container_site import OpenedRunner, open_docker_runner
from vproc.workers.image_programs import ImagePrograms, look_into
from vproc.workers.media import MediaTools
from vproc.workers.runners import LocalRunner
from vproc.workers.sandbox import keep_memory_private, probe_sandbox
from vproc.workers.tooling import devices_of, open_tools

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class ConfinementReport(Protocol):
    """How children are confined: by the kernel for those of this process, by the engine for those in containers."""

    @property
    def level(self) -> str:
        """``full``, ``partial`` or ``off``."""
        ...

    @property
    def layers(self) -> dict[str, bool]:
        """Each layer, and whether it is in force."""
        ...

    def describe(self) -> str:
        """One line for a person."""
        ...


@dataclass(frozen=True, slots=True)
class Ffmpegs:
    """What one kind of runner works with."""

    tools: MediaTools
    sandbox: ConfinementReport


@asynccontextmanager
async def open_ffmpegs(
    settings: Settings, profiles: Mapping[str, Profile], kinds: Collection[RunnerKind], metrics: Metrics, *, scratch_dir: Path
) -> AsyncIterator[Mapping[RunnerKind, Ffmpegs]]:
    """Open what of ``kinds`` runs ffmpeg itself, the default first. Raises `ConfigError` or `DependencyError`."""
    if settings.sandbox is not SandboxMode.OFF:
        keep_memory_private()
    opened: dict[RunnerKind, Ffmpegs] = {}
    async with AsyncExitStack() as stack:
        for kind in sorted(kinds, key=lambda kind: kind is not settings.runner):
            theirs = {name: profile for name, profile in profiles.items() if (profile.runner or settings.runner) is kind}
            if kind is RunnerKind.LOCAL:
                opened[kind] = await _local(settings, theirs, scratch_dir)
            elif kind is RunnerKind.DOCKER:
                opened[kind] = await stack.enter_async_context(_containers(settings, theirs, scratch_dir))
        for kind, ffmpegs in opened.items():
            log.info("sandbox_probed", runner=kind.value, sandbox=ffmpegs.sandbox.describe())
        for layer, held in layers_of(opened).items():
            metrics.sandbox_level.labels(layer).set(held)
        yield opened


def layers_of(opened: Mapping[RunnerKind, Ffmpegs]) -> dict[str, bool]:
    """The layers of all runners: in force where they are in every runner that knows them."""
    layers: dict[str, bool] = {}
    for ffmpegs in opened.values():
        for layer, held in ffmpegs.sandbox.layers.items():
            layers[layer] = held and layers.get(layer, True)
    return layers


def level_of(opened: Mapping[RunnerKind, Ffmpegs]) -> str:
    """The least of all runners."""
    levels = {ffmpegs.sandbox.level for ffmpegs in opened.values()}
    return next((level for level in ("off", "partial") if level in levels), "full")


async def _local(settings: Settings, profiles: Mapping[str, Profile], scratch_dir: Path) -> Ffmpegs:
    sandbox = await at_start("VPROC_SANDBOX", probe_sandbox(settings.sandbox, scratch_dir=scratch_dir))
    runner = LocalRunner(replace(sandbox.confinement, devices=await devices_of(profiles)))
    return Ffmpegs(await open_tools(settings, profiles, runner, scratch_dir=scratch_dir), sandbox)


@asynccontextmanager
async def _containers(settings: Settings, profiles: Mapping[str, Profile], scratch_dir: Path) -> AsyncIterator[Ffmpegs]:
    try:
        async with AsyncExitStack() as stack:
            opened = await stack.enter_async_context(open_containers(settings, profiles, scratch_dir))
            programs = await programs_of(opened, settings, scratch_dir)
            tools = await open_tools(settings, profiles, opened.runner, scratch_dir=scratch_dir, programs=programs)
            kept = stack.pop_all()
    except UnavailableError as error:
        raise DependencyError(f"VPROC_RUNNER: docker: {error.detail}") from error
    async with kept:
        yield Ffmpegs(tools, opened.report)


@asynccontextmanager
async def open_containers(settings: Settings, profiles: Mapping[str, Profile], scratch_dir: Path) -> AsyncIterator[OpenedRunner]:
    """The runner in containers, tried. Raises `ConfigError`, and `UnavailableError` where no engine answers."""
    async with (
        open_engine(engine_socket(os.environ)) as engine,
        open_docker_runner(
            engine,
            image=settings.docker_image,
            scratch_dir=scratch_dir,
            mode=settings.sandbox,
            devices=await devices_of(profiles),
        ) as opened,
    ):
        yield opened


async def programs_of(opened: OpenedRunner, settings: Settings, scratch_dir: Path) -> ImagePrograms:
    """What its image has."""
    named = (settings.ffmpeg, settings.ffprobe)
    return await look_into(opened.runner.site.image_name, opened.runner, named=named, cwd=scratch_dir)
