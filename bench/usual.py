"""``python -m bench.usual``: the usual way to a ladder, as pipelines of scripts go it. Download, a process for each rendition,
then passes for DASH, HLS, the poster and the thumbnails, then upload one file after another: each in turn.

The encoder's settings are those of the built-in ladder, so that what differs is the way and not the picture. The ffmpeg is the
system's, which such pipelines install.
"""

from __future__ import annotations

import http.client
import shutil
import subprocess
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import click

from vproc.core.profile import RungSpec
from vproc.profiles import builtin_profile

LADDER = builtin_profile("abr").rungs
PRESET = "veryfast"
_GOP = ("-force_key_frames", "expr:gte(t,n_forced*4)", "-sc_threshold", "0")
_AAC = ("-c:a", "aac", "-b:a", "128k", "-ac", "2")
_HEAD = ("-nostdin", "-hide_banner", "-v", "error", "-y")
_CHUNK_BYTES = 1024 * 1024


class Packaging(StrEnum):
    """What the passes for DASH and HLS do with the renditions."""

    COPY = "copy"
    """They repackage them."""
    REENCODE = "reencode"
    """They encode once more, from the source."""


def usual_commands(ffmpeg: str, source: Path, to: Path, packaging: Packaging) -> list[list[str]]:
    """All command lines in their order. ``to`` holds a folder ``hls``."""
    renditions = {rung: to / f"{rung.short_side_px}.mp4" for rung in LADDER}
    commands = [
        [ffmpeg, *_HEAD, "-i", str(source), "-vf", _scale(rung), *_h264(rung), *_AAC, str(path)]
        for rung, path in renditions.items()
    ]
    if packaging is Packaging.COPY:
        commands += [_dash_of(ffmpeg, list(renditions.values()), to)]
        commands += [[ffmpeg, *_HEAD, "-i", str(path), "-c", "copy", *_hls(rung, to)] for rung, path in renditions.items()]
    else:
        commands += [_dash_anew(ffmpeg, source, to)]
        commands += [
            [ffmpeg, *_HEAD, "-i", str(source), "-vf", _scale(rung), *_h264(rung), *_AAC, *_hls(rung, to)] for rung in LADDER
        ]
    poster = ["-ss", "3", "-frames:v", "1", "-vf", "scale=-2:720", "-q:v", "3", str(to / "poster.jpg")]
    sprite = ["-vf", "fps=1/2,scale=160:90,tile=5x5", "-q:v", "3", str(to / "sprite-%03d.jpg")]
    return [*commands, *([ffmpeg, *_HEAD, "-i", str(source), *rest] for rest in (poster, sprite))]


def _scale(rung: RungSpec) -> str:
    return f"scale=-2:{rung.short_side_px}"


def _h264(rung: RungSpec, number: int | None = None) -> list[str]:
    at = ":v" if number is None else f":v:{number}"
    rate = [f"-crf{at}", f"{rung.crf:g}", f"-maxrate{at}", str(rung.maxrate_bps), f"-bufsize{at}", str(rung.bufsize_bits)]
    return ["-c:v", "libx264", "-preset", PRESET, "-pix_fmt", "yuv420p", *rate, *_GOP]


def _dash_of(ffmpeg: str, renditions: Sequence[Path], to: Path) -> list[str]:
    inputs = [word for path in renditions for word in ("-i", str(path))]
    maps = [word for number in range(len(renditions)) for word in ("-map", f"{number}:v:0")]
    return [ffmpeg, *_HEAD, *inputs, *maps, "-map", "0:a:0", "-c", "copy", *_dash(to)]


def _dash_anew(ffmpeg: str, source: Path, to: Path) -> list[str]:
    outputs = []
    for number, rung in enumerate(LADDER):
        outputs += ["-map", "0:v:0", f"-filter:v:{number}", _scale(rung), *_h264(rung, number)]
    return [ffmpeg, *_HEAD, "-i", str(source), *outputs, "-map", "0:a:0", *_AAC, *_dash(to)]


def _dash(to: Path) -> list[str]:
    sets = "id=0,streams=v id=1,streams=a"
    return ["-f", "dash", "-seg_duration", "4", "-use_template", "1", "-use_timeline", "1", "-adaptation_sets", sets,
            str(to / "manifest.mpd")]  # fmt: skip


def _hls(rung: RungSpec, to: Path) -> list[str]:
    name = f"{rung.short_side_px}"
    segments = str(to / "hls" / f"{name}-%03d.ts")
    return ["-f", "hls", "-hls_time", "4", "-hls_playlist_type", "vod", "-hls_segment_filename", segments,
            str(to / "hls" / f"{name}.m3u8")]  # fmt: skip


def _connect(url: str) -> tuple[http.client.HTTPConnection, str]:
    place = urlsplit(url)
    return http.client.HTTPConnection(place.hostname or "", place.port), place.path


def download(url: str, to: Path) -> None:
    """One GET."""
    connection, path = _connect(url)
    connection.request("GET", path)
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        raise click.ClickException(f"{url}: {answer.status}")
    with to.open("wb") as file:
        shutil.copyfileobj(answer, file, _CHUNK_BYTES)
    connection.close()


def upload_all(folder: Path, url: str) -> int:
    """Every file below the folder, one PUT after another over one connection; their bytes."""
    connection, path = _connect(url)
    total = 0
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        with file.open("rb") as body:
            size = file.stat().st_size
            connection.request("PUT", f"{path}/{file.relative_to(folder)}", body=body, headers={"Content-Length": str(size)})
            answer = connection.getresponse()
            answer.read()
        if answer.status != http.client.OK:
            raise click.ClickException(f"{file.name}: {answer.status}")
        total += size
    connection.close()
    return total


def system_ffmpeg() -> str:
    """The path of what `apt-get install ffmpeg` gives."""
    if (found := shutil.which("ffmpeg")) is None:
        raise click.ClickException("there is no ffmpeg on PATH")
    return found


def system_version() -> str:
    """Its version."""
    told = subprocess.run([system_ffmpeg(), "-version"], check=True, capture_output=True, text=True)  # noqa: S603 - no input of others
    return told.stdout.split()[2]


@click.command()
@click.option("--packaging", type=click.Choice([packaging.value for packaging in Packaging]), required=True)
@click.option("--source-url", required=True)
@click.option("--target-url", required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True)
def main(packaging: str, source_url: str, target_url: str, work: Path) -> None:
    """Download, encode, package, upload."""
    source, out = work / "source.mp4", work / "out"
    (out / "hls").mkdir(parents=True)
    download(source_url, source)
    for command in usual_commands(system_ffmpeg(), source, out, Packaging(packaging)):
        subprocess.run(command, check=True)  # noqa: S603 - all ours
    upload_all(out, target_url)


if __name__ == "__main__":
    main()
