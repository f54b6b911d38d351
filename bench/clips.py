"""What goes in: a file of two gigabytes that costs little to repackage, and short clips as people upload them. Made by ffmpeg."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import anyio

from bench.processes import BenchError

LARGE_BYTES = 2_000_000_000
_BLOCK_S = 4
_BLOCK_BPS = 200_000_000
CLIP_S = 5

# Light noise over moving gradients: neither a test card, which costs an encoder nothing, nor pure noise.
_SCENE = "gradients=s=1280x720:r=30:d={seconds}:n=6:speed=0.03:seed={seed},noise=alls=4:allf=t:all_seed={seed},format=yuv420p"
_NOISE = "nullsrc=s=1920x1080:r=30:d={seconds},format=yuv420p,noise=alls=60:allf=t"


async def make_large(folder: Path, least_bytes: int = LARGE_BYTES) -> Path:
    """At least so much of 1080p H.264 of some 200 Mb/s with AAC, in MP4: one block of a few seconds, again and again."""
    block, listing, large = folder / "block.mp4", folder / "blocks.txt", folder / "large.mp4"
    await run_ffmpeg(
        *("-f", "lavfi", "-i", _NOISE.format(seconds=_BLOCK_S), "-f", "lavfi", "-i", f"sine=f=220:d={_BLOCK_S}"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-b:v", str(_BLOCK_BPS), "-maxrate", str(_BLOCK_BPS)),
        *("-bufsize", str(_BLOCK_BPS), "-g", "60", "-c:a", "aac", "-shortest", str(block)),
    )
    times = -(-least_bytes // block.stat().st_size)
    listing.write_text("ffconcat version 1.0\n" + f"file {block.name}\n" * times)
    await run_ffmpeg("-f", "concat", "-i", str(listing), "-c", "copy", str(large))
    block.unlink()
    if large.stat().st_size < least_bytes:
        raise BenchError(f"the large file has only {large.stat().st_size} bytes")
    return large


async def make_clips(folder: Path, number: int) -> list[Path]:
    """So many different clips of 720p30 H.264 with AAC, a few seconds each."""
    clips = []
    for seed in range(1, number + 1):
        clip = folder / f"clip-{seed:02d}.mp4"
        await run_ffmpeg(
            *("-f", "lavfi", "-i", _SCENE.format(seconds=CLIP_S, seed=seed)),
            *("-f", "lavfi", "-i", f"sine=f={200 + 20 * seed}:d={CLIP_S}"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-b:v", "8M", "-maxrate", "8M", "-bufsize", "8M"),
            *("-c:a", "aac", "-shortest", str(clip)),
        )
        clips.append(clip)
    return clips


def require_space(folder: Path, size_bytes: int) -> None:
    """Raise `BenchError` where there is no room for so much."""
    free = shutil.disk_usage(folder).free
    if free < size_bytes:
        raise BenchError(f"{folder} has {free} bytes free and {size_bytes} are needed; TMPDIR names another place")


async def run_ffmpeg(*arguments: str) -> None:
    """The system's ffmpeg, to make a clip. Raises `BenchError`."""
    argv: Sequence[str] = ["ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-y", *arguments]
    with anyio.fail_after(600):
        done = await anyio.run_process(argv, check=False)
    if done.returncode != 0:
        raise BenchError(f"ffmpeg could not make a clip: {done.stderr.decode(errors='replace')[-300:]}")
