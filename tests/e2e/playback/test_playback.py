"""The browser rig itself, on presentations that ffmpeg's own muxers made: what plays passes, and what is broken is caught."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.browser import PLAYBACK, play

RUNGS = ((640, 360), (320, 180))
# Sound ends a little before the picture: a last segment of some milliseconds, which hls.js never takes, is no good model.
SOURCE = (
    *("-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=6"),
    *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=5.9"),
)
LADDER = "[0:v]split=2[a][b];[b]scale=320:180[c]"


def ffmpeg(folder: Path, *arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments], cwd=folder, check=True)


@pytest.fixture(scope="module")
def presentation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``master.m3u8`` and ``manifest.mpd`` of two rungs over the same segments."""
    folder = tmp_path_factory.mktemp("presentation")
    ffmpeg(
        folder,
        *(*SOURCE, "-filter_complex", LADDER, "-map", "[a]", "-map", "[c]", "-map", "1:a"),
        *(
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
            "-g",
            "50",
            "-keyint_min",
            "50",
            "-sc_threshold",
            "0",
        ),
        *("-c:a", "aac", "-ar", "48000", "-f", "dash", "-seg_duration", "2", "-use_template", "1", "-use_timeline", "1"),
        *("-adaptation_sets", "id=0,streams=v id=1,streams=a", "-hls_playlist", "1", "manifest.mpd"),
    )
    return folder


async def test_both_players_play_every_rung_to_the_end(presentation: Path) -> None:
    """hls.js and shaka play, show, seek, switch and end a sound presentation of two rungs."""
    report = await play(presentation, rungs=RUNGS)
    for player in (report.hls, report.dash):
        assert player is not None
        assert player.duration_s == pytest.approx(6, abs=0.2)
        assert player.decoded_frames > 50
        assert {rung.codecs.partition(".")[0] for rung in player.rungs} == {"avc1"}
    assert report.hls is not None
    assert report.hls.content_types["master.m3u8"] == "application/vnd.apple.mpegurl"


async def test_a_rung_that_is_not_offered_is_noticed(presentation: Path) -> None:
    """A presentation that lacks a rung does not pass."""
    with pytest.raises(AssertionError, match="offers"):
        await play(presentation, dash=None, rungs=(*RUNGS, (160, 90)))


@pytest.fixture
def cut_short(presentation: Path, tmp_path: Path) -> Path:
    """The same presentation without its last segments."""
    for file in presentation.iterdir():
        if not re.search(r"stream\d-00003", file.name):
            (tmp_path / file.name).symlink_to(file)
    return tmp_path


async def test_a_missing_segment_is_noticed(cut_short: Path) -> None:
    """A presentation whose last segment is not there does not pass."""
    with pytest.raises(AssertionError, match="404"):
        await play(cut_short, hls=None)


@pytest.fixture
def black(tmp_path: Path) -> Path:
    """A presentation of three black seconds."""
    picture = ("-f", "lavfi", "-i", "color=black:size=320x180:rate=25:duration=3")
    ffmpeg(tmp_path, *picture, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-f", "dash", "manifest.mpd")
    return tmp_path


async def test_a_black_picture_is_noticed(black: Path) -> None:
    """A presentation that shows nothing does not pass, although its frames are decoded."""
    with pytest.raises(AssertionError, match="dark"):
        await play(black, hls=None, sound=False)


@pytest.fixture
async def store(presentation: Path) -> AsyncIterator[str]:
    """The presentation behind another address, as an object store would give it."""
    app = web.Application()
    app.router.add_static("/bucket/file", presentation)
    runner = web.AppRunner(app, handle_signals=False, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/bucket/file/"
    await runner.cleanup()


async def test_media_may_lie_at_another_address(store: str) -> None:
    """What an object store serves is played through a proxy, as from a folder; each address may be signed by itself."""

    async def signed(path: str) -> str:
        return f"{store}{path}?signature=abc"

    report = await play(signed, dash=None, rungs=RUNGS)
    assert report.dash is None
    assert report.hls is not None
    assert "stream0-00001.m4s" in " ".join(report.hls.content_types)
    report = await play(store, hls=None, rungs=RUNGS)
    assert report.hls is None


def test_the_lock_file_names_versions_and_hashes_only() -> None:
    """The players are locked by hash, and not to an address."""
    text = (PLAYBACK / "package-lock.json").read_text()
    assert text.count('"integrity": "sha512-') == 3
    assert "resolved" not in text
    assert "http" not in text
