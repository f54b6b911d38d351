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
_ESCAPED_RATE = 15
_CHANNELS = {7: 8, 11: 7, 12: 8, 14: 8}
"""Channel configurations of AAC that are not their own number (ISO/IEC 14496-3, table 1.19)."""


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


def audio_channels(kind: str, entry: bytes) -> int:
    """How many channels an audio sample entry has. Of AAC its configuration says so: the entry's own field is a constant 2 in
    what older versions of ffmpeg write."""
    if kind == "mp4a":
        _, specific = _audio_config(_box(dict(children(entry, AUDIO_ENTRY_BYTES)), "esds", 5)[4:])
        if specific and (channels := _aac_channels(specific)):
            return channels
    return int.from_bytes(entry[16:18], "big")


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


def _audio_config(descriptors: bytes) -> tuple[int, bytes]:
    """ISO/IEC 14496-1: in the ES descriptor the decoder config; its object type and its specific info."""
    tag, es, _ = _descriptor(descriptors)
    if tag != _ES or len(es) < 4:  # noqa: PLR2004 - id, flags, and something
        raise malformed("esds holds no ES descriptor")
    depends_on, url, clock = es[2] & 0x80, es[2] & 0x40, es[2] & 0x20
    skip = 3 + (2 if depends_on else 0)
    skip += 1 + (es[skip] if skip < len(es) else 0) if url else 0
    tag, config, _ = _descriptor(es[skip + (2 if clock else 0) :])
    if tag != _DECODER_CONFIG or len(config) < 13:  # noqa: PLR2004 - its fields
        raise malformed("esds holds no decoder configuration")
    if config[0] != _AAC_OBJECT_TYPE:
        return config[0], b""
    tag, specific, _ = _descriptor(config[13:])
    if tag != _DECODER_SPECIFIC or len(specific) < 2:  # noqa: PLR2004 - type, rate, channels
        raise malformed("esds holds no audio configuration")
    return config[0], specific


def _mpeg4_audio(descriptors: bytes) -> str:
    """The audio object type stands at the start of the specific info (ISO/IEC 14496-3, 1.6.2.1)."""
    kind, specific = _audio_config(descriptors)
    if not specific:
        return f"mp4a.{kind:02x}"
    object_type = specific[0] >> 3
    if object_type == _ESCAPED_AOT:
        object_type = 32 + ((specific[0] & 7) << 3 | specific[1] >> 5)
    return f"mp4a.40.{object_type}"


def _aac_channels(specific: bytes) -> int:
    """Behind the type (5 bits) and the index of the rate (4); 0 where either is escaped or the channels are described
    elsewhere."""
    if specific[0] >> 3 == _ESCAPED_AOT or (specific[0] & 7) << 1 | specific[1] >> 7 == _ESCAPED_RATE:
        return 0
    configuration = specific[1] >> 3 & 0xF
    return _CHANNELS.get(configuration, configuration if configuration <= 6 else 0)  # noqa: PLR2004 - 1 to 6 mean themselves


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
