"""The DASH manifest, read back by a parser."""

from __future__ import annotations

from typing import Any

import pytest
from mpegdash.parser import MPEGDASHParser

from tests.support.samples import sound, track
from vproc.core.dash import dash_manifest
from vproc.core.fmp4 import TrackIndex
from vproc.core.playlist import Rendition, peak_bps


def rendition(name: str, index: TrackIndex, language: str | None = None) -> Rendition:
    return Rendition(
        name, index, f"run/{name}/playlist.m3u8", f"run/{name}/init.mp4", f"run/{name}/seg-$Number%05d$.m4s", language
    )


V720 = rendition("v720", track(4000, 4000, 2000))
V360 = rendition("v360", track(4000, 4000, 2000, width=640, height=360))
AUDIO = rendition("audio", sound(192_512, 192_512, 97_280), "deu")


def parse(videos: list[Rendition], audio: Rendition | None) -> Any:
    return MPEGDASHParser.parse(dash_manifest(videos, audio))


def test_it_is_one_static_period_of_a_picture_and_a_sound_set() -> None:
    mpd = parse([V720, V360], AUDIO)
    assert (mpd.type, mpd.profiles) == ("static", "urn:mpeg:dash:profile:isoff-live:2011")
    assert mpd.media_presentation_duration == f"PT{AUDIO.index.shown_s:.3f}S"
    (period,) = mpd.periods
    pictures, tones = period.adaptation_sets
    assert (pictures.content_type, pictures.mime_type, pictures.max_width, pictures.max_height) == (
        "video",
        "video/mp4",
        1280,
        720,
    )
    assert pictures.segment_alignment
    assert pictures.start_with_sap == 1
    assert (tones.content_type, tones.lang) == ("audio", "deu")


def test_a_representation_says_what_a_player_chooses_by() -> None:
    mpd = parse([V720, V360], AUDIO)
    first, second = mpd.periods[0].adaptation_sets[0].representations
    assert (first.id, first.width, first.height, first.codecs, first.sar) == ("v720", 1280, 720, "avc1.64001f", "1:1")
    assert (second.id, second.width) == ("v360", 640)
    assert first.bandwidth == peak_bps(V720.index)
    tone = mpd.periods[0].adaptation_sets[1].representations[0]
    assert (tone.codecs, tone.audio_sampling_rate) == ("mp4a.40.2", "48000")
    assert tone.audio_channel_configurations[0].value == "2"


def test_the_timeline_is_the_segments_folded() -> None:
    template = parse([V720], None).periods[0].adaptation_sets[0].representations[0].segment_templates[0]
    assert (template.timescale, template.start_number, template.presentation_time_offset) == (1000, 1, None)
    assert (template.media, template.initialization) == ("run/v720/seg-$Number%05d$.m4s", "run/v720/init.mp4")
    assert [(entry.t, entry.d, entry.r) for entry in template.segment_timelines[0].Ss] == [(0, 4000, 1), (8000, 2000, None)]


def test_no_segment_is_longer_than_the_longest_that_is_announced() -> None:
    """4.4995 s, as a rest at the end makes of a segment, is announced as 4.500 and not as the four seconds of the others."""
    mpd = parse([rendition("v720", track(4000 * 90, 4000 * 90 + 44955, timescale=90_000))], None)
    assert mpd.max_segment_duration == "PT4.500S"


def test_a_track_that_starts_late_is_offset() -> None:
    late = rendition("v720", track(4000, start=90))
    template = parse([late], None).periods[0].adaptation_sets[0].representations[0].segment_templates[0]
    assert template.presentation_time_offset == 90


@pytest.mark.parametrize(("ticks", "timescale", "rate"), [(1001 * 2, 30000, "30000/1001"), (80, 1000, "25"), (2000, 1000, "1")])
def test_the_frame_rate_is_whole_or_a_fraction(ticks: int, timescale: int, rate: str) -> None:
    representation = (
        parse([rendition("v", track(ticks, timescale=timescale))], None).periods[0].adaptation_sets[0].representations[0]
    )
    assert representation.frame_rate == rate


def test_a_silent_film_has_one_set() -> None:
    assert len(parse([V720], None).periods[0].adaptation_sets) == 1
