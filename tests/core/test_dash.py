"""The DASH manifest, read back by a parser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from mpegdash.parser import MPEGDASHParser

from tests.support.samples import captions, label, presentation, rendition, sound, track
from vproc.core.dash import dash_manifest
from vproc.core.labels import TrackRole
from vproc.core.playlist import peak_bps

V720 = rendition("v720", track(4000, 4000, 2000))
V360 = rendition("v360", track(4000, 4000, 2000, width=640, height=360))
AUDIO = rendition("audio", sound(192_512, 192_512, 97_280), label("deu"))


def parse(*tracks: Any) -> Any:
    return MPEGDASHParser.parse(dash_manifest(presentation(*tracks)))


def test_it_is_one_static_period_of_a_picture_and_a_sound_set() -> None:
    mpd = parse(V720, V360, AUDIO)
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
    assert (tones.content_type, tones.lang) == ("audio", "de")


def test_a_representation_says_what_a_player_chooses_by() -> None:
    mpd = parse(V720, V360, AUDIO)
    first, second = mpd.periods[0].adaptation_sets[0].representations
    assert (first.id, first.width, first.height, first.codecs, first.sar) == ("v720", 1280, 720, "avc1.64001f", "1:1")
    assert (second.id, second.width) == ("v360", 640)
    assert first.bandwidth == peak_bps(V720.index)
    tone = mpd.periods[0].adaptation_sets[1].representations[0]
    assert (tone.codecs, tone.audio_sampling_rate) == ("mp4a.40.2", "48000")
    assert tone.audio_channel_configurations[0].value == "2"


def test_the_timeline_is_the_segments_folded() -> None:
    template = parse(V720).periods[0].adaptation_sets[0].representations[0].segment_templates[0]
    assert (template.timescale, template.start_number, template.presentation_time_offset) == (1000, 1, None)
    assert (template.media, template.initialization) == ("run/v720/seg-$Number%05d$.m4s", "run/v720/init.mp4")
    assert [(entry.t, entry.d, entry.r) for entry in template.segment_timelines[0].Ss] == [(0, 4000, 1), (8000, 2000, None)]


def test_no_segment_is_longer_than_the_longest_that_is_announced() -> None:
    """4.4995 s, as a rest at the end makes of a segment, is announced as 4.500 and not as the four seconds of the others."""
    mpd = parse(rendition("v720", track(4000 * 90, 4000 * 90 + 44955, timescale=90_000)))
    assert mpd.max_segment_duration == "PT4.500S"


def test_a_track_that_starts_late_is_offset() -> None:
    late = rendition("v720", track(4000, start=90))
    template = parse(late).periods[0].adaptation_sets[0].representations[0].segment_templates[0]
    assert template.presentation_time_offset == 90


@pytest.mark.parametrize(("ticks", "timescale", "rate"), [(1001 * 2, 30000, "30000/1001"), (80, 1000, "25"), (2000, 1000, "1")])
def test_the_frame_rate_is_whole_or_a_fraction(ticks: int, timescale: int, rate: str) -> None:
    representation = parse(rendition("v", track(ticks, timescale=timescale))).periods[0].adaptation_sets[0].representations[0]
    assert representation.frame_rate == rate


def test_a_silent_film_has_one_set() -> None:
    assert len(parse(V720).periods[0].adaptation_sets) == 1


def told(adaptation: Any) -> tuple[Any, ...]:
    """What a menu and a choice are made of."""
    return (
        adaptation.lang,
        [one.value for one in adaptation.roles or []],
        [one.value for one in adaptation.accessibilities or []],
    )


def test_each_sound_is_a_set_of_its_own_with_its_language_and_purpose() -> None:
    tone = AUDIO.index
    mpd = parse(
        V720,
        AUDIO,
        rendition("audio-2", tone, label("eng", TrackRole.DUB)),
        rendition("audio-3", tone, label("eng", TrackRole.COMMENT)),
        rendition("audio-4", tone, label(None, TrackRole.VISUAL_IMPAIRED)),
        rendition("audio-5", tone, label("gsw", TrackRole.HEARING_IMPAIRED)),
    )
    sets = mpd.periods[0].adaptation_sets
    assert [one.id for one in sets] == list(range(6))
    assert [told(one) for one in sets[1:]] == [
        ("de", ["main"], []),
        ("en", ["alternate", "dub"], []),
        ("en", ["alternate", "commentary"], []),
        (None, ["alternate", "description"], ["1"]),
        ("gsw", ["alternate"], ["2"]),
    ]


def test_captions_are_a_file_beside_the_film() -> None:
    mpd = parse(
        V720,
        AUDIO,
        captions("captions", label("eng", default=True), size_bytes=800, duration_s=8.0),
        captions("captions-2", label("fra", TrackRole.HEARING_IMPAIRED)),
        captions("captions-3", label("deu", TrackRole.FORCED)),
    )
    texts = mpd.periods[0].adaptation_sets[2:]
    assert [(one.content_type, one.mime_type) for one in texts] == [("text", "text/vtt")] * 3
    assert [told(one) for one in texts] == [
        ("en", ["subtitle", "main"], []),
        ("fr", ["caption"], ["2"]),
        ("de", ["forced-subtitle"], []),
    ]
    (first,) = texts[0].representations
    assert (first.id, first.bandwidth, first.base_urls[0].base_url_value) == ("captions", 800, "run/captions/captions.vtt")
    assert mpd.media_presentation_duration == f"PT{AUDIO.index.shown_s:.3f}S", "captions make a film no longer"


def test_a_title_is_a_label_and_a_bare_language_is_none() -> None:
    text = dash_manifest(presentation(V720, AUDIO, rendition("audio-2", AUDIO.index, label("eng", title="<b>&Co</b>"))))
    assert text.count("<Label>") == 1
    assert "<Label>&lt;b&gt;&amp;Co&lt;/b&gt;</Label>" in text


def test_two_tracks_of_one_language_can_be_told_apart() -> None:
    text = dash_manifest(presentation(V720, AUDIO, rendition("audio-2", AUDIO.index, label("deu"))))
    assert "<Label>de (2)</Label>" in text


@pytest.mark.parametrize(("channels", "configuration"), [(1, "1"), (2, "2"), (6, "6"), (8, "12")])
def test_channels_are_told_by_the_number_of_their_layout(channels: int, configuration: str) -> None:
    mpd = parse(V720, rendition("audio", replace(AUDIO.index, channels=channels)))
    representation = mpd.periods[0].adaptation_sets[1].representations[0]
    assert representation.audio_channel_configurations[0].value == configuration


@pytest.mark.parametrize(("dynamic", "transfer"), [("SDR", []), ("PQ", ["16"]), ("HLG", ["18"])])
def test_a_set_says_by_which_curve_its_pictures_are_made(dynamic: str, transfer: list[str]) -> None:
    pictures = parse(replace(V720, video_range=dynamic)).periods[0].adaptation_sets[0]
    assert [one.value for one in pictures.supplemental_properties or []] == transfer


def test_a_track_whose_segments_lean_on_others_promises_no_access_points() -> None:
    leaning = replace(V720.index, segments=tuple(replace(one, starts_with_sync=False) for one in V720.index.segments))
    assert parse(rendition("v720", leaning)).periods[0].adaptation_sets[0].start_with_sap is None
