"""Small clips with subtitles of every kind, made once a run: texts of every container, pictures, and captions inside the pictures
of the video (CEA-608), which no encoder at hand writes."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.media import FFMPEG, clip, scratch

SRT = """1
00:00:00,500 --> 00:00:01,000
<i>Hello</i> <script>alert(1)</script> & {\\an8}world

2
00:00:01,200 --> 00:00:01,800
Second --> line
two lines

"""
ASS = """[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, Bold, Italic, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV
Style: Default,Arial,20,&H00FFFFFF,0,0,1,2,2,2,10,10,10
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.50,0:00:01.50,Default,,0,0,0,,{\\pos(10,10)\\b1}Bold{\\b0} and\\Nline
Dialogue: 1,0:00:00.50,0:00:01.50,Default,,0,0,0,,{\\pos(10,10)\\b1}Bold{\\b0} and\\Nline
Dialogue: 0,0:00:00.60,0:00:01.00,Default,,0,0,0,,{\\p1}m 0 0 l 10 0 10 10 0 10{\\p0}
Dialogue: 0,0:00:01.00,0:00:09.00,Default,,0,0,0,,Too long
"""
LANGUAGES = "-metadata:s:s:0 language=eng -metadata:s:s:1 language=fre -disposition:s:0 0"

# CEA-608, field 1: resume caption loading, a row, letters (odd parity), end of caption; erase displayed memory.
_WORDS = {15: "9420 9420 9470 9470 c8e5 ecec ef80 942f 942f", 45: "942c 942c"}
LINE_21_TEXT = "Hello"
"""What the captions in the pictures say, from frame 23 to frame 45 of 30 a second."""


_EMPTY_SRT = "1\n00:00:00,500 --> 00:00:01,000\n<i> </i>\n"
_TWO = "-i {film} -i {a.srt} -i {a.ass} -map 0 -map 1 -map 2 -c copy -metadata:s:s:0 language=eng -metadata:s:s:1 language=fre"

# name -> arguments; what stands in braces is a clip or a file of `_made`
_CLIPS = {
    "texts.mkv": f"{_TWO} -c:s:0 srt -c:s:1 ass -disposition:s:0 0 -disposition:s:1 default+forced -metadata:s:s:1 title=Signs",
    "texts.mp4": f"{_TWO} -c:s mov_text",
    "conforming-texts.mp4": "-i {conforming} -i {a.srt} -map 0 -map 1 -c copy -c:s mov_text -metadata:s:s:0 language=eng",
    "texts.webm": "-i {vp9} -i {a.srt} -map 0 -map 1 -c copy -c:s webvtt -metadata:s:s:0 language=eng",
    "late-texts.mkv": "-itsoffset 5 -i {texts.mkv} -map 0 -c copy",
    "silent-texts.mkv": "-i {film} -i {empty.srt} -map 0 -map 1 -c copy -c:s srt",
    "discs.mkv": "-i {film} -i {a.sup} -i {a.srt} -map 0 -map 1 -map 2 -c copy -metadata:s:s:1 language=eng",
    "eia608.mov": "-i {film} -i {a.scc} -map 0 -map 1 -c copy",
    "line21.mp4": "-r 30 -i {line21.h264} -i {film} -map 0:v -map 1:a -c copy",
    "line21-late.ts": "-itsoffset 0.5 -i {line21.mp4} -i {film} -map 0:v -map 1:a -c copy",
    "line21-padding.mp4": "-r 30 -i {padding.h264} -c copy",
}


@cache
def subtitled(name: str) -> Path:
    """The clip of that name. Don't change it."""
    path = scratch() / name
    arguments = [_filled(word) for word in _CLIPS[name].split()]
    made = subprocess.run([FFMPEG, "-nostdin", "-v", "error", "-y", *arguments, str(path)], check=False, capture_output=True)
    if made.returncode != 0:
        raise AssertionError(f"{name} could not be made: {made.stderr.decode()}")
    return path


def _filled(word: str) -> str:
    name = word[1:-1] if word.startswith("{") else ""
    if not name:
        return word
    if name in _CLIPS:
        return str(subtitled(name))
    films = {"film": "short.mp4", "vp9": "vp9.webm", "conforming": "conforming-cuts.mp4"}
    return str(clip(films[name]) if name in films else _made(name))


@cache
def _made(name: str) -> Path:
    match name:
        case "a.sup":
            return _sup()
        case "line21.h264" | "padding.h264":
            return _with_line21(name)
    return _text(name, {"a.srt": SRT, "a.ass": ASS, "empty.srt": _EMPTY_SRT, "a.scc": _scc()}[name])


def _text(name: str, text: str) -> Path:
    path = scratch() / name
    path.write_text(text)
    return path


def _scc() -> str:
    """The same words as a file of captions; at 29.97 a second."""
    lines = [f"00:00:{frame // 30:02}:{frame % 30:02}\t{words}" for frame, words in _WORDS.items()]
    return "\n\n".join(["Scenarist_SCC V1.0", *lines]) + "\n"


def _sup() -> Path:
    """A Blu-ray subtitle of one line of eight pixels."""

    def segment(kind: int, body: bytes, at_s: float) -> bytes:
        return b"PG" + struct.pack(">IIBH", round(at_s * 90000), 0, kind, len(body)) + body

    shown = struct.pack(">HHBHBBBB", 640, 360, 0x10, 0, 0x80, 0, 0, 1) + struct.pack(">HBBHH", 0, 0, 0, 10, 10)
    hidden = struct.pack(">HHBHBBBB", 640, 360, 0x10, 1, 0, 0, 0, 0)
    window = struct.pack(">BBHHHH", 1, 0, 10, 10, 8, 1)
    pixels = bytes([1] * 8) + b"\x00\x00"
    picture = struct.pack(">HBB", 0, 0, 0xC0) + (len(pixels) + 4).to_bytes(3, "big") + struct.pack(">HH", 8, 1) + pixels
    parts = [(0x16, shown), (0x17, window), (0x14, bytes([0, 0, 1, 235, 128, 128, 255])), (0x15, picture), (0x80, b"")]
    data = b"".join(segment(kind, body, 0.5) for kind, body in parts)
    data += b"".join(segment(kind, body, 1.5) for kind, body in ((0x16, hidden), (0x17, window), (0x80, b"")))
    path = scratch() / "a.sup"
    path.write_bytes(data)
    return path


def _with_line21(name: str) -> Path:
    """Raw H.264 with a pair of CEA-608 in front of each picture, which may be padding only."""
    bare, path, silent = scratch() / "bare.h264", scratch() / name, name.startswith("padding")
    source = ["-f", "lavfi", "-t", "2", "-i", "testsrc2=size=320x180:rate=30"]
    codec = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-x264-params", "slices=1:keyint=30", "-pix_fmt", "yuv420p"]
    subprocess.run([FFMPEG, "-nostdin", "-v", "error", "-y", *source, *codec, "-f", "h264", str(bare)], check=True)
    pairs = {frame + number: bytes.fromhex(word) for frame, words in _WORDS.items() for number, word in enumerate(words.split())}
    frame, data = 0, b""
    for unit in _units(bare.read_bytes()):
        if unit[0] & 0x1F in {1, 5}:
            data += b"\0\0\0\1" + _sei(b"\x80\x80" if silent else pairs.get(frame, b"\x80\x80"))
            frame += 1
        data += b"\0\0\0\1" + unit
    path.write_bytes(data)
    return path


def _units(stream: bytes) -> Iterator[bytes]:
    """The NAL units of a byte stream (ITU-T H.264, annex B)."""
    for part in stream.split(b"\0\0\1")[1:]:
        yield part.rstrip(b"\0")


def _sei(pair: bytes) -> bytes:
    """A NAL unit of supplemental information: ATSC A/53's `cc_data` of one pair of field 1."""
    message = b"\xb5\x00\x31GA94\x03\x41\xff\xfc" + pair + b"\xff"
    return bytes([6, 4, len(message)]) + message + b"\x80"
