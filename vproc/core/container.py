"""Which container a file is, from its first bytes. Names and content types are the uploader's word and play no part."""

from __future__ import annotations

from enum import StrEnum

from vproc.errors import ErrorCode, RejectedError

HEAD_BYTES = 65536
"""How much of a file `sniff` wants to see."""


class Container(StrEnum):
    """A container that is taken, by the name of ffmpeg's demuxer."""

    MOV = "mov"
    MATROSKA = "matroska"
    AVI = "avi"
    MPEGTS = "mpegts"
    MPEG = "mpeg"
    FLV = "flv"
    ASF = "asf"
    MXF = "mxf"
    OGG = "ogg"
    WAV = "wav"
    MP3 = "mp3"
    AAC = "aac"
    FLAC = "flac"


_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_MXF_PARTITION = bytes.fromhex("060e2b34020501010d010201")
_MXF_RUN_IN_BYTES = 65536  # SMPTE ST 377-1: bytes that may stand before the header partition

_STARTS = (
    (b"\x1a\x45\xdf\xa3", Container.MATROSKA),
    (b"FLV\x01", Container.FLV),
    (_ASF_HEADER, Container.ASF),
    (b"OggS", Container.OGG),
    (b"fLaC", Container.FLAC),
    (b"\x00\x00\x01\xba", Container.MPEG),
)
_ATOMS = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp"})
_STILL_BRANDS = frozenset({b"heic", b"heix", b"mif1", b"avif"})

_TS_PACKETS = ((188, 0), (192, 4), (204, 0))
"""Length of a transport stream's packet and where its sync byte stands: plain, M2TS (a timecode before), with FEC behind."""
_TS_RUN = 5

# What is recognisably something else, said in words. Text forms are dangerous ones: ffmpeg would follow what they name.
_OTHERS = (
    (b"#EXTM3U", "an HLS playlist"),
    (b"ffconcat", "a list of other files"),
    (b"[playlist]", "a playlist"),
    (b"v=0", "a session description"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"<mpd", "a DASH manifest"),
    (b"<?xml", "an XML document"),
    (b"{", "a JSON document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)


def sniff(head: bytes) -> Container:
    """The container of a file whose first `HEAD_BYTES` (or all, where it is shorter) are ``head``.

    Raises `RejectedError` ``unsupported_media`` that says what it looks like instead, where that can be told.
    """
    if not head:
        raise RejectedError(ErrorCode.UNSUPPORTED_MEDIA, "the file is empty")
    container = _by_start(head) or _mxf(head) or _transport_stream(head) or _audio_frames(head)
    if container is not None:
        return container
    raise RejectedError(ErrorCode.UNSUPPORTED_MEDIA, f"not a media container that is taken: {_describe(head)}")


def _by_start(head: bytes) -> Container | None:
    if head[4:8] in _ATOMS:
        if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
            raise RejectedError(ErrorCode.UNSUPPORTED_MEDIA, "not a video: it looks like a still picture (HEIC or AVIF)")
        return Container.MOV
    if head[:4] in (b"RIFF", b"RF64"):
        return {b"AVI ": Container.AVI, b"WAVE": Container.WAV}.get(head[8:12])
    return next((container for start, container in _STARTS if head.startswith(start)), None)


def _mxf(head: bytes) -> Container | None:
    return Container.MXF if _MXF_PARTITION in head[: _MXF_RUN_IN_BYTES + len(_MXF_PARTITION)] else None


def _transport_stream(head: bytes) -> Container | None:
    """Sync bytes at a packet's distance, from any offset within the first packet: a capture may begin inside one."""
    for length, sync in _TS_PACKETS:
        for first in range(sync, sync + length):
            syncs = head[first::length]
            if len(syncs) >= _TS_RUN and not syncs[:_TS_RUN].strip(b"\x47"):
                return Container.MPEGTS
    # A clip of a few packets: every one that there is.
    if len(head) >= _TS_PACKETS[0][0] and not head[:: _TS_PACKETS[0][0]].strip(b"\x47"):
        return Container.MPEGTS
    return None


def _audio_frames(head: bytes) -> Container | None:
    """Bare MP3, ADTS or FLAC, which may stand behind an ID3 tag."""
    body, tagged = head, head.startswith(b"ID3") and len(head) >= 10  # noqa: PLR2004 - an ID3 header's length
    if tagged:
        size = (head[6] & 0x7F) << 21 | (head[7] & 0x7F) << 14 | (head[8] & 0x7F) << 7 | head[9] & 0x7F
        body = head[10 + size :]
    if body.startswith(b"fLaC"):
        return Container.FLAC
    if len(body) > 1 and body[0] == 0xFF:  # noqa: PLR2004 - the frame sync of both
        if body[1] & 0xF6 == 0xF0:  # noqa: PLR2004 - ADTS: layer 0
            return Container.AAC
        if body[1] & 0xE0 == 0xE0 and body[1] & 0x06 != 0 and body[1] & 0x18 != 0x08:  # noqa: PLR2004 - MPEG audio
            return Container.MP3
    return Container.MP3 if tagged and not body else None


def _describe(head: bytes) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, what in _OTHERS:
        if text[: len(start)].lower() == start.lower():
            return f"it looks like {what}"
    if not head.strip(b"\x00"):
        return "it begins with nothing but zero bytes"
    if all(byte >= ord(" ") or byte in b"\t\r\n" for byte in head[:512]):
        return "it looks like a text"
    return "its first bytes are of no known kind"
