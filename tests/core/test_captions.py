"""Which captions are taken, and by which command lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.samples import audio, label, media, video
from vproc.core.captions import captions_argv, line21_argv, line21_stream, wants_captions
from vproc.core.container import Container
from vproc.core.labels import TrackRole
from vproc.core.media import CaptionStream
from vproc.profiles import builtin_profiles

SOURCE, OUT = Path("/scratch/job/source"), Path("/scratch/job/out")
TEXTS = (CaptionStream(3, "subrip", label("eng")), CaptionStream(5, "ass"))


def after(argv: tuple[str, ...], option: str) -> list[str]:
    return [argv[at + 1] for at, word in enumerate(argv) if word == option]


def test_each_track_goes_to_a_file_of_its_own_out_of_a_guarded_input() -> None:
    info = media(video(), audio(1), audio(2), captions=TEXTS)
    argv = captions_argv("/usr/bin/ffmpeg", SOURCE, info, TEXTS, [OUT / "a.vtt", OUT / "b.vtt"], max_pixels=1000)
    source = argv.index("-i")
    for guard in ("-format_whitelist", "-protocol_whitelist", "-codec_whitelist", "-max_streams", "-max_pixels"):
        assert argv.index(guard) < source
    assert after(argv, "-i") == ["file:/scratch/job/source"]
    assert [argv[argv.index(f"file:{OUT}/{name}.vtt") - 2 :][:2] for name in "ab"] == [("-f", "webvtt")] * 2
    assert after(argv, "-c:s") == ["webvtt", "webvtt"]


def test_the_clock_is_that_of_the_streams_that_are_encoded() -> None:
    """A transport stream's time begins with the first stream that is used."""
    info = media(video(), audio(1), audio(2), captions=TEXTS)
    argv = captions_argv("ffmpeg", SOURCE, info, TEXTS[:1], [OUT / "a.vtt"], max_pixels=1000)
    assert after(argv, "-map") == ["0:3", "0:0", "0:1", "0:2"]
    assert argv[-5:] == ("-c", "copy", "-f", "null", "-")
    sound = captions_argv("ffmpeg", SOURCE, media(None, audio(0)), TEXTS[:1], [OUT / "a.vtt"], max_pixels=1000)
    assert after(sound, "-map") == ["0:3", "0:0"]


def test_captions_in_pictures_are_read_through_the_same_guards() -> None:
    info = media(video(index=2), container=Container.MPEGTS)
    argv = line21_argv("ffmpeg", SOURCE, info, OUT / "a.vtt")
    (graph,) = after(argv, "-i")
    assert graph.startswith("movie=filename=file")
    assert graph.endswith(":s=2[out0+subcc]")
    for part in ("format_name=mpegts", "protocol_whitelist=file", "format_whitelist=mpegts", "codec_whitelist=h264"):
        assert part in graph
    with pytest.raises(ValueError, match="video"):
        line21_argv("ffmpeg", SOURCE, media(None, audio()), OUT / "a.vtt")


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("/a b", r"file\\:/a b"),
        ("/it's", r"file\\:/it\\\'s"),
        ("/[a],b;c", r"file\\:/\[a\]\,b\;c"),
        ("/a:b=c", r"file\\:/a\\:b=c"),
        ("/a\\b", r"file\\:/a\\\\b"),
    ],
)
def test_no_path_breaks_out_of_the_graph(path: str, written: str) -> None:
    graph = after(line21_argv("ffmpeg", Path(path), media(video()), OUT / "a.vtt"), "-i")[0]
    assert graph.startswith(f"movie=filename={written}:format_name=mov:")


def cc_data(*triplets: bytes, flags: int = 0x40) -> bytes:
    return b"..\xb5\x00\x31GA94\x03" + bytes([flags | len(triplets), 0xFF]) + b"".join(triplets) + b"\xff.."


PADDING, LETTERS, SECOND_FIELD = b"\xfc\x80\x80", b"\xfc\xc8\xe5", b"\xfd\xc8\xe5"
DTVCC, INVALID = b"\xff\x02\x21", b"\xf8\xc8\xe5"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (cc_data(LETTERS), True),
        (cc_data(PADDING, LETTERS), True),
        (cc_data(SECOND_FIELD), True),
        (cc_data(PADDING) * 50 + cc_data(LETTERS, flags=0xC0), True),
        (cc_data(PADDING, PADDING), False),
        (cc_data(DTVCC), False),
        (cc_data(INVALID), False),
        (cc_data(LETTERS, flags=0x00), False),
        (cc_data(LETTERS)[:-6], False),
        (b"GA94\x03", False),
        (b"GA94\x04\x41\xff\xfc\xc8\xe5", False),
        (b"", False),
    ],
)
def test_captions_in_pictures_are_known_by_what_they_say(data: bytes, told: bool) -> None:
    """CEA-708 alone is nothing that ffmpeg reads; padding is no captions."""
    assert (line21_stream(media(video()), [b"nothing", data]) is not None) is told


@pytest.mark.parametrize(
    "info",
    [
        media(None, audio()),
        media(video(codec="av1")),
        media(video(), captions=(CaptionStream(2, "eia_608"),)),
    ],
    ids=["no pictures", "a codec without", "a track of its own"],
)  # fmt: skip
def test_captions_are_looked_for_where_there_may_be_some(info: Any) -> None:
    assert line21_stream(info, [cc_data(LETTERS)]) is None


def test_captions_in_pictures_are_for_those_who_do_not_hear() -> None:
    stream = line21_stream(media(video(codec="mpeg2video"), captions=TEXTS), [cc_data(LETTERS)])
    assert stream is not None
    assert (stream.index, stream.label.roles) == (None, {TrackRole.HEARING_IMPAIRED})


def test_profiles_that_play_take_captions_unless_they_are_told_not_to() -> None:
    wanted = {name for name, profile in builtin_profiles().items() if wants_captions(profile)}
    assert {"abr", "mp4", "h264"} <= wanted
    assert not {"audio", "thumbnails", "copy"} & wanted
    assert not wants_captions(replace(builtin_profiles()["abr"], captions=False))
