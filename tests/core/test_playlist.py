"""HLS playlists, read back by a player's parser."""

from __future__ import annotations

from dataclasses import replace

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import sound, track
from vproc.core.fmp4 import TrackIndex
from vproc.core.playlist import (
    Rendition,
    average_bps,
    master_playlist,
    media_playlist,
    peak_bps,
    segment_name,
    starts,
    target_duration_s,
)


def rendition(name: str, index: TrackIndex, language: str | None = None) -> Rendition:
    return Rendition(
        name, index, f"run/{name}/playlist.m3u8", f"run/{name}/init.mp4", f"run/{name}/seg-$Number%05d$.m4s", language
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
    assert "INDEPENDENT" not in master_playlist([rendition("v720", leaning)], None)


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


def test_the_master_playlist_has_a_variant_for_each_rung_with_the_one_sound() -> None:
    videos = [rendition("v720", track(4000, 2000, size=500_000)), rendition("v360", track(4000, 2000, width=640, height=360))]
    read = m3u8.loads(master_playlist(videos, rendition("audio", sound(192_512, 97_280), "deu")))
    assert read.is_variant
    assert [variant.uri for variant in read.playlists] == ["run/v720/playlist.m3u8", "run/v360/playlist.m3u8"]
    first = read.playlists[0].stream_info
    assert (first.resolution, first.codecs, first.audio, first.video_range) == (
        (1280, 720),
        "avc1.64001f,mp4a.40.2",
        "audio",
        "SDR",
    )
    (group,) = read.media
    assert (group.type, group.group_id, group.uri, group.language) == ("AUDIO", "audio", "run/audio/playlist.m3u8", "deu")
    assert (group.default, group.autoselect, group.channels) == ("YES", "YES", "2")


def test_a_silent_film_names_no_sound() -> None:
    text = master_playlist([rendition("v720", track(4000))], None)
    assert "AUDIO" not in text
    assert 'CODECS="avc1.64001f"' in text


def test_rates_count_the_sound_in() -> None:
    picture, tone = track(4000, 4000, size=1_000_000), sound(192_000, 192_000, size=64_000)
    info = m3u8.loads(master_playlist([rendition("v720", picture)], rendition("audio", tone))).playlists[0].stream_info
    assert info.average_bandwidth == 2_000_000 + 128_000
    assert info.bandwidth == 2_000_000 + 128_000


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
