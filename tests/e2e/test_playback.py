"""A real clip through the whole daemon, then in a real browser: it plays in hls.js, in shaka-player and by itself."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import m3u8
import pytest

from tests.support.browser import PlayerReport, play
from tests.support.caller import fetch
from tests.support.daemon import Daemon, dev
from tests.support.media import FFMPEG, probe
from tests.support.source import ROOT
from tests.support.subtitles import subtitled
from vproc.core.media import MediaInfo

pytestmark = [pytest.mark.xdist_group("e2e-playback"), pytest.mark.timeout(300)]

LADDER_PX = (1080, 720, 360)


@dataclass(frozen=True, slots=True)
class Published:
    """A clip and what a daemon that still runs made of it."""

    daemon: Daemon
    source: MediaInfo
    file_id: str

    @property
    def address(self) -> str:
        """Where the entry points lie, for who has no signature."""
        return f"{self.daemon.ready['s3']}/{self.daemon.ready['processed_bucket']}/{self.file_id}/"

    @property
    def rungs(self) -> list[tuple[int, int]]:
        """The sizes that the source reaches."""
        assert self.source.video is not None
        width, height = self.source.video.width, self.source.video.height
        sides = [side for side in LADDER_PX if side <= min(width, height)]
        return [tuple(2 * round(side * long / min(width, height) / 2) for long in (width, height)) for side in sides]


def real_clip(folder: Path) -> Path:
    """Big Buck Bunny where set-up fetched it, else ten seconds of moving pictures with sound."""
    named = [os.environ.get("VPROC_DEMO_CLIP"), ROOT / ".cache/clips/bigbuckbunny.mp4"]
    for path in (Path(name) for name in named if name):
        if path.is_file():
            return path
    made = folder / "made.mp4"
    picture = "testsrc2=size=1280x720:rate=25:duration=10.5,noise=alls=12:allf=t,format=yuv420p"
    inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000:duration=10.5"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "-ac", "2"]
    subprocess.run([FFMPEG, "-nostdin", "-v", "error", *inputs, *codecs, str(made)], check=True)
    return made


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("playback")
    path = real_clip(folder)
    with dev(folder) as daemon:
        file_id = daemon.caller.upload(path, profile="abr")
        daemon.caller.completed(file_id)
        yield Published(daemon, probe(path), file_id)


async def test_the_players_play_all_rungs_to_the_end(published: Published) -> None:
    """From the entry points, unsigned: time runs, frames and sound are decoded, every rung is shown, a seek lands, it ends.
    The browser's own HLS player shows the rung that it likes."""
    seen = await play(published.address, native="master.m3u8", rungs=published.rungs)
    for player in (seen.hls, seen.dash, seen.native):
        assert player is not None
        check(player, published)
    assert seen.hls is not None
    assert seen.dash is not None
    assert seen.hls.content_types["master.m3u8"] == "application/vnd.apple.mpegurl"
    assert seen.dash.content_types["manifest.mpd"] == "application/dash+xml"
    media = {path for path in seen.hls.content_types if not path.endswith(".m3u8")}
    assert media
    assert media == {path for path in seen.dash.content_types if not path.endswith(".mpd")}, "both read the same objects"


async def test_a_copied_rung_changes_with_an_encoded_one_and_captions_show(published: Published) -> None:
    """A source that is the top rung by itself, with a subtitle: the players change to either rung, and a viewer reads it."""
    caller = published.daemon.caller
    file_id = caller.upload(subtitled("conforming-texts.mp4"), profile="abr")
    caller.completed(file_id)
    address = published.address.replace(published.file_id, file_id)
    renditions = json.loads(fetch(f"{address}metadata.json").body)["renditions"]
    playlist = next(entry["path"] for entry in renditions if "v720/" in entry["path"])
    lengths = [segment.duration for segment in m3u8.loads(fetch(f"{address}{playlist}").body.decode()).segments]
    assert lengths[:2] == pytest.approx([2.5, 3.5], abs=0.05), "the source's own key frames"
    seen = await play(address, rungs=[(1280, 720), (640, 360)])
    for player in (seen.hls, seen.dash):
        assert player is not None
        assert player.subtitles == 1
        assert player.caption is not None
        assert "Hello" in player.caption


def check(player: PlayerReport, published: Published) -> None:
    """What the player told is what the source was."""
    assert published.source.duration_s is not None
    assert player.duration_s == pytest.approx(published.source.duration_s, abs=0.1)
    assert player.decoded_frames > 20
    rates = [rung.bitrate_bps for rung in sorted(player.rungs, key=lambda rung: rung.width)]
    assert rates == sorted(set(rates)), "a larger rung costs more"
    for rung in player.rungs:
        video, _, sound = rung.codecs.replace(" ", "").partition(",")
        assert video.startswith("avc1.")
        assert sound == "mp4a.40.2"


def test_nobody_needs_a_signature_to_look(published: Published) -> None:
    """Every entry point of the embedded store is there for any player, whole and in parts; what is not there is a 404."""
    for name in ("master.m3u8", "manifest.mpd", "poster.jpg", "sprite.vtt", "metadata.json", "manifest.json"):
        assert fetch(f"{published.address}{name}").status == 200
        part = fetch(f"{published.address}{name}", headers={"Range": "bytes=2-9"})
        assert (part.status, len(part.body)) == (206, 8)
    assert fetch(f"{published.address}none.m3u8").status == 404


def test_a_players_page_may_be_anywhere(published: Published) -> None:
    """The store lets a page of another origin read what it gives, in parts too."""
    headers = {"Origin": "https://player.example", "Range": "bytes=0-9"}
    answer = fetch(f"{published.address}master.m3u8", headers=headers)
    assert answer.status == 206
    assert answer.headers["access-control-allow-origin"] in {"*", "https://player.example"}
