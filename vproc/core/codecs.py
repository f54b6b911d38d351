"""Codec strings (RFC 6381) out of an MP4's sample entries: what CODECS in HLS and ``codecs`` in DASH say."""

from __future__ import annotations

from vproc.core.boxes import children, malformed

VISUAL_ENTRY_BYTES = 78
"""Fields of a visual sample entry before its boxes (ISO/IEC 14496-12, 12.1.3)."""
AUDIO_ENTRY_BYTES = 28
"""Fields of an audio sample entry before its boxes (12.2.3), of version 0."""

_ES, _DECODER_CONFIG, _DECODER_SPECIFIC = 3, 4, 5
_AAC_OBJECT_TYPE = 0x40
_ESCAPED_AOT = 31


def video_codec_string(kind: str, entry: bytes) -> str:
    """Of a visual sample entry of ``kind`` with the payload ``entry``. Raises `TransientError` ``output_invalid``."""
    boxes = dict(children(entry, VISUAL_ENTRY_BYTES))
    match kind:
        case "avc1" | "avc3":
            # Profile, compatibility and level, byte by byte.
            return f"{kind}.{_box(boxes, 'avcC', 4)[1:4].hex()}"
        case "hvc1" | "hev1":
            return _hevc(kind, _box(boxes, "hvcC", 13))
        case "av01":
            return _av1(_box(boxes, "av1C", 3))
        case "vp09":
            config = _box(boxes, "vpcC", 7)  # a full box: four bytes of version and flags first
            return f"vp09.{config[4]:02}.{config[5]:02}.{config[6] >> 4:02}"
    raise malformed(f"no codec string is known for {kind!r}")


def audio_codec_string(kind: str, entry: bytes) -> str:
    """Of an audio sample entry, likewise."""
    match kind:
        case "mp4a":
            return _mpeg4_audio(_box(dict(children(entry, AUDIO_ENTRY_BYTES)), "esds", 5)[4:])
        case "Opus":
            return "opus"
        case "fLaC" | "ac-3" | "ec-3":
            return kind
    raise malformed(f"no codec string is known for {kind!r}")


def _box(boxes: dict[str, bytes], kind: str, at_least: int) -> bytes:
    data = boxes.get(kind, b"")
    if len(data) < at_least:
        raise malformed(f"no {kind}, or a short one")
    return data


def _hevc(kind: str, config: bytes) -> str:
    """ISO/IEC 14496-15, annex E: profile, compatibility flags in reversed order, tier and level, constraints."""
    space = ("", "A", "B", "C")[config[1] >> 6]
    tier = "H" if config[1] & 0x20 else "L"
    flags = int(f"{int.from_bytes(config[2:6], 'big'):032b}"[::-1], 2)
    parts = [kind, f"{space}{config[1] & 0x1F}", f"{flags:X}", f"{tier}{config[12]}"]
    constraints = config[6:12].rstrip(b"\x00")
    return ".".join([*parts, *(f"{byte:X}" for byte in constraints)])


def _av1(config: bytes) -> str:
    """The AV1 ISOBMFF binding, section 5: profile, level and tier, bit depth."""
    profile, level = config[1] >> 5, config[1] & 0x1F
    tier, high, twelve = config[2] >> 7, config[2] >> 6 & 1, config[2] >> 5 & 1
    depth = 12 if high and twelve else 10 if high else 8
    return f"av01.{profile}.{level:02}{'H' if tier else 'M'}.{depth:02}"


def _mpeg4_audio(descriptors: bytes) -> str:
    """ISO/IEC 14496-1: ES descriptor, decoder config, and the audio object type at the start of the specific info."""
    tag, es, _ = _descriptor(descriptors)
    if tag != _ES or len(es) < 3:  # noqa: PLR2004 - id and flags
        raise malformed("esds holds no ES descriptor")
    skip = 3 + (2 if es[2] & 0x80 else 0) + (1 + es[3] if es[2] & 0x40 and len(es) > 3 else 0) + (2 if es[2] & 0x20 else 0)  # noqa: PLR2004
    tag, config, _ = _descriptor(es[skip:])
    if tag != _DECODER_CONFIG or len(config) < 13:  # noqa: PLR2004 - its fields
        raise malformed("esds holds no decoder configuration")
    if config[0] != _AAC_OBJECT_TYPE:
        return f"mp4a.{config[0]:02x}"
    tag, specific, _ = _descriptor(config[13:])
    if tag != _DECODER_SPECIFIC or len(specific) < 2:  # noqa: PLR2004 - type, rate, channels
        raise malformed("esds holds no audio configuration")
    object_type = specific[0] >> 3
    if object_type == _ESCAPED_AOT:
        object_type = 32 + ((specific[0] & 7) << 3 | specific[1] >> 5)
    return f"mp4a.40.{object_type}"


def _descriptor(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag, body and what follows. The length has seven bits to a byte."""
    if not data:
        return 0, b"", b""
    length, at = 0, 1
    while at < min(len(data), 5):
        byte = data[at]
        length, at = length << 7 | byte & 0x7F, at + 1
        if not byte & 0x80:
            break
    return data[0], data[at : at + length], data[at + length :]
