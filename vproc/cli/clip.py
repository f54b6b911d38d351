"""The clip of a demo that was given none: the one that the environment names, else one made here by ffmpeg."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import click

from vproc.cli.child import run_tool
from vproc.cli.errors import DemoError
from vproc.errors import ConfigError

_SECONDS = 8
# Open water under a low sun: waves that cross each other and grow towards the viewer, a sky that hardly moves, a drifting
# camera and grain. Encoders find here what they find in a real clip, and not in a test card: texture that moves everywhere.
_LUMA = (
    "if(lt(Y\\,62)\\, 205-Y*0.9+5*sin(X/47+T*0.4)+40*exp(-((X-230)*(X-230)+(Y-38)*(Y-38))/160)\\,"
    " 92+(Y-62)*0.18+(8+(Y-62)*0.28)*sin(X/(4+Y/22)+1.9*T+1.6*sin(Y/5-1.3*T))"
    "+(5+(Y-62)*0.12)*sin((X+2*Y)/11-2.7*T)+34*exp(-(X-230)*(X-230)/900)*(0.6+0.4*sin(Y/2.2-6*T)))"
)
_BLUE = "if(lt(Y\\,31)\\, 138+Y/12\\, 143+4*sin(X/40+T))"
_RED = "if(lt(Y\\,31)\\, 124+14*exp(-(X-115)*(X-115)/1500)\\, 113+7*exp(-(X-115)*(X-115)/500))"
_VIDEO = (
    f"nullsrc=s=320x180:r=24:d={_SECONDS},format=yuv420p,geq=lum='{_LUMA}':cb='{_BLUE}':cr='{_RED}',"
    "scale=1344:756:flags=bicubic,crop=1280:720:32+24*sin(t*0.7):18+12*sin(t*1.1),noise=alls=5:allf=t,format=yuv420p"
)
# Surf, and a plucked chord over it.
_SURF = f"anoisesrc=c=pink:r=48000:a=0.3:d={_SECONDS},tremolo=f=0.25:d=0.8,lowpass=f=2500"
_CHORD = "aevalsrc='0.18*exp(-3*mod(t*2\\,1))*sin(2*PI*t*(220*pow(2\\,mod(floor(t*2)*4\\,12)/12)))':s=48000:d=" + str(_SECONDS)


async def demo_clip(given: Path | None, work: Path, ffmpeg: str) -> Path:
    """The clip to show: ``given``, or the one of ``VPROC_DEMO_CLIP``, or a new one in ``work``."""
    if given is not None:
        return given
    named = os.environ.get("VPROC_DEMO_CLIP")
    if not named:
        click.echo("making a clip to show ...")
        return await make_clip(work / "waves.mp4", ffmpeg)
    if not await anyio.Path(named).is_file():
        raise ConfigError(f"VPROC_DEMO_CLIP: no file at {named}")
    return Path(named)


async def make_clip(to: Path, ffmpeg: str) -> Path:
    """Eight seconds of 720p H.264 with AAC: water in the evening, and its sound."""
    inputs = ["-f", "lavfi", "-i", _VIDEO, "-f", "lavfi", "-i", _SURF, "-f", "lavfi", "-i", _CHORD]
    mix = "[1:a][2:a]amix=inputs=2:normalize=0,aformat=channel_layouts=stereo[sound]"
    argv = [
        ffmpeg, "-hide_banner", "-nostdin", "-v", "error", "-y", *inputs,
        "-filter_complex", mix, "-map", "0:v", "-map", "[sound]",
        "-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-g", "48", "-c:a", "aac", "-b:a", "128k",
        "-movflags", "+faststart", str(to),
    ]  # fmt: skip
    made = await run_tool(argv, cwd=to.parent)
    if made.returncode != 0:
        reason = made.stderr.strip().splitlines()[-1:]
        raise DemoError(f"ffmpeg could not make a clip to show ({' '.join(reason) or made.returncode}): give a FILE")
    return to
