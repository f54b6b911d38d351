"""HLS playlists, read back by a player's parser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import captions, label, presentation, rendition, sound, track
from vproc.core.labels import TrackLabel, TrackRole
from vproc.core.playlist import (
    average_bps,
    caption_playlist,
    iframe_peak_bps,
    iframe_playlist,
    master_playlist,
    media_playlist,
    peak_bps,
    segment_name,
    starts,
    target_duration_s,
)


def test_a_media_playlist_lists_each_segment_with_its_exact_time() -> None:
    text = media_playlist(track(360360, 360360, 45045, timescale=90000), segment_name, "init.mp4")
    assert text == (
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n"
        '#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI="init.mp4"\n'
        "#EXTINF:4.004000,\nseg-00001.m4s\n#EXTINF:4.004000,\nseg-00002.m4s\n#EXTINF:0.500500,\nseg-00003.m4s\n#EXT-X-ENDLIST\n"
    )


def test_a_track_whose_segments_lean_on_others_does_not_say_independent() -> None:
    leaning = track(4000)
    leaning = replace(leaning, segments=(replace(leaning.segments[0], starts_with_sync=False),))
    assert "INDEPENDENT" not in media_playlist(leaning, segment_name, "init.mp4")
    assert "INDEPENDENT" not in master_playlist(presentation(rendition("v720", leaning)))


@pytest.mark.parametrize(("durations", "target"), [((4000, 4499), 4), ((4000, 4500), 5), ((33,), 1), ((4010, 2026), 4)])
def test_the_target_duration_is_the_longest_rounded(durations: tuple[int, ...], target: int) -> None:
    assert target_duration_s(track(*durations)) == target


@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=30), st.sampled_from([1000, 15360, 48000, 90000]))
def test_a_parser_reads_back_what_was_indexed(durations: list[int], timescale: int) -> None:
    index = track(*durations, timescale=timescale)
    read = m3u8.loads(media_playlist(index, segment_name, "init.mp4"))
    assert (read.version, read.playlist_type, read.is_endlist, read.is_independent_segments) == (7, "vod", True, True)
    assert [part.uri for part in read.segments] == [segment_name(number) for number in range(len(durations))]
    assert read.segment_map[0].uri == "init.mp4"
    assert all(abs(part.duration - ticks / timescale) < 1e-6 for part, ticks in zip(read.segments, durations, strict=True))
    assert all(round(part.duration) <= read.target_duration for part in read.segments)


def master(*tracks: Any) -> Any:
    """The multivariant playlist of these tracks, read by a player's parser."""
    return m3u8.loads(master_playlist(presentation(*tracks)))


V720 = rendition("v720", track(4000, 2000, size=500_000))
V360 = rendition("v360", track(4000, 2000, width=640, height=360))
TONE = sound(192_512, 97_280)


def test_the_master_playlist_has_a_variant_for_each_rung_with_the_one_sound() -> None:
    read = master(V720, V360, rendition("audio", TONE, label("deu")))
    assert (read.is_variant, read.is_independent_segments) == (True, True)
    assert [variant.uri for variant in read.playlists] == ["run/v720/playlist.m3u8", "run/v360/playlist.m3u8"]
    first = read.playlists[0].stream_info
    assert (first.resolution, first.codecs, first.audio, first.video_range, first.closed_captions) == (
        (1280, 720),
        "avc1.64001f,mp4a.40.2",
        "audio",
        "SDR",
        "NONE",
    )
    (group,) = read.media
    assert (group.type, group.group_id, group.uri, group.language) == ("AUDIO", "audio", "run/audio/playlist.m3u8", "de")
    assert (group.default, group.autoselect, group.channels, group.name) == ("YES", "YES", "2", "de")


def test_a_silent_film_names_no_sound_and_no_captions() -> None:
    text = master_playlist(presentation(V720))
    assert "AUDIO" not in text
    assert "SUBTITLES" not in text
    assert 'CODECS="avc1.64001f"' in text


def test_rates_count_the_sound_in() -> None:
    picture, tone = track(4000, 4000, size=1_000_000), sound(192_000, 192_000, size=64_000)
    info = master(rendition("v720", picture), rendition("audio", tone)).playlists[0].stream_info
    assert info.average_bandwidth == 2_000_000 + 128_000
    assert info.bandwidth == 2_000_000 + 128_000


def test_rates_are_of_the_video_with_the_largest_sound_and_the_largest_captions() -> None:
    picture, small, large = track(4000, size=500_000), sound(192_000, size=32_000), sound(192_000, size=64_000)
    info = master(
        rendition("v720", picture), rendition("audio", small), rendition("audio-2", large),
        captions("captions", size_bytes=1000, duration_s=4.0), captions("captions-2", size_bytes=3000, duration_s=4.0),
    ).playlists[0].stream_info  # fmt: skip
    assert info.bandwidth == 1_000_000 + 128_000 + 6_000
    assert info.codecs == "avc1.64001f,mp4a.40.2"


@pytest.mark.parametrize("told", ["SDR", "PQ", "HLG"])
def test_each_variant_says_its_dynamic_range(told: str) -> None:
    video = replace(V720, video_range=told, iframes_uri="run/v720/iframes.m3u8")
    read = master(video)
    assert read.playlists[0].stream_info.video_range == told
    assert read.iframe_playlists[0].iframe_stream_info.video_range == told


def test_every_sound_is_offered_under_a_name_of_its_own_and_the_first_is_played_unasked() -> None:
    read = master(
        V720,
        rendition("audio", TONE, label("eng", default=True)),
        rendition("audio-2", TONE, label("fra", title='Version "longue"')),
        rendition("audio-3", TONE, label("eng", TrackRole.COMMENT, title="Director", default=True)),
        rendition("audio-4", TONE, label("eng", TrackRole.VISUAL_IMPAIRED)),
        rendition("audio-5", TONE, label("eng")),
        rendition("audio-6", TONE),
    )
    told = [(media.name, media.language, media.default, media.autoselect, media.characteristics) for media in read.media]
    assert told == [
        ("en", "en", "YES", "YES", None),
        ("Version 'longue'", "fr", "NO", "YES", None),
        ("Director", "en", "NO", "NO", None),
        ("en (2)", "en", "NO", "YES", "public.accessibility.describes-video"),
        ("en (3)", "en", "NO", "NO", None),
        ("audio", None, "NO", "YES", None),
    ]
    assert len({media.uri for media in read.media}) == 6
    assert {variant.stream_info.audio for variant in read.playlists} == {"audio"}


def test_captions_are_shown_unasked_only_where_the_file_wants_it() -> None:
    read = master(
        V720,
        captions("captions", label("eng")),
        captions("captions-2", label("eng", TrackRole.HEARING_IMPAIRED)),
        captions("captions-3", label("deu", default=True)),
        captions("captions-4", label("eng", TrackRole.FORCED, default=True)),
    )
    told = [(media.type, media.language, media.default, media.forced) for media in read.media]
    assert told == [
        ("SUBTITLES", "en", "NO", "NO"),
        ("SUBTITLES", "en", "NO", "NO"),
        ("SUBTITLES", "de", "YES", "NO"),
        ("SUBTITLES", "en", "NO", "YES"),
    ]
    assert [media.autoselect for media in read.media] == ["YES"] * 4
    assert "transcribes-spoken-dialog" in read.media[1].characteristics
    assert read.playlists[0].stream_info.subtitles == read.media[0].group_id


LABELS = st.builds(
    TrackLabel,
    st.sampled_from([None, "eng", "deu", "fra", "gsw"]),
    st.sampled_from([None, "Main", 'a"b', "a'b", "en", "audio"]),
    st.booleans(),
    st.frozensets(st.sampled_from(TrackRole), max_size=3),
)


@given(st.lists(LABELS, min_size=1, max_size=8), st.lists(LABELS, max_size=8))
def test_whatever_tracks_are_called_the_groups_are_what_the_standard_allows(
    told: list[TrackLabel], texts: list[TrackLabel]
) -> None:
    """Names differ, one sound is the default, and no two that a player may choose alone are alike (RFC 8216bis, 4.4.6.1.1)."""
    read = master(
        V720,
        *(rendition(f"audio-{number}", TONE, one) for number, one in enumerate(told)),
        *(captions(f"captions-{number}", one) for number, one in enumerate(texts)),
    )
    assert len(read.media) == len(told) + len(texts)
    for kind, count in (("AUDIO", 1), ("SUBTITLES", int(any(text.default for text in texts)))):
        group = [media for media in read.media if media.type == kind]
        assert len({media.name for media in group}) == len(group)
        assert [media.default for media in group].count("YES") == count
        assert all(media.autoselect == "YES" for media in group if media.default == "YES")
        chosen = [media for media in group if media.autoselect == "YES" and media.default == "NO"]
        assert len({(media.language, media.characteristics, media.forced) for media in chosen}) == len(chosen)


def test_key_frames_are_the_beginning_of_each_segment_for_as_long_as_it_lasts() -> None:
    index = track(2000, 2000, 4000, size=1000, lead=300)
    text = iframe_playlist(index, segment_name, "init.mp4")
    read = m3u8.loads(text)
    assert (read.is_i_frames_only, read.is_endlist, read.target_duration) == (True, True, 4)
    assert [(part.uri, part.byterange, part.duration) for part in read.segments] == [
        ("seg-00001.m4s", "300@0", 2.0),
        ("seg-00002.m4s", "300@0", 2.0),
        ("seg-00003.m4s", "300@0", 4.0),
    ]
    assert iframe_peak_bps(index) == 1200


def test_a_segment_without_a_key_frame_is_shown_by_the_one_before() -> None:
    index = track(4000, 4000, 2000, lead=300)
    first, second, third = index.segments
    leaning = replace(index, segments=(first, replace(second, starts_with_sync=False), third))
    read = m3u8.loads(iframe_playlist(leaning, segment_name, "init.mp4"))
    assert [(part.uri, part.duration) for part in read.segments] == [("seg-00001.m4s", 8.0), ("seg-00003.m4s", 2.0)]
    assert read.target_duration == 8


def test_the_master_names_playlists_of_key_frames_with_their_own_rate() -> None:
    trick = replace(rendition("v360", track(4000, lead=5000, width=640, height=360)), iframes_uri="run/v360/iframes.m3u8")
    (stream,) = master(V720, trick, rendition("audio", TONE)).iframe_playlists
    told = stream.iframe_stream_info
    assert (stream.uri, told.resolution, told.codecs, told.bandwidth) == (
        "run/v360/iframes.m3u8",
        (640, 360),
        "avc1.64001f",
        10_000,
    )


@pytest.mark.parametrize(("duration_s", "target_s"), [(0.2, 1), (61.4, 61), (61.5, 62)])
def test_captions_are_one_segment_as_long_as_the_film(duration_s: float, target_s: int) -> None:
    read = m3u8.loads(caption_playlist(duration_s, "captions.vtt"))
    assert [(part.uri, part.duration) for part in read.segments] == [("captions.vtt", duration_s)]
    assert (read.target_duration, read.is_endlist, read.playlist_type) == (target_s, True, "vod")


def test_the_peak_is_the_worst_run_of_about_a_target_duration() -> None:
    index = track(4000, 4000, 200)
    heavy = replace(
        index, segments=tuple(replace(part, size=size) for part, size in zip(index.segments, (1000, 8000, 5000), strict=True))
    )
    assert peak_bps(heavy) == -(-(8000 + 5000) * 8 * 1000 // 4200)
    assert average_bps(heavy) == -(-14_000 * 8 * 1000 // 8200)


def test_a_film_shorter_than_half_a_second_has_a_rate_too() -> None:
    assert peak_bps(track(33, size=4125)) == 1_000_000


@given(st.lists(st.tuples(st.integers(1, 9000), st.integers(1, 10**6)), min_size=1, max_size=12))
def test_the_peak_is_never_below_the_average(parts: list[tuple[int, int]]) -> None:
    index = track(*(duration for duration, _ in parts))
    index = replace(
        index, segments=tuple(replace(part, size=size) for part, (_, size) in zip(index.segments, parts, strict=True))
    )
    assert peak_bps(index) >= average_bps(index) > 0


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20))
def test_runs_of_equal_segments_unfold_to_all_of_them(durations: list[int]) -> None:
    segments = track(*durations).segments
    unfolded = [(start + number * duration, duration) for start, duration, count in starts(segments) for number in range(count)]
    assert unfolded == [(part.start, part.duration) for part in segments]


def test_a_hole_ends_a_run() -> None:
    parts = track(4, 4, 4).segments
    assert starts([parts[0], parts[2]]) == [(0, 4, 1), (8, 4, 1)]
