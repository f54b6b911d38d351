"""Codec strings out of sample entries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import AVCC, ESDS, box, full
from vproc.core.codecs import audio_channels, audio_codec_string, video_codec_string
from vproc.errors import TransientError

VISUAL, SOUND = bytes(78), bytes(28)


@pytest.mark.parametrize(
    ("kind", "config", "codecs"),
    [
        ("avc1", AVCC, "avc1.64001f"),
        ("avc3", box("avcC", bytes([1, 0x42, 0xC0, 0x0D])), "avc3.42c00d"),
        ("hvc1", box("hvcC", bytes.fromhex("0101600000009000000000005d") + bytes(10)), "hvc1.1.6.L93.90"),
        ("hev1", box("hvcC", bytes.fromhex("01222000000 0b0000000000099".replace(" ", "")) + bytes(10)), "hev1.2.4.H153.B0"),
        ("hvc1", box("hvcC", bytes.fromhex("0141600000000000000000005d") + bytes(10)), "hvc1.A1.6.L93"),
        ("av01", box("av1C", bytes([0x81, 0x08, 0x0C, 0])), "av01.0.08M.08"),
        ("av01", box("av1C", bytes([0x81, 0x2D, 0xE0, 0])), "av01.1.13H.12"),
        ("av01", box("av1C", bytes([0x81, 0x05, 0x40, 0])), "av01.0.05M.10"),
        ("vp09", full("vpcC", bytes([0, 31, 0x82, 2, 2, 2, 0, 0])), "vp09.00.31.08"),
    ],
)
def test_a_video_entry_says_its_profile_and_level(kind: str, config: bytes, codecs: str) -> None:
    assert video_codec_string(kind, VISUAL + box("pasp", bytes(8)) + config) == codecs


def descriptor(tag: int, *body: bytes, long: bool = False) -> bytes:
    data = b"".join(body)
    return bytes([tag, *([0x80, 0x80, 0x80] if long else []), len(data)]) + data


def esds(object_type: int, specific: bytes, *, flags: int = 0, extra: bytes = b"", long: bool = False) -> bytes:
    config = descriptor(4, bytes([object_type]), bytes(12), descriptor(5, specific, long=long) if specific else b"", long=long)
    return full("esds", descriptor(3, bytes([0, 1, flags]), extra, config, long=long))


@pytest.mark.parametrize(
    ("config", "codecs"),
    [
        (ESDS, "mp4a.40.2"),
        (esds(0x40, b"\x11\x90"), "mp4a.40.2"),
        (esds(0x40, b"\x2b\x92", long=True), "mp4a.40.5"),
        (esds(0x40, b"\xf9\x4c\x20"), "mp4a.40.42"),
        (esds(0x6B, b""), "mp4a.6b"),
        (esds(0x40, b"\x11\x90", flags=0x80, extra=b"\x00\x02"), "mp4a.40.2"),
        (esds(0x40, b"\x11\x90", flags=0x40, extra=b"\x03url"), "mp4a.40.2"),
        (esds(0x40, b"\x11\x90", flags=0x20, extra=b"\x00\x02"), "mp4a.40.2"),
    ],
)
def test_an_mpeg4_audio_entry_says_its_object_type(config: bytes, codecs: str) -> None:
    assert audio_codec_string("mp4a", SOUND + config) == codecs


@pytest.mark.parametrize(
    ("kind", "config", "channels"),
    [
        ("mp4a", esds(0x40, b"\x11\x88"), 1),
        ("mp4a", esds(0x40, b"\x11\x90"), 2),
        ("mp4a", esds(0x40, b"\x11\xb8"), 8),
        ("mp4a", esds(0x40, b"\x11\x80"), 6),
        ("mp4a", esds(0x40, b"\x17\x88"), 6),
        ("mp4a", esds(0xA5, b""), 6),
        ("Opus", b"", 6),
    ],
)
def test_aac_says_its_channels_in_its_configuration_and_the_rest_in_the_entry(kind: str, config: bytes, channels: int) -> None:
    assert audio_channels(kind, bytes(16) + b"\x00\x06" + bytes(10) + config) == channels


@pytest.mark.parametrize(("kind", "codecs"), [("Opus", "opus"), ("fLaC", "fLaC"), ("ac-3", "ac-3"), ("ec-3", "ec-3")])
def test_other_sound_is_named_by_its_entry(kind: str, codecs: str) -> None:
    assert audio_codec_string(kind, SOUND) == codecs


@pytest.mark.parametrize(
    "entry",
    [SOUND, SOUND + full("esds"), SOUND + full("esds", b"\x04\x01\x40"), SOUND + full("esds", descriptor(3, bytes(3))), bytes(5),
     SOUND + esds(0x40, b""), SOUND + esds(0x40, b"\x11")],
)  # fmt: skip
def test_a_broken_sound_entry_is_malformed(entry: bytes) -> None:
    with pytest.raises(TransientError, match="malformed"):
        audio_codec_string("mp4a", entry)


@pytest.mark.parametrize(
    ("kind", "entry"), [("avc1", VISUAL), ("avc1", VISUAL + box("avcC", b"\x01")), ("hvc1", VISUAL), ("mp4v", VISUAL)]
)
def test_a_broken_or_unknown_video_entry_is_malformed(kind: str, entry: bytes) -> None:
    with pytest.raises(TransientError, match="malformed"):
        video_codec_string(kind, entry)


@given(
    st.sampled_from(["avc1", "hvc1", "av01", "vp09"]), st.sampled_from(["avcC", "hvcC", "av1C", "vpcC"]), st.binary(max_size=30)
)
def test_any_video_configuration_is_named_or_malformed(kind: str, config: str, body: bytes) -> None:
    try:
        codecs = video_codec_string(kind, VISUAL + box(config, body))
    except TransientError as error:
        codecs = error.code.value
    assert codecs.startswith((kind, "output_invalid"))


@given(st.binary(max_size=60))
def test_any_sound_configuration_is_named_or_malformed(body: bytes) -> None:
    try:
        codecs = audio_codec_string("mp4a", SOUND + full("esds", body))
    except TransientError as error:
        codecs = error.code.value
    assert codecs.startswith(("mp4a.", "output_invalid"))
