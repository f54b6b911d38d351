"""The demo's story: a daemon, an upload, its processing, and the proof that everything which was made stands and plays."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import aiohttp
import click

from vproc.cli.child import DevDaemon, dev_daemon, find_tools
from vproc.cli.clip import demo_clip
from vproc.cli.errors import DemoError
from vproc.cli.playback import Player, check_streams, reads_dash
from vproc.cli.progress import open_progress
from vproc.cli.report import made_rows, receipt_rows, show_table, stage_rows
from vproc.cli.transfers import follow, upload
from vproc.client import ApiClient, Output
from vproc.core.files import Status
from vproc.core.keys import manifest_key
from vproc.core.manifest import Manifest, OutputKind

_OUTPUT = Path("demo-output")
_PROBED = (OutputKind.HLS, OutputKind.DASH, OutputKind.VIDEO, OutputKind.AUDIO, OutputKind.POSTER, OutputKind.SPRITE)
_MAY_BE_UNTOLD = (OutputKind.INIT, OutputKind.SEGMENT)
_OK = 200


async def run(given: Path | None, *, to: Path | None, work: Path, serve: bool, on_shown: Callable[[], None]) -> None:
    """Show the main job. Raises `DemoError`, `ApiError` or `ConfigError` where anything does not hold."""
    tools = await find_tools(work)
    click.echo("starting the daemon with embedded S3 and SQS ...")
    async with dev_daemon(work) as daemon, ApiClient(daemon.api) as client, aiohttp.ClientSession() as session:
        clip = await demo_clip(given, work, tools.ffmpeg)
        target = (to or _OUTPUT / clip.stem).absolute()
        file_id = await _process(client, clip)
        player = Player(session)
        manifest = Manifest.from_json((await player.read(daemon.address_of(manifest_key(file_id)))).encode())
        await _save(client, daemon, manifest, target)
        await _check(player, daemon, manifest, target, tools.ffprobe)
        _tell(manifest, target)
        page = await _page(session, daemon)
        _tell_address(daemon, manifest, target, page=page, serve=serve)
        on_shown()
        if serve:
            await daemon.ended.wait()
            raise DemoError("the daemon ended by itself")


async def _process(client: ApiClient, clip: Path) -> UUID:
    """Upload the clip and follow it to its end."""
    with open_progress(sys.stdout) as view:
        file_id = await upload(client, clip, profile=None, view=view)
        end = await follow(client, file_id, view=view)
    if end.status is not Status.COMPLETED:
        raise DemoError(f"{clip.name} was not completed but {end.status}: {end.error}")
    return file_id


async def _save(client: ApiClient, daemon: DevDaemon, manifest: Manifest, target: Path) -> None:
    """Download everything that the manifest names, by size and digest; what the API tells must be the same.

    The API may leave out single segments, and what an entry point is a copy of: these come straight from the store.
    """
    saved = await client.download_processed(manifest.file_id, target)
    told = {output.key: (output.size_bytes, output.sha256) for output, _ in saved}
    copied = {entry.source_key for entry in manifest.entry_points}
    rest: list[tuple[Output, Path]] = []
    for made in (*manifest.entry_points, *manifest.outputs):
        if made.key not in told and (made.kind in _MAY_BE_UNTOLD or made.key in copied):
            rest.append((Output.from_entry(made.model_dump(), url=daemon.address_of(made.key)), target / made.key))
        elif told.get(made.key) != (made.bytes, made.sha256):
            raise DemoError(f"{made.key} is one thing in the manifest, and in the API: {told.get(made.key, 'nothing')}")
    await client.save(rest)


async def _check(player: Player, daemon: DevDaemon, manifest: Manifest, target: Path, ffprobe: str) -> None:
    """Everything plays: over HTTP as a player reads it, and for ffprobe from the disk."""
    for entry in manifest.entry_points:
        address = daemon.address_of(entry.key)
        if entry.kind is OutputKind.HLS:
            click.echo(f"HLS: {await player.check_hls(address)} segments and headers stand")
        elif entry.kind is OutputKind.DASH:
            click.echo(f"DASH: {await player.check_dash(address)} segments and headers stand")
    # The playlists of a run lie deeper than the entry points, which are what a player opens.
    through_entry = {entry.source_key for entry in manifest.entry_points}
    named = (*manifest.entry_points, *(output for output in manifest.outputs if output.key not in through_entry))
    # What the MPD names was read over HTTP; for ffprobe it is only where that has a reader for it.
    unread = () if await reads_dash(ffprobe, cwd=target) else (OutputKind.DASH,)
    probed = [output for output in named if output.kind in _PROBED and output.kind not in unread]
    for output in probed:
        await check_streams(ffprobe, target / output.key)
    click.echo(f"{len(manifest.outputs) + len(manifest.entry_points)} objects have the size and the SHA-256 of the manifest")
    click.echo(f"ffprobe accepts {', '.join(Path(output.key).name for output in probed)}")


def _tell(manifest: Manifest, target: Path) -> None:
    show_table("What was made", ("kind", "codec", "size", "bitrate", "bytes", "name"), made_rows(manifest))
    show_table("Seconds for each stage", ("stage", "seconds"), stage_rows(manifest))
    if rows := receipt_rows(manifest):
        show_table("What it took", ("what", "how much"), rows)
    click.echo(f"The outputs are in {target / str(manifest.file_id)}")


def _tell_address(daemon: DevDaemon, manifest: Manifest, target: Path, *, page: str | None, serve: bool) -> None:
    """Where to watch it: over HTTP while the daemon is up, from the disk afterwards."""
    entry = next((entry for entry in manifest.entry_points if entry.kind is OutputKind.HLS), None)
    video = next((output for output in manifest.outputs if output.kind is OutputKind.VIDEO), None)
    key = (entry or video or manifest.outputs[0]).key
    if serve:
        watch = f"{page}?file={manifest.file_id}" if page else daemon.address_of(key)
        click.echo(f"Watch it at {watch} (Ctrl-C ends it)")
        if page:
            click.echo(f"The stream itself: {daemon.address_of(key)}")
        click.echo(f"The API: {daemon.api}")
    else:
        click.echo(f"Watch it with: ffplay {shlex.quote(str(target / key))}")
        click.echo(
            "Watch it in a browser: `make demo SERVE=1` or `vproc demo --serve` keeps the daemon up and prints the address"
        )


async def _page(session: aiohttp.ClientSession, daemon: DevDaemon) -> str | None:
    """The address of the daemon's page, where it has one."""
    async with session.get(f"{daemon.api}/") as response:
        return f"{daemon.api}/" if response.status == _OK and response.content_type == "text/html" else None
