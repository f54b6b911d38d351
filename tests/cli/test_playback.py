"""Which objects playlists name, and whether a file plays; the pieces of the client that need no server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.fake_api import FakeApi
from tests.support.media import FFMPEG
from tests.support.tools import PACKAGED, SYSTEM
from vproc.cli.child import find_tools, run_tool
from vproc.cli.clip import demo_clip, make_clip
from vproc.cli.errors import DemoError
from vproc.cli.playback import Player, check_streams, mpd_addresses, playlist_addresses, reads_dash
from vproc.client.events import event_data
from vproc.client.transfer import proxy_for, readable_bytes
from vproc.errors import ConfigError

BASE = "http://s3/b/id/master.m3u8"
MASTER = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x",URI="run/a.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a"
run/v.m3u8
"""
MEDIA = '#EXTM3U\n#EXT-X-MAP:URI="init.mp4"\n#EXTINF:4,\nseg-1.m4s\n\n#EXTINF:4,\nseg-2.m4s\n#EXT-X-ENDLIST\n'


def mpd(inner: str, *, base: str = "", adaptation: str = "") -> str:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" mediaPresentationDuration="PT1M9.5S">'
        f"<Period>{base}<AdaptationSet>{adaptation}"
        f'<Representation id="v0" bandwidth="700">{inner}</Representation></AdaptationSet></Period></MPD>'
    )


TIMELINE = (
    '<SegmentTemplate timescale="10" startNumber="3" initialization="$RepresentationID$/init.mp4" '
    'media="$RepresentationID$/$Number%03d$-$Time$.m4s"><SegmentTimeline><S t="5" d="40" r="1"/><S d="7"/></SegmentTimeline>'
    "</SegmentTemplate>"
)


def test_an_hls_playlist_names_lines_and_attributes() -> None:
    """Playlists, initialisation sections and segments, each relative to where they are named."""
    assert playlist_addresses(MASTER, BASE) == ("http://s3/b/id/run/a.m3u8", "http://s3/b/id/run/v.m3u8")
    assert playlist_addresses(MEDIA, "http://s3/b/id/run/v.m3u8") == tuple(
        f"http://s3/b/id/run/{name}" for name in ("init.mp4", "seg-1.m4s", "seg-2.m4s")
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (mpd(TIMELINE), ["v0/init.mp4", "v0/003-5.m4s", "v0/004-45.m4s", "v0/005-85.m4s"]),
        (
            mpd("", adaptation=TIMELINE, base="<BaseURL>run/</BaseURL>"),
            ["run/v0/init.mp4", "run/v0/003-5.m4s", "run/v0/004-45.m4s", "run/v0/005-85.m4s"],
        ),
        (
            mpd('<SegmentTemplate timescale="2" duration="60" media="s$$$Number$_$Bandwidth$"/>'),
            ["s$1_700", "s$2_700", "s$3_700"],
        ),
        (
            mpd('<SegmentList><Initialization sourceURL="i"/><SegmentURL media="a"/><SegmentURL media="b"/></SegmentList>'),
            ["i", "a", "b"],
        ),
        (mpd("<BaseURL>whole.mp4</BaseURL><SegmentBase/>"), ["whole.mp4"]),
    ],
)
def test_an_mpd_names_what_its_templates_give(text: str, names: list[str]) -> None:
    """Timelines, plain durations, lists and single files, with base addresses on the way."""
    assert mpd_addresses(text, "http://s3/b/id/manifest.mpd") == tuple(f"http://s3/b/id/{name}" for name in names)


@pytest.fixture
async def player() -> AsyncIterator[Player]:
    async with aiohttp.ClientSession() as session:
        yield Player(session)


def publish(api: FakeApi) -> str:
    for key, text in (("id/master.m3u8", MASTER), ("id/run/v.m3u8", MEDIA), ("id/run/a.m3u8", MEDIA)):
        api.add_object(key, text.encode())
    for name in ("init.mp4", "seg-1.m4s", "seg-2.m4s"):
        api.add_object(f"id/run/{name}", b"media")
    return f"{api.url}/processed/id/master.m3u8"


async def test_a_player_finds_every_segment(api: FakeApi, player: Player) -> None:
    """Each is asked for once, whichever playlists name it."""
    assert await player.check_hls(publish(api)) == 3
    touched = sorted(key for key, asked in api.gets if asked == "bytes=0-0")
    assert touched == ["id/run/init.mp4", "id/run/seg-1.m4s", "id/run/seg-2.m4s"]
    api.add_object("id/manifest.mpd", mpd("<BaseURL>run/seg-1.m4s</BaseURL>").encode())
    assert await player.check_dash(f"{api.url}/processed/id/manifest.mpd") == 1


@pytest.mark.parametrize("lost", ["id/master.m3u8", "id/run/a.m3u8", "id/run/seg-2.m4s"])
async def test_a_player_misses_what_is_not_there(api: FakeApi, player: Player, lost: str) -> None:
    """A playlist or a segment that is gone is named."""
    master = publish(api)
    del api.objects[lost]
    with pytest.raises(DemoError, match=f"{lost}.*answered 404"):
        await player.check_hls(master)


async def test_a_player_misses_empty_segments_and_empty_playlists(api: FakeApi, player: Player) -> None:
    master = publish(api)
    api.objects["id/run/seg-1.m4s"] = b""
    with pytest.raises(DemoError, match="seg-1"):
        await player.check_hls(master)
    api.objects["id/master.m3u8"] = b"#EXTM3U\n"
    with pytest.raises(DemoError, match="names no media"):
        await player.check_hls(master)


async def test_the_made_clip_is_a_video_with_sound(tmp_path: Path) -> None:
    """What the demo shows where it was given nothing: ffprobe opens it, and it moves and sounds for eight seconds."""
    tools = await find_tools(tmp_path)
    made = await make_clip(tmp_path / "clip.mp4", tools.ffmpeg)
    await check_streams(tools.ffprobe, made)
    probe = [tools.ffprobe, "-v", "error", "-show_entries", "stream=codec_name,duration", "-of", "csv=p=0", str(made)]
    assert (await run_tool(probe, cwd=tmp_path)).stdout.split() == [b"h264,8.000000", b"aac,8.000000"]
    # Movement: hardly any frame is like the one before, so the pictures after the first weigh most of it.
    frames = [tools.ffprobe, "-v", "error", "-select_streams", "v", "-show_entries", "packet=size", "-of", "csv=p=0", str(made)]
    sizes = [int(size.rstrip(b",")) for size in (await run_tool(frames, cwd=tmp_path)).stdout.split()]
    assert sum(sizes[1:]) > 3 * sizes[0]


async def test_ffprobe_refuses_what_is_no_media(tmp_path: Path) -> None:
    """Its reason is told."""
    (tmp_path / "no.mp4").write_bytes(b"not media")
    with pytest.raises(DemoError, match=r"ffprobe refuses .*no\.mp4: .*Invalid data"):
        await check_streams((await find_tools(tmp_path)).ffprobe, tmp_path / "no.mp4")


async def test_which_clip_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one given, else the environment's, which must be there."""
    given, named = tmp_path / "given.mp4", tmp_path / "named.mp4"
    named.write_bytes(b"")
    monkeypatch.setenv("VPROC_DEMO_CLIP", str(named))
    assert await demo_clip(given, tmp_path, FFMPEG) == given
    assert await demo_clip(None, tmp_path, FFMPEG) == named
    monkeypatch.setenv("VPROC_DEMO_CLIP", str(given))
    with pytest.raises(ConfigError, match="VPROC_DEMO_CLIP: no file at"):
        await demo_clip(None, tmp_path, FFMPEG)


async def test_a_missing_tool_is_a_wrong_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPROC_FFPROBE", "/no/ffprobe")
    with pytest.raises(ConfigError, match="VPROC_FFPROBE: no program '/no/ffprobe' on this machine"):
        await find_tools(tmp_path)


async def test_the_tools_are_those_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the daemon; a variable that is set to nothing says nothing."""
    monkeypatch.setenv("VPROC_FFMPEG", FFMPEG)
    monkeypatch.setenv("VPROC_FFPROBE", "")
    tools = await find_tools(tmp_path)
    assert (tools.ffmpeg, tools.source) == (FFMPEG, "setting")


async def test_event_streams_are_read_as_the_standard_says() -> None:
    """Both line ends, comments, data of several lines, and an event that is cut off."""

    async def lines() -> AsyncIterator[bytes]:
        for (
            line
        ) in b": ping\r\nid: 1\r\ndata: a\r\n\r\n\n\ndata:b\ndata: c\nevent: x\n\ndata\n\nretry: 5\n\ndata: lost\n".splitlines(
            True
        ):
            yield line

    assert [data async for data in event_data(lines())] == ["a", "b\nc", ""]


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://127.0.0.1:8080/x", None),
        ("http://localhost/x", None),
        ("http://[::1]/x", None),
        ("http://internal.example/x", None),
        ("http://example.com/x", "http://proxy:3128"),
        ("https://s3.example.com/x", "http://secure:3128"),
    ],
)
def test_proxies_of_the_environment_are_used_beyond_loopback(
    url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon on this machine is never asked for through a proxy."""
    for name, value in (
        ("http_proxy", "http://proxy:3128"),
        ("https_proxy", "http://secure:3128"),
        ("no_proxy", "internal.example"),
    ):
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (2_500_000, "2.4 MiB"), (5 * 1024**4, "5120.0 GiB")],
)
def test_sizes_for_people(size_bytes: int, text: str) -> None:
    assert readable_bytes(size_bytes) == text


async def test_whether_an_ffprobe_reads_an_mpd_is_asked_of_it(tmp_path: Path) -> None:
    """Debian's does; the static one of the package was built without an XML reader."""
    assert await reads_dash(SYSTEM.ffprobe, cwd=tmp_path)
    assert not await reads_dash(PACKAGED.ffprobe, cwd=tmp_path)
