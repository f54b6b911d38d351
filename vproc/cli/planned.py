"""``vproc profiles --plan FILE``: what a profile would make of a file, and by which commands. Nothing is encoded."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio.to_thread

from vproc.core.boxes import payload, top_level
from vproc.core.captions import captions_argv, wants_captions
from vproc.core.command import make_plan
from vproc.core.container import HEAD_BYTES, Container, sniff
from vproc.core.media import MediaInfo, MediaLimits, check_limits
from vproc.core.movie import SampleTable, read_video
from vproc.core.needs import needs_of
from vproc.core.plan import Encode, Plan, decide
from vproc.core.profile import Profile, Quality
from vproc.errors import TransientError
from vproc.settings import Settings
from vproc.workers.confinement import Confinement, Layer
from vproc.workers.ffmpeg import find_pairs
from vproc.workers.media import MediaTools
from vproc.workers.runners import LocalRunner

_LARGEST_INDEX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be made of one file. ``commands`` are run in this order."""

    profile: Profile
    encode: Encode
    plan: Plan
    commands: tuple[tuple[str, ...], ...]

    def document(self) -> dict[str, Any]:
        """For programs."""
        rungs = [
            {
                "name": rung.name, "width": rung.width, "height": rung.height, "copied": rung is self.encode.copied,
                "crf": rung.crf, "maxrate_bps": rung.maxrate_bps, "bitrate_bps": rung.bitrate_bps,
            }
            for rung in self.encode.rungs
        ]  # fmt: skip
        return {
            "profile": self.profile.name,
            "encoder": self.encode.encoder,
            "fps": round(float(self.encode.fps), 3),
            "rungs": rungs,
            "copy_refused": self.plan.copy_refused,
            "outputs": [
                {"kind": output.kind.value, "name": output.rendition, "codec": output.codec} for output in self.plan.outputs
            ],
            "commands": [list(command) for command in self.commands],
        }

    def lines(self) -> list[str]:
        """For a person: the rungs and tracks, then each command with an option a line."""
        told = [f"{self.profile.name}: {self._sentence()}"]
        for rung in self.encode.rungs:
            rate = (
                f"{rung.bitrate_bps // 1000} kb/s"
                if rung.bitrate_bps
                else f"crf {rung.crf:g}, at most {rung.maxrate_bps // 1000} kb/s"
            )
            told.append(
                f"  {rung.name:<6} {rung.width}x{rung.height:<5} {'copied as it is' if rung is self.encode.copied else rate}"
            )
        told += [
            f"  {output.rendition:<8} {output.codec}" for output in self.plan.outputs if output.width is None and output.is_media
        ]
        for command in self.commands:
            told += ["", *_command_lines(command)]
        return told

    def _sentence(self) -> str:
        parts = (
            [f"{self.encode.encoder} at {float(self.encode.fps):.3f} pictures a second"]
            if self.encode.rungs
            else ["no picture is encoded"]
        )
        if self.plan.copy_refused:
            parts.append(f"the top rung is encoded, since {self.plan.copy_refused}")
        if self.profile.quality is Quality.AUTO:
            parts.append("the rates are chosen by sample encodes when the job runs")
        return "; ".join(parts)


async def plan_file(path: Path, profile: Profile, settings: Settings) -> Planned:
    """Look at a file as the daemon does, and plan. Raises `RejectedError` for what no daemon would take, `ConfigError` without
    an ffmpeg."""
    source = await anyio.to_thread.run_sync(path.resolve)
    runner = LocalRunner(Confinement(frozenset({Layer.RLIMITS})))
    with TemporaryDirectory(prefix="vproc-plan-") as folder:
        pairs = await find_pairs(settings.ffmpeg, settings.ffprobe, runner, cwd=Path(folder))
        tools = MediaTools(
            runner=runner,
            pairs=pairs,
            max_pixels=settings.max_pixels,
            job_timeout_s=settings.job_timeout_s,
            stall_timeout_s=settings.stall_timeout_s,
        )
        container = sniff(await anyio.to_thread.run_sync(_head, source))
        info = await tools.examine(source, container, cwd=Path(folder))
    limits = MediaLimits(settings.max_duration_s, settings.max_pixels)
    check_limits(info, limits)
    tools = tools.fit(needs_of(info, profile))
    table = await anyio.to_thread.run_sync(_table, source, info) if profile.copy_top_rung else None
    generation = tools.capabilities.generation
    plan = make_plan(
        info,
        profile,
        ffmpeg=tools.ffmpeg,
        source=source,
        out_dir=Path("/job/out"),
        limits=limits,
        table=table,
        generation=generation,
    )
    return Planned(
        profile, decide(info, profile, table, generation=generation), plan, _commands(plan, info, profile, tools, source)
    )


def _commands(plan: Plan, info: MediaInfo, profile: Profile, tools: MediaTools, source: Path) -> tuple[tuple[str, ...], ...]:
    commands = [plan.argv, plan.sheets_argv]
    streams = [stream for stream in info.captions if stream.index is not None]
    if streams and wants_captions(profile):
        paths = [Path(f"/job/out/captions-{number}.raw.vtt") for number in range(1, 1 + len(streams))]
        commands.append(captions_argv(tools.ffmpeg, source, info, streams, paths, max_pixels=tools.max_pixels))
    return tuple(command for command in commands if command)


def _command_lines(command: tuple[str, ...]) -> list[str]:
    """A line for each option with its value, so that a shell takes the whole as it stands."""
    lines: list[list[str]] = [[]]
    for word in command:
        if word.startswith("-") and not word[1:2].isdigit():
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return [" ".join(line) + (" \\" if number < len(lines) - 1 else "") for number, line in enumerate(lines)]


def _table(source: Path, info: MediaInfo) -> SampleTable | None:
    """The index of the video's samples, where the file has one."""
    if info.container is not Container.MOV or info.video is None:
        return None
    with source.open("rb") as file:

        def read(offset: int, size: int) -> bytes:
            file.seek(offset)
            return file.read(size)

        try:
            moov = next((box for box in top_level(read, source.stat().st_size) if box.kind == "moov"), None)
            return read_video(payload(read, moov), info.video.index) if moov and moov.size <= _LARGEST_INDEX_BYTES else None
        except TransientError:
            return None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
