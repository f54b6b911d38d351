"""Captions out of real files, by the real ffmpeg in its jail."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.children import confined
from tests.support.media import LIMITS, clip, probe
from tests.support.subtitles import LINE_21_TEXT, subtitled
from tests.support.tools import in_use
from vproc.core.captions import CaptionTrack
from vproc.core.labels import TrackRole
from vproc.core.media import MediaInfo
from vproc.core.vtt import Cue, parse_vtt
from vproc.workers.captions import extract_captions


@dataclass(frozen=True, slots=True)
class Extracted:
    """What came out of a copy of a clip, in a folder of its own."""

    info: MediaInfo
    tracks: tuple[CaptionTrack, ...]
    folder: Path

    def cues(self, name: str = "captions") -> list[Cue]:
        path = next(track.path for track in self.tracks if track.name == name)
        return [Cue(cue.start_ms, cue.end_ms, cue.text.rstrip("\n")) for cue in parse_vtt(path.read_text())]


async def extracted(source: Path, folder: Path) -> Extracted:
    job = folder / "it's, [a] job: 100%"
    out = job / "out"
    out.mkdir(parents=True)
    copy = shutil.copyfile(source, job / "source")
    info = probe(copy)
    tracks = await extract_captions(
        info, runner=confined(), ffmpeg=in_use().ffmpeg, source=copy, out_dir=out, max_pixels=LIMITS.max_pixels, wall_s=30
    )
    return Extracted(info, tracks, out)


@pytest.mark.parametrize("name", ["texts.mkv", "texts.mp4", "late-texts.mkv"])
async def test_texts_of_any_container_become_the_same_cues(name: str, tmp_path: Path) -> None:
    """Times count from the film's start, mark-up stays what it means, and styles and drawings are gone."""
    found = await extracted(subtitled(name), tmp_path)
    assert [(track.name, track.stream.label.tag) for track in found.tracks] == [("captions", "en"), ("captions-2", "fr")]
    first, second = found.cues()
    assert (first.start_ms, first.end_ms) == (pytest.approx(500, abs=25), pytest.approx(1000, abs=25))
    assert first.text == "<i>Hello</i> alert(1) &amp; world"
    assert second.text == "Second --&gt; line\ntwo lines"
    bold, long = found.cues("captions-2")
    assert bold.text.split("\n")[0] == "<b>Bold</b> and"
    assert long.text == "Too long"
    assert found.info.duration_s is not None
    assert long.end_ms <= found.info.duration_s * 1000


async def test_what_the_file_says_of_its_tracks_is_kept(tmp_path: Path) -> None:
    found = await extracted(subtitled("texts.mkv"), tmp_path)
    first, second = (track.stream.label for track in found.tracks)
    assert (first.title, first.default, first.roles) == (None, False, frozenset())
    assert (second.title, second.default, second.roles) == ("Signs", True, {TrackRole.FORCED})


async def test_webm_keeps_webvtt_and_stays_it(tmp_path: Path) -> None:
    found = await extracted(subtitled("texts.webm"), tmp_path)
    assert [track.stream.codec for track in found.tracks] == ["webvtt"]
    assert [cue.start_ms for cue in found.cues()] == pytest.approx([500, 1200], abs=25)


async def test_pictures_of_letters_stay_behind_and_the_text_beside_them_is_taken(tmp_path: Path) -> None:
    found = await extracted(subtitled("discs.mkv"), tmp_path)
    assert [track.stream.codec for track in found.tracks] == ["subrip"]
    assert [stream.codec for stream in found.info.others] == ["hdmv_pgs_subtitle"]


async def test_a_track_that_says_nothing_is_no_track(tmp_path: Path) -> None:
    found = await extracted(subtitled("silent-texts.mkv"), tmp_path)
    assert len(found.info.captions) == 1
    assert (found.tracks, list(found.folder.iterdir())) == ((), [])


async def test_a_film_without_captions_costs_no_process(tmp_path: Path) -> None:
    info = probe(clip("short.mp4"))
    tracks = await extract_captions(
        info, runner=confined(), ffmpeg="/no/such/ffmpeg", source=clip("short.mp4"), out_dir=tmp_path, max_pixels=1, wall_s=1
    )
    assert tracks == ()


async def test_captions_of_a_track_of_their_own_are_read(tmp_path: Path) -> None:
    """CEA-608 as QuickTime keeps it."""
    found = await extracted(subtitled("eia608.mov"), tmp_path)
    assert [(cue.text, cue.start_ms) for cue in found.cues()] == [(LINE_21_TEXT, pytest.approx(500, abs=60))]


@pytest.mark.parametrize(("name", "start_ms"), [("line21.mp4", 733), ("line21-late.ts", 1233)])
async def test_captions_in_the_pictures_are_found_and_read(name: str, start_ms: int, tmp_path: Path) -> None:
    """From the film's start, also where the first picture comes late."""
    found = await extracted(subtitled(name), tmp_path)
    (track,) = found.tracks
    assert (track.name, track.stream.index, track.stream.label.roles) == ("captions", None, {TrackRole.HEARING_IMPAIRED})
    (cue,) = found.cues()
    assert (cue.text, cue.start_ms) == (LINE_21_TEXT, pytest.approx(start_ms, abs=40))


async def test_the_empty_shell_of_captions_is_not_decoded_for(tmp_path: Path) -> None:
    found = await extracted(subtitled("line21-padding.mp4"), tmp_path)
    assert b"GA94\x03" in subtitled("line21-padding.mp4").read_bytes()
    assert found.tracks == ()
