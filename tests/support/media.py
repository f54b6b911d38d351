"""Small real clips, made by ffmpeg once a session and kept by name. Each is two to six seconds of moving picture with sound.

Clips are made, and results looked at, by the system's ffmpeg (`FFMPEG`, `FFPROBE`); what is tested runs with the pair that is
`in_use`.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from tests.support.tools import GENERATIONS, SYSTEM, Tools, in_use
from vproc.core.allowlist import file_url
from vproc.core.command import make_plan
from vproc.core.container import HEAD_BYTES, sniff
from vproc.core.fmp4 import TrackIndex, index_track
from vproc.core.grid import KeyGrid, segmented
from vproc.core.look import holds_packets, packet_argv, pictures_argv, wants_pictures, with_pictures, without_streams
from vproc.core.media import MediaInfo, MediaLimits
from vproc.core.needs import choose_build, needs_of
from vproc.core.plan import Plan
from vproc.core.probe import ffprobe_argv, parse_probe, probe_failure
from vproc.core.profile import Profile
from vproc.core.progress import ProgressParser
from vproc.profiles import builtin_profile

FFMPEG, FFPROBE = SYSTEM.ffmpeg, SYSTEM.ffprobe

LIMITS = MediaLimits(max_duration_s=6 * 3600, max_pixels=8192 * 4320)

# Each with some noise, so that an encoder has work and rates are not absurd.
_LIFE = "life=size={size}:rate={rate}:mold=10:ratio=0.1:death_color=#403020:life_color=#e0d090"
_TEST = "testsrc2=size={size}:rate={rate},noise=alls=8:allf=t"
_MANDEL = "mandelbrot=size={size}:rate={rate}"
_SINE = "sine=frequency=440:sample_rate=48000"

_X264 = "-c:v libx264 -preset ultrafast -crf 26 -pix_fmt yuv420p"
_AAC = "-c:a aac -b:a 96k"


def _made(source: str, seconds: float, codecs: str, *, size: str = "640x360", rate: str = "30", sound: str | None = _SINE) -> str:
    """Arguments for a clip out of ffmpeg's own pictures and a tone. Of `sound` None there is none."""
    picture = source.format(size=size, rate=rate)
    tone = f"-f lavfi -t {seconds} -i {sound}" if sound else ""
    return f"-f lavfi -t {seconds} -i {picture} {tone} {codecs}"


# name with its suffix -> arguments between `ffmpeg -y` and the output; `{name}` is the path of another clip
_CLIPS = {
    "hd.mp4": _made(_TEST, 6, f"{_X264} {_AAC} -ac 2", size="1920x1080"),
    "main.mp4": _made(_MANDEL, 6, f"{_X264} {_AAC} -ac 2", size="1280x720"),
    "short.mp4": _made(_TEST, 2, f"{_X264} {_AAC}"),
    "second.mp4": _made(_TEST, 1, f"{_X264} {_AAC}"),
    "hevc10.mp4": _made(_TEST, 2, f"-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -x265-params log-level=error {_AAC}"),
    "yuv422.mkv": _made(_TEST, 2, "-c:v libx264 -preset ultrafast -pix_fmt yuv422p10le -c:a flac"),
    "vp9.webm": _made(_LIFE, 2, "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus", size="480x480"),
    "vp8.webm": _made(_LIFE, 2, "-c:v libvpx -deadline realtime -cpu-used 8 -c:a libvorbis", size="320x240"),
    "av1.mp4": _made(_TEST, 2, f"-c:v libsvtav1 -preset 12 {_AAC}"),
    "xvid.avi": _made(_TEST, 2, "-c:v mpeg4 -q:v 5 -c:a libmp3lame"),
    "h264.avi": _made(_TEST, 2, f"{_X264} -bf 2 -c:a libmp3lame"),
    "h264.ts": _made(_TEST, 3, f"{_X264} {_AAC} -f mpegts"),
    "h264.m2ts": _made(_TEST, 3, f"{_X264} -c:a ac3 -f mpegts -mpegts_m2ts_mode 1"),
    "h264.flv": _made(_TEST, 2, f"{_X264} {_AAC}"),
    "wmv2.wmv": _made(_TEST, 2, "-c:v wmv2 -q:v 5 -c:a wmav2"),
    "mpeg2.mpg": _made(_TEST, 2, "-c:v mpeg2video -q:v 5 -c:a mp2"),
    "mpeg2.mxf": _made(_TEST, 2, "-c:v mpeg2video -q:v 5 -pix_fmt yuv420p -c:a pcm_s16le", rate="25"),
    "theora.ogv": _made(_TEST, 2, "-c:v libtheora -q:v 5 -c:a libvorbis"),
    "prores.mov": _made(_TEST, 1, "-c:v prores_ks -profile:v 0 -c:a pcm_s16le"),
    "silent.mp4": _made(_TEST, 2, _X264, sound=None),
    "sound.m4a": f"-f lavfi -t 3 -i {_SINE} {_AAC}",
    "sound.wav": f"-f lavfi -t 3 -i {_SINE} -c:a pcm_s16le",
    "sound.mp3": f"-f lavfi -t 3 -i {_SINE} -c:a libmp3lame",
    "mono.mp4": _made(_TEST, 2, f"{_X264} {_AAC} -ac 1"),
    "surround.mp4": _made(_TEST, 2, f"{_X264} {_AAC} -ac 6"),
    "seven.mkv": _made(_TEST, 2, f"{_X264} -c:a flac -ac 8 -ar 96000"),
    "odd.mkv": _made(_TEST, 2, "-vf scale=641:359,setsar=1 -c:v ffv1 -pix_fmt yuv444p -c:a pcm_s16le"),
    "tiny.mp4": _made(_TEST, 2, f"{_X264} {_AAC}", size="64x64"),
    "small.mp4": _made(_TEST, 2, f"{_X264} {_AAC}", size="240x320"),
    "slow.mp4": _made(_TEST, 6, f"{_X264} {_AAC}", rate="1"),
    "fast.mp4": _made(_TEST, 2, f"{_X264} {_AAC}", rate="120"),
    "film.mp4": _made(_TEST, 5, f"{_X264} {_AAC}", rate="24000/1001"),
    "anamorphic.mp4": _made(_TEST, 2, f"-vf setsar=64/45 {_X264} {_AAC}", size="720x576", rate="25"),
    "interlaced.ts": _made(
        _TEST, 2, f"-vf tinterlace=interleave_top,setfield=tff -c:v mpeg2video -flags +ilme+ildct -q:v 4 {_AAC}", rate="50"
    ),
    "vfr.mp4": _made(
        _TEST, 6, f"-vf select='not(mod(n\\,3))+gt(mod(n\\,20)\\,14)' -fps_mode vfr -enc_time_base 1:90000 {_X264} {_AAC}"
    ),
    "longer-sound.mp4": f"-i {{silent.mp4}} -f lavfi -t 4 -i {_SINE} -c:v copy {_AAC}",
    "shorter-sound.mp4": f"-i {{main.mp4}} -f lavfi -t 3 -i {_SINE} -map 0:v -map 1:a -c:v copy {_AAC}",
    "late-sound.mp4": "-i {short.mp4} -itsoffset 0.7 -i {short.mp4} -map 0:v -map 1:a -c copy",
    "late-video.mp4": "-itsoffset 0.7 -i {short.mp4} -i {short.mp4} -map 0:v -map 1:a -c copy",
    "two-tracks.mkv": (
        f"-i {{short.mp4}} -f lavfi -t 2 -i sine=frequency=880 -map 0:v -map 1:a -map 0:a -c:v copy {_AAC} -ac:a:0 1 -ac:a:1 2"
        " -disposition:a:0 0 -disposition:a:1 default -metadata:s:a:0 language=deu -metadata:s:a:1 language=eng"
    ),
    "cover.jpg": "-f lavfi -i testsrc=size=600x600 -frames:v 1 -update 1",
    "cover.mp4": "-i {short.mp4} -i {cover.jpg} -map 1:v -map 0 -c copy -disposition:v:0 attached_pic",
    "rotated.mp4": "-i {main.mp4} -c copy -metadata:s:v:0 rotate=90",
    "titled.mp4": (
        "-i {short.mp4} -c copy -metadata title=Secret -metadata location=+48.8577+002.295/ -metadata:s:a:0 language=fra"
    ),
    "moov-last.mov": "-i {main.mp4} -c copy",
    "pyramid.mp4": _made(_TEST, 4, f"-c:v libx264 -preset veryfast -bf 3 -g 24 -pix_fmt yuv420p {_AAC}", size="320x180"),
    "open-gop.mp4": _made(
        _TEST, 3, "-c:v libx264 -preset veryfast -bf 3 -g 24 -x264-params open-gop=1 -pix_fmt yuv420p", size="320x180", sound=None
    ),
    "pyramid.mov": "-i {pyramid.mp4} -c copy -video_track_timescale 1000",
    "cut.mp4": "-ss 0.5 -i {pyramid.mp4} -c copy",
    "faststart.mp4": "-i {pyramid.mp4} -c copy -movflags +faststart",
    "steady.mp4": _made(_TEST, 20, f"{_X264} {_AAC} -movflags +faststart", size="320x180"),
    "steady.mkv": "-i {steady.mp4} -c copy",
    "steady.flv": "-i {steady.mp4} -c copy",
    "steady.ts": "-i {steady.mp4} -c copy",
    "rest.mp4": _made(_TEST, 8.1, f"{_X264} {_AAC}", size="960x720"),
    "sparse.mp4": _made("testsrc2=size={size}:rate={rate}", 610, f"{_X264} -g 9999", size="64x64", rate="2", sound=None),
    "sparse.mkv": "-i {sparse.mp4} -c copy",
    "main.mkv": "-i {main.mp4} -c copy",
    "one.mp4": "-i {silent.mp4} -frames:v 1 -c copy",
    "one.mkv": "-i {silent.mp4} -frames:v 1 -c copy",
    "live.webm": "-i {vp9.webm} -c copy -live 1",
    "gop10.mp4": _made(_TEST, 6, f"{_X264} -g 300 {_AAC}"),
    "long-film.mp4": _made(
        _TEST, 12, f"-c:v libx264 -preset ultrafast -b:v 1500k -pix_fmt yuv420p -g 300 {_AAC}", size="480x270"
    ),
    "long-film.mkv": "-i {long-film.mp4} -c copy",
    "long-film.ts": "-i {long-film.mp4} -c copy",
    "conforming.mp4": _made(
        _TEST, 9, "-c:v libx264 -preset ultrafast -profile:v high -b:v 600k -maxrate 700k -bufsize 700k -bf 2 -g 60"
        f" -keyint_min 60 -sc_threshold 0 -pix_fmt yuv420p {_AAC}"
    ),
    "conforming-cuts.mp4": _made(
        _MANDEL, 9, "-c:v libx264 -preset ultrafast -profile:v high -crf 36 -maxrate 2500k -bufsize 2500k -bf 2 -x264-params"
        f" keyint=200:min-keyint=10:force-cfr=1 -force_key_frames 0,0.7,2.5,3.1,6,7.5 -pix_fmt yuv420p {_AAC}", size="1280x720"
    ),
    "recovery-points.mp4": _made(
        _TEST, 6, "-c:v libx264 -preset ultrafast -profile:v high -b:v 600k -maxrate 700k -bufsize 700k -bf 0 -x264-params"
        f" keyint=60:min-keyint=60:scenecut=0:intra-refresh=1 -pix_fmt yuv420p {_AAC}"
    ),
    "flash.mp4": (
        "-f lavfi -i color=black:s=640x360:r=30:d=3,drawbox=c=white:t=fill:enable='between(t\\,1\\,1.2)'"
        " -f lavfi -i aevalsrc=if(between(t\\,1\\,1.2)\\,sin(2*PI*1000*t)\\,0):s=48000:d=3"
        f" {_X264} {_AAC}"
    ),
    "long.mp4": _made("testsrc2=size={size}:rate={rate}", 610, f"{_X264} -g 15", size="64x64", rate="2", sound=None),
    "magic.mkv": _made("testsrc2=size={size}:rate={rate}", 0.2, "-c:v magicyuv -pix_fmt yuv420p", size="320x240", sound=None),
    "jpeg-range.mov": _made(_TEST, 1, "-c:v mjpeg -q:v 5 -pix_fmt yuvj420p -c:a pcm_s16le"),
    "rgb.mkv": _made(_TEST, 1, "-c:v ffv1 -pix_fmt bgr0 -c:a pcm_s16le"),
}  # fmt: skip


@cache
def clip(name: str) -> Path:
    """The clip of that name, made at the first call. Don't change it: copy it first. `KeyError` for an unknown name.

    The processes of one run (pytest-xdist) share them; the directory goes when the last one ends.
    """
    path = _directory() / name
    arguments = _CLIPS[name]
    for other in _CLIPS:
        if f"{{{other}}}" in arguments:
            arguments = arguments.replace(f"{{{other}}}", str(clip(other)))
    with _locked(path.with_name(f"{name}.lock")):
        if path.exists():
            return path
        unfinished = path.with_name(f"unfinished-{name}")
        command = [FFMPEG, "-nostdin", "-v", "error", "-y", *_words(arguments), str(unfinished)]
        made = subprocess.run(command, check=False, capture_output=True, text=True)
        if made.returncode != 0:
            raise AssertionError(f"{name} could not be made: {made.stderr}")
        unfinished.rename(path)
    return path


@cache
def truncated(name: str, share: float) -> Path:
    """The first ``share`` (0 to 1) of a clip's bytes."""
    data = clip(name).read_bytes()
    path = _own_directory() / f"cut-{share}-{name}"
    path.write_bytes(data[: int(len(data) * share)])
    return path


def scratch() -> Path:
    """A folder of this process for what is made of clips."""
    return _own_directory()


def clip_names() -> tuple[str, ...]:
    """Every clip that can be made."""
    return tuple(_CLIPS)


def probe(path: Path, *, packets: bool = False) -> MediaInfo:
    """Probe a file as the daemon does: container from its bytes, whitelists, our parser. Raises what the daemon would."""
    with path.open("rb") as file:
        container = sniff(file.read(HEAD_BYTES))
    argv = ffprobe_argv(in_use().ffprobe, path, container, max_pixels=LIMITS.max_pixels, packets=packets)
    done = subprocess.run(argv, check=False, capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise probe_failure(done.returncode, done.stderr.decode())
    return parse_probe(done.stdout)


def examine(path: Path) -> MediaInfo:
    """A source as the daemon takes it: `probe`, and second looks where that leaves something open."""
    info = probe(path, packets=True)
    place = (in_use().ffprobe, path, info.container)

    def look(argv: Sequence[str]) -> bytes:
        return subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout

    empty = [index for index in info.unseen if not holds_packets(look(packet_argv(*place, index, max_pixels=LIMITS.max_pixels)))]
    if empty:
        info = without_streams(info, empty)
    if info.video is not None and wants_pictures(info.video):
        said = look(pictures_argv(*place, info.video.index, max_pixels=LIMITS.max_pixels))
        info = replace(info, video=with_pictures(info.video, said))
    return info


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encode that ended, however it did."""

    info: MediaInfo
    plan: Plan
    returncode: int
    stderr: str
    progress: ProgressParser

    def path(self, rendition: str) -> Path:
        """The file of that rendition."""
        return next(output.path for output in self.plan.outputs if output.rendition == rendition)

    def probe(self, rendition: str) -> MediaInfo:
        """That file, probed."""
        return probe(self.path(rendition))


def encode(source: Path, profile: str | Profile, out_dir: Path, *, limits: MediaLimits = LIMITS) -> Encoded:
    """Run a profile's command lines on a file, with the pair that is in use, or with the other where that cannot, as the daemon
    does."""
    info = examine(source)
    made_of = builtin_profile(profile) if isinstance(profile, str) else profile
    pairs = [in_use(), *(tools for tools in GENERATIONS if tools != in_use())]
    fit = pairs[choose_build(needs_of(info, made_of), [tools.capabilities for tools in pairs])]
    plan = make_plan(info, made_of, ffmpeg=fit.ffmpeg, source=source, out_dir=out_dir, limits=limits, threads=2)
    for file in plan.files:
        file.path.write_bytes(file.content())
    done = subprocess.run(plan.argv, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if plan.sheets_argv and done.returncode == 0:
        sheets = subprocess.run(plan.sheets_argv, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert (sheets.returncode, sheets.stderr) == (0, "")
    if plan.thumbs is not None:
        plan.thumbs.unlink(missing_ok=True)
    progress = ProgressParser(plan.duration_s, fps=plan.fps)
    for line in done.stdout.splitlines():
        progress.feed(line)
    return Encoded(info, plan, done.returncode, done.stderr, progress)


def encoded(name: str, profile: str) -> Encoded:
    """A clip by a profile, encoded once a session with each pair. Don't change its files."""
    return _encoded(name, profile, in_use())


@cache
def _encoded(name: str, profile: str, tools: Tools) -> Encoded:
    out_dir = _own_directory() / f"{name}-{profile}-{tools.name}"
    out_dir.mkdir()
    return encode(clip(name), profile, out_dir)


GRID = KeyGrid(4, 1)


def index(path: Path, grid: KeyGrid = GRID) -> TrackIndex:
    """The index of a fragmented file, its fragments joined to segments."""
    data = path.read_bytes()
    return segmented(index_track(lambda offset, size: data[offset : offset + size], len(data)), grid)


def packets(path: Path, stream: str) -> list[dict[str, str]]:
    """ffprobe's packets of ``v:0`` or ``a:0``: pts_time, dts_time, duration_time, flags."""
    argv = [FFPROBE, "-v", "error", "-select_streams", stream, "-show_entries", "packet=pts_time,dts_time,duration_time,flags"]
    done = subprocess.run([*argv, "-of", "compact=p=0", file_url(path)], check=True, capture_output=True, text=True)
    rows = (line.rstrip("|").split("|") for line in done.stdout.splitlines() if line)
    return [dict(pair.split("=", 1) for pair in row if "=" in pair) for row in rows]


def _words(arguments: str) -> list[str]:
    return arguments.replace("'", "").split()


@cache
def _own_directory() -> Path:
    return Path(tempfile.mkdtemp(dir=_directory()))


@cache
def _directory() -> Path:
    """This run's, in which all of its processes find the same clips."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"alone-{os.getpid()}"
    path = Path(tempfile.gettempdir()) / f"vproc-clips-{run}"
    path.mkdir(exist_ok=True)
    held = (path / "held").open("w")
    fcntl.flock(held, fcntl.LOCK_SH)

    def leave() -> None:
        fcntl.flock(held, fcntl.LOCK_UN)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another process is still there, and will do it
        shutil.rmtree(path, ignore_errors=True)

    atexit.register(leave)
    return path


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone, among the processes of this run, within the block."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
