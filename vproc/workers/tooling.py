"""Which ffmpeg this process works with, with how many threads, and which profiles it can make. Found once, at the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio.to_thread
import structlog

from vproc.core.machine import threads_of_a_job
from vproc.core.needs import needs_of_profile, unavailable
from vproc.core.profile import Profile
from vproc.errors import ConfigError
from vproc.ports import Runner
from vproc.settings import Settings
from vproc.workers.ffmpeg import Programs, ToolPair, announce, find_pairs, with_trials
from vproc.workers.machine import read_machine
from vproc.workers.media import MediaTools
from vproc.workers.sandbox import graphics_devices

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def hardware_codecs(profiles: Mapping[str, Profile]) -> frozenset[str]:
    """The codecs that some profile wants a graphics card to encode."""
    wanted = (needs_of_profile(profile).hardware for profile in profiles.values())
    return frozenset(codec for codec in wanted if codec is not None)


async def devices_of(profiles: Mapping[str, Profile]) -> tuple[str, ...]:
    """The nodes that children drive: this machine's graphics cards where a profile asks for one, else none."""
    return await anyio.to_thread.run_sync(graphics_devices) if hardware_codecs(profiles) else ()


async def open_tools(
    settings: Settings, profiles: Mapping[str, Profile], runner: Runner, *, scratch_dir: Path, programs: Programs | None = None
) -> MediaTools:
    """The ffmpegs that ``runner`` has, this machine's or those of ``programs``, for these profiles; hardware encoders are tried
    where one asks for them. Raises `ConfigError` where the default profile can be made by none of them."""
    codecs = hardware_codecs(profiles)
    pairs = await find_pairs(settings.ffmpeg, settings.ffprobe, runner, cwd=scratch_dir, programs=programs)
    announce(pairs)
    if codecs:
        pairs = tuple([await with_trials(pair, codecs, runner, cwd=scratch_dir) for pair in pairs])
    _check_profiles(settings, profiles, pairs)
    return MediaTools(
        runner=runner,
        pairs=pairs,
        max_pixels=settings.max_pixels,
        job_timeout_s=settings.job_timeout_s,
        stall_timeout_s=settings.stall_timeout_s,
        threads=threads_of_a_job(settings.concurrency, await read_machine()),
    )


def _check_profiles(settings: Settings, profiles: Mapping[str, Profile], pairs: Sequence[ToolPair]) -> None:
    """Say which profiles no ffmpeg here can make. Raises `ConfigError` where the default one is among them."""
    builds = [pair.capabilities for pair in pairs]
    for profile in profiles.values():
        lacked = unavailable(needs_of_profile(profile), builds)
        if lacked and profile.name == settings.profile:
            there = f"ffmpeg {pairs[0].version} ({pairs[0].ffmpeg})"
            raise ConfigError(f"VPROC_PROFILE: {profile.name} takes {', '.join(lacked)}, which {there} lacks")
        if lacked:
            log.warning("profile_unavailable", profile=profile.name, lacks=list(lacked), ffmpeg=pairs[0].version)
