"""Small media of many kinds, and what becomes of them when bits flip, ends go missing and boxes lie about themselves.

Seeds are made by ffmpeg, once a session. A mutant follows from its number alone.
"""

from __future__ import annotations

import atexit
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.support.media import FFMPEG

_PICTURE = "-f lavfi -t 0.6 -i testsrc2=size=96x64:rate=15"
_TONE = "-f lavfi -t 0.6 -i sine=frequency=440:sample_rate=48000"
_X264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 5"
_BOTH = f"{_PICTURE} {_TONE}"

SEEDS = {
    "h264.mp4": f"{_BOTH} {_X264} -c:a aac",
    "frames.mp4": f"{_PICTURE} -c:v libx264 -preset veryfast -bf 3 -pix_fmt yuv420p",
    "faststart.mp4": f"{_BOTH} {_X264} -c:a aac -movflags +faststart",
    "fragments.mp4": f"{_BOTH} {_X264} -c:a aac -movflags +frag_keyframe+empty_moov",
    "h264.mov": f"{_BOTH} {_X264} -c:a pcm_s16le",
    "h264.mkv": f"{_BOTH} {_X264} -c:a flac",
    "live.mkv": f"{_BOTH} {_X264} -c:a aac -live 1",
    "h264.ts": f"{_BOTH} {_X264} -c:a aac",
    "h264.m2ts": f"{_BOTH} {_X264} -c:a ac3 -f mpegts -mpegts_m2ts_mode 1",
    "h264.flv": f"{_BOTH} {_X264} -c:a aac -ar 44100",
    "h264.avi": f"{_BOTH} {_X264} -c:a libmp3lame",
    "h264.3gp": f"{_BOTH} {_X264} -c:a aac",
    "hevc.mp4": f"{_BOTH} -c:v libx265 -preset ultrafast -x265-params log-level=error -pix_fmt yuv420p -c:a aac",
    "hevc10.mkv": f"{_PICTURE} -c:v libx265 -preset ultrafast -x265-params log-level=error -pix_fmt yuv420p10le",
    "av1.mp4": f"{_BOTH} -c:v libsvtav1 -preset 12 -c:a aac",
    "vp8.webm": f"{_BOTH} -c:v libvpx -deadline realtime -cpu-used 8 -c:a libvorbis",
    "vp9.webm": f"{_BOTH} -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus",
    "mpeg4.avi": f"{_BOTH} -c:v mpeg4 -q:v 5 -c:a libmp3lame",
    "mpeg4.mp4": f"{_BOTH} -c:v mpeg4 -q:v 5 -c:a aac",
    "mpeg2.mpg": f"{_BOTH} -c:v mpeg2video -r 25 -q:v 5 -c:a mp2",
    "mpeg2.ts": f"{_BOTH} -c:v mpeg2video -r 25 -q:v 5 -c:a mp2",
    "mpeg2.mxf": f"{_BOTH} -c:v mpeg2video -r 25 -q:v 5 -c:a pcm_s16le",
    "wmv2.wmv": f"{_BOTH} -c:v wmv2 -q:v 5 -c:a wmav2",
    "theora.ogv": f"{_BOTH} -c:v libtheora -q:v 5 -c:a libvorbis",
    "prores.mov": f"{_PICTURE} -c:v prores_ks -profile:v 0",
    "mjpeg.mov": f"{_PICTURE} -c:v mjpeg -pix_fmt yuvj420p",
    "ffv1.mkv": f"{_PICTURE} -c:v ffv1",
    "sound.mp3": f"{_TONE} -c:a libmp3lame",
    "sound.m4a": f"{_TONE} -c:a aac",
    "sound.wav": f"{_TONE} -c:a pcm_s16le",
    "sound.flac": f"{_TONE} -c:a flac",
    "sound.aac": f"{_TONE} -c:a aac",
    "sound.ogg": f"{_TONE} -c:a libvorbis",
}


@cache
def seed_folder() -> Path:
    """Where the seeds of this process lie."""
    folder = Path(tempfile.mkdtemp(prefix="vproc-seeds-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def seed(name: str) -> bytes:
    """One of `SEEDS`."""
    path = seed_folder() / name
    subprocess.run(
        [FFMPEG, "-v", "error", "-nostdin", "-y", *SEEDS[name].split(), "-bitexact", str(path)], check=True, capture_output=True
    )
    return path.read_bytes()


Mutation = Callable[[random.Random, bytearray], None]
_BOXES = re.compile(
    rb"ftyp|moov|mvhd|trak|tkhd|edts|elst|mdia|mdhd|hdlr|minf|dinf|dref|stbl|stsd|stts|ctts|stss|stsz|stsc|stco|avc1|avcC|hvcC|esds"
    rb"|mdat|moof|mfhd|traf|tfhd|tfdt|trun|sidx|udta|RIFF|LIST|strh|strf|idx1|fmt |data|OggS"
)
_ODD_SIZES = (0, 1, 7, 8, 9, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF)


def _flip(dice: random.Random, data: bytearray) -> None:
    for _ in range(dice.choice((1, 1, 4, 32, 256))):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _flip_in_the_head(dice: random.Random, data: bytearray) -> None:
    for _ in range(dice.randrange(1, 8)):
        data[dice.randrange(min(len(data), 600))] ^= 1 << dice.randrange(8)


def _truncate(dice: random.Random, data: bytearray) -> None:
    del data[dice.randrange(len(data)) :]


def _lie_about_a_size(dice: random.Random, data: bytearray) -> None:
    """The four bytes before a box's name, or those after it, which are often a count."""
    found = [match.start() for match in _BOXES.finditer(data)]
    if not found:
        _flip(dice, data)
        return
    for at in dice.sample(found, min(len(found), dice.choice((1, 1, 2)))):
        number = dice.choice((*_ODD_SIZES, dice.getrandbits(32), len(data), len(data) + 1))
        start = dice.choice((at - 4, at + 4, at + 8, at + 12))
        if 0 <= start <= len(data) - 4:
            data[start : start + 4] = number.to_bytes(4, dice.choice(("big", "big", "little")))


def _join(dice: random.Random, data: bytearray) -> None:
    """The head of one and the tail of another, or one behind the other."""
    other = seed(dice.choice(list(SEEDS)))
    if dice.random() < 0.5:
        del data[dice.randrange(len(data)) :]
        data += other[dice.randrange(len(other)) :]
    else:
        data += other


def _repeat(dice: random.Random, data: bytearray) -> None:
    start = dice.randrange(len(data))
    piece = data[start : start + dice.choice((1, 4, 188, 1000, 20_000))]
    at = dice.randrange(len(data))
    data[at:at] = piece * dice.choice((1, 2, 50))


def _cut_out(dice: random.Random, data: bytearray) -> None:
    start = dice.randrange(len(data))
    del data[start : start + dice.choice((1, 2, 4, 188, 1000))]


def _blank(dice: random.Random, data: bytearray) -> None:
    start = dice.randrange(len(data))
    length = min(len(data) - start, dice.choice((4, 64, 1000, 10_000)))
    data[start : start + length] = dice.choice((b"\x00", b"\xff", dice.randbytes(1))) * length


MUTATIONS: tuple[Mutation, ...] = (
    _flip, _flip_in_the_head, _truncate, _lie_about_a_size, _lie_about_a_size, _join, _repeat, _cut_out, _blank,
)  # fmt: skip


def mutant(number: int) -> tuple[str, bytes]:
    """What it is called, and what it is: every seed in turn, changed once or a few times."""
    dice = random.Random(number)
    name = list(SEEDS)[number % len(SEEDS)]
    data = bytearray(seed(name))
    done = []
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        mutation = dice.choice(MUTATIONS)
        mutation(dice, data)
        done.append(mutation.__name__.strip("_"))
        if not data:
            data += b"\x00"
    return f"{number}: {name}, {', '.join(done)}", bytes(data)
