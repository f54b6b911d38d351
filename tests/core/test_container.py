"""Which container a file is, from its bytes alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.container import Container, sniff
from vproc.errors import RejectedError

ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
MXF = bytes.fromhex("060e2b34020501010d0102")
ID3 = b"ID3\x04\x00\x00\x00\x00\x00\x05" + bytes(5)


def packets(length: int, sync: int, count: int, *, cut: int = 0) -> bytes:
    one = bytes(sync) + b"\x47" + b"\xff" * (length - sync - 1)
    return (one * count)[cut:]


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"\x00\x00\x00\x20ftypisom", Container.MOV),
        (b"\x00\x00\x00\x14ftypqt  ", Container.MOV),
        (b"\x00\x00\x10\x00moov\x00\x00\x00\x6cmvhd", Container.MOV),
        (b"\x00\x00\x00\x08wide\x00\x00\x10\x00mdat", Container.MOV),
        (b"\x00\x00\x00\x01mdat\x00\x00\x00\x01\x00\x00\x00\x00", Container.MOV),
        (b"\x00\x00\x00\x08free", Container.MOV),
        (b"\x00\x00\x00\x08skip", Container.MOV),
        (b"\x1a\x45\xdf\xa3\x9fB\x86", Container.MATROSKA),
        (b"RIFF\x00\x00\x00\x00AVI LIST", Container.AVI),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", Container.WAV),
        (b"RF64\xff\xff\xff\xffWAVEds64", Container.WAV),
        (b"FLV\x01\x05", Container.FLV),
        (ASF + bytes(20), Container.ASF),
        (MXF + b"\x01\x02\x04\x00", Container.MXF),
        (bytes(1000) + MXF + b"\x01\x02\x04\x00", Container.MXF),
        (b"OggS\x00\x02", Container.OGG),
        (b"fLaC\x00\x00", Container.FLAC),
        (ID3 + b"fLaC", Container.FLAC),
        (b"\x00\x00\x01\xba\x44", Container.MPEG),
        (b"\xff\xfb\x90\x64", Container.MP3),
        (ID3 + b"\xff\xfb\x90\x64", Container.MP3),
        (b"ID3\x04\x00\x00\x00\x7f\x7f\x7f" + bytes(500), Container.MP3),
        (b"\xff\xf1\x50\x80", Container.AAC),
        (b"\xff\xf9\x50\x80", Container.AAC),
    ],
)
def test_magic_bytes_tell_the_container(head: bytes, container: Container) -> None:
    assert sniff(head) is container


@pytest.mark.parametrize(("length", "sync"), [(188, 0), (192, 4), (204, 0)])
@pytest.mark.parametrize("cut", [0, 1, 100, 187])
def test_a_transport_stream_is_found_wherever_the_capture_began(length: int, sync: int, cut: int) -> None:
    assert sniff(packets(length, sync, 12, cut=cut)) is Container.MPEGTS


def test_a_transport_stream_may_be_a_single_packet() -> None:
    assert sniff(packets(188, 0, 1)) is Container.MPEGTS


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "empty"),
        (b"#EXTM3U\n#EXT-X-VERSION:3\n", "an HLS playlist"),
        (b"\xef\xbb\xbf\n #EXTM3U", "an HLS playlist"),
        (b"ffconcat version 1.0\nfile ok.mp4\n", "a list of other files"),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n", "a session description"),
        (b"<MPD xmlns=", "a DASH manifest"),
        (b"<?xml version='1.0'?>", "an XML document"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b'{"a": 1}', "a JSON document"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "a JPEG picture"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "a still picture"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"just some words\n", "a text"),
        (bytes(4096), "zero bytes"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08\x09", "no known kind"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "no known kind"),
    ],
)
def test_what_is_not_taken_is_told_in_words(head: bytes, words: str) -> None:
    with pytest.raises(RejectedError, match=words) as caught:
        sniff(head)
    assert caught.value.code == "unsupported_media"


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_container_or_a_refusal(head: bytes) -> None:
    try:
        container = sniff(head)
    except RejectedError as error:
        container = error.code
    assert container in {*Container, "unsupported_media"}
