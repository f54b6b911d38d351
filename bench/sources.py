"""The bench's own clips: 1080p30 with sound, made once of real footage (`footage`) and kept below ``.cache/bench``.

``mix`` and ``conforming`` show the same: the one as a camera leaves it, which nothing can take over as it is; the other as an
encoder for the web leaves it, which is a top rung already. ``easy``, ``middle`` and ``hard`` are for quality.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from bench.clips import run_ffmpeg
from bench.footage import SCENES, Scene, fetch_scenes

CACHE = Path(__file__).parents[1] / ".cache" / "bench"
FPS = 30
SIZE_PX = (1920, 1080)
_TAGS = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
_AAC = ("-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart")

# Seventeen megabits, as phones record 1080p30 in H.264, and open GOPs of up to 250 pictures: above any cap of a web ladder, and
# not to be cut on a grid.
_AS_RECORDED = (
    "-c:v", "libx264", "-preset", "superfast", "-b:v", "17M", "-maxrate", "20M", "-bufsize", "34M",
    "-x264-params", "keyint=250:open-gop=1", *_TAGS, *_AAC,
)  # fmt: skip
# Closed GOPs of two seconds, everywhere below 5 Mb/s.
_CONFORMING = (
    "-c:v", "libx264", "-preset", "fast", "-profile:v", "high", "-crf", "20", "-maxrate", "4M", "-bufsize", "4M",
    "-g", "60", "-keyint_min", "60", "-sc_threshold", "0", "-flags", "+cgop", *_TAGS, *_AAC,
)  # fmt: skip
# As much as a good camera gives.
_REFERENCE = (
    "-c:v", "libx264", "-preset", "superfast", "-crf", "14", "-maxrate", "40M", "-bufsize", "40M", "-g", "250", *_TAGS, *_AAC,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a clip shows, and how it is encoded. ``after``: filters at full size; noise is what scaled footage lacks."""

    name: str
    scenes: tuple[str, ...]
    after: str
    encoding: tuple[str, ...]


_ALL = tuple(scene.name for scene in SCENES)
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("mix", _ALL, "noise=alls=5:allf=t:all_seed=1", _AS_RECORDED),
        Recipe("conforming", _ALL, "noise=alls=5:allf=t:all_seed=1", _CONFORMING),
        Recipe("easy", ("speaker", "street", "animated"), "noise=alls=3:allf=t:all_seed=1", _REFERENCE),
        Recipe("middle", ("animated", "bunny", "street"), "noise=alls=1:allf=t:all_seed=1", _REFERENCE),
        Recipe("hard", ("bunny", "bikes", "phone"), "unsharp=5:5:0.5,noise=alls=2:allf=t:all_seed=1", _REFERENCE),
    )
}


@dataclass(frozen=True, slots=True)
class Cut:
    """So many frames of a scene, from one on."""

    scene: Scene
    first: int
    frames: int


def timeline(scenes: Sequence[Scene], frames: int) -> list[Cut]:
    """Cuts of that many frames in all, as even as the scenes are long. Where they are too short together, it begins again."""
    if not scenes or frames < 1:
        raise ValueError("a timeline takes a scene and a frame at least")
    share = dict.fromkeys((scene.name for scene in scenes), 0)
    left = min(frames, sum(scene.frames for scene in scenes))
    while left:
        open_ = [scene for scene in scenes if share[scene.name] < scene.frames]
        for scene, even in zip(open_, _even(left, len(open_)), strict=True):
            taken = min(even, scene.frames - share[scene.name])
            share[scene.name] += taken
            left -= taken
    cuts = [Cut(scene, 0, share[scene.name]) for scene in scenes if share[scene.name]]
    made = sum(cut.frames for cut in cuts)
    return cuts if made == frames else [*cuts, *timeline(scenes, frames - made)]


def _even(whole: int, shares: int) -> list[int]:
    return [whole // shares + (number < whole % shares) for number in range(shares)]


def clip_argv(recipe: Recipe, found: Mapping[str, Path], sound: Path, seconds: float) -> list[str]:
    """The arguments but for the program and the output. Every frame of a scene is shown for 1/30 s: no frame is doubled."""
    scenes = [scene for scene in SCENES if scene.name in recipe.scenes and scene.name in found]
    cuts = timeline(scenes or [scene for scene in SCENES if scene.name in found], round(seconds * FPS))
    width, height = SIZE_PX
    argv, chains = [], []
    for number, cut in enumerate(cuts):
        argv += ["-i", str(found[cut.scene.name])]
        crop = f"crop={cut.scene.crop}," if cut.scene.crop else ""
        chains.append(
            f"[{number}:v:0]trim=start_frame={cut.first}:end_frame={cut.first + cut.frames},settb=1/{FPS},setpts=N,fps={FPS},"
            f"{crop}scale={width}:{height}:flags=lanczos,setsar=1,{recipe.after},format=yuv420p[c{number}]"
        )
    joined = "".join(f"[c{number}]" for number in range(len(cuts)))
    graph = ";".join([*chains, f"{joined}concat=n={len(cuts)}[v]"])
    argv += ["-stream_loop", "-1", "-i", str(sound), "-filter_complex", graph, "-map", "[v]", "-map", f"{len(cuts)}:a:0"]
    return [*argv, *recipe.encoding, "-frames:v", str(round(seconds * FPS)), "-t", f"{seconds:g}"]


def sound_argv(found: Mapping[str, Path]) -> list[str]:
    """Likewise for the sound of all scenes that have one; a tone where none is there."""
    paths = [found[scene.name] for scene in SCENES if scene.sound and scene.name in found]
    if not paths:
        return ["-f", "lavfi", "-i", "sine=f=330:d=20"]
    argv = [word for path in paths for word in ("-i", str(path))]
    chains = [
        f"[{number}:a:0]aresample=48000,aformat=channel_layouts=stereo,asetpts=N/SR/TB[s{number}]" for number in range(len(paths))
    ]
    joined = "".join(f"[s{number}]" for number in range(len(paths)))
    return [*argv, "-filter_complex", ";".join([*chains, f"{joined}concat=n={len(paths)}:v=0:a=1[a]"]), "-map", "[a]"]


async def make_source(name: str, seconds: float, *, cache: Path = CACHE) -> Path:
    """The clip of that name and length; made where it is not in the cache, or was made otherwise. Raises `BenchError`."""
    found = await anyio.to_thread.run_sync(fetch_scenes, cache / "footage")
    sound = cache / "sound.wav"
    if not await anyio.Path(sound).exists():
        await _make(sound_argv(found), sound)
    argv = clip_argv(RECIPES[name], found, sound, seconds)
    mark = hashlib.sha256("\0".join(argv).encode()).hexdigest()[:8]
    clip = cache / f"{name}-{seconds:g}s-{mark}.mp4"
    if not await anyio.Path(clip).exists():
        await _make(argv, clip)
    return clip


async def _make(argv: Sequence[str], to: Path) -> None:
    part = to.with_name(f"part-{to.name}")
    await run_ffmpeg(*argv, str(part))
    await anyio.Path(part).rename(to)
