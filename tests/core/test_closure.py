"""Playlists that hold together, and every way in which they may not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import captions, presentation, rendition, sound, track
from vproc.core.closure import check_closure
from vproc.core.dash import dash_manifest
from vproc.core.fmp4 import TrackIndex
from vproc.core.playlist import caption_playlist, iframe_playlist, master_playlist, media_playlist, segment_name
from vproc.core.presentation import Presentation, Rendition
from vproc.errors import TransientError


@dataclass(slots=True)
class Packed:
    """What `check_closure` is given."""

    playlists: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    durations_s: dict[str, float] = field(default_factory=dict)

    def check(self) -> str:
        """What `check_closure` finds wrong; nothing where all is well."""
        try:
            check_closure(self.playlists, self.sizes, self.durations_s)
        except TransientError as error:
            return str(error)
        return ""

    def put(self, path: str, text: str, duration_s: float) -> None:
        self.playlists[path], self.sizes[path], self.durations_s[path] = text, len(text), duration_s


def packed(*indexes: TrackIndex) -> Packed:
    """Tracks with all their objects, the last video with its key frames, and captions."""
    made, tracks = Packed(), []
    for number, index in enumerate(indexes):
        name = f"{index.kind}-{number}"
        made.put(f"run/{name}/playlist.m3u8", media_playlist(index, segment_name, "init.mp4"), index.duration_s)
        made.sizes[f"run/{name}/init.mp4"] = index.init_bytes
        made.sizes |= {f"run/{name}/{segment_name(at)}": part.size for at, part in enumerate(index.segments)}
        tracks.append(rendition(name, index))
    trick = max(at for at, one in enumerate(tracks) if one.index.is_video)
    tracks[trick] = with_key_frames(made, tracks[trick])
    shown = presentation(*tracks, captions("captions", duration_s=tracks[0].index.shown_s))
    made.sizes["run/captions/captions.vtt"] = 400
    made.put("run/captions/playlist.m3u8", caption_playlist(tracks[0].index.shown_s, "captions.vtt"), tracks[0].index.shown_s)
    made.playlists |= {"master.m3u8": master_playlist(shown), "manifest.mpd": dash_manifest(shown)}
    return made


def with_key_frames(made: Packed, video: Rendition) -> Rendition:
    path = f"run/{video.name}/iframes.m3u8"
    made.put(path, iframe_playlist(video.index, segment_name, "init.mp4"), video.index.duration_s)
    return replace(video, iframes_uri=path)


VIDEO, TONE = track(2000, 2000, 4000, 1500), sound(96_256, 95_232, 192_512, 70_000)


def test_a_package_as_it_is_written_holds_together() -> None:
    assert packed(VIDEO, track(2000, 2000, 4000, 1500, width=640, height=360), TONE, TONE).check() == ""


@given(
    st.lists(st.lists(st.integers(1, 500_000), min_size=1, max_size=6), min_size=1, max_size=3),
    st.sampled_from([1000, 15360, 90000]),
)
def test_whatever_the_durations_are_both_manifests_tell_them_alike(durations: list[list[int]], timescale: int) -> None:
    assert packed(*(track(*times, timescale=timescale) for times in durations)).check() == ""


def edit(path: str, before: str, after: str) -> Callable[[Packed], None]:
    def change(made: Packed) -> None:
        assert before in made.playlists[path]
        made.playlists[path] = made.playlists[path].replace(before, after, 1)

    return change


def lose(path: str) -> Callable[[Packed], None]:
    return lambda made: made.sizes.__delitem__(path)


def grow(path: str, size: int) -> Callable[[Packed], None]:
    return lambda made: made.sizes.__setitem__(path, size)


V, A, M, D = "run/video-0/playlist.m3u8", "run/audio-1/playlist.m3u8", "master.m3u8", "manifest.mpd"


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lose("run/video-0/seg-00002.m4s"), "links run/video-0/seg-00002.m4s, which is not there"),
        (lose("run/audio-1/init.mp4"), "init.mp4, which is not there"),
        (lose("run/captions/captions.vtt"), "captions.vtt, which is not there"),
        (grow("run/video-0/seg-00001.m4s", 0), "seg-00001.m4s, which is not there"),
        (grow("run/video-0/seg-00003.m4s", 99), "wants more of seg-00003.m4s than there is"),
        (grow("run/video-0/seg-00005.m4s", 9), "seg-00005.m4s is linked by no playlist"),
        (edit(V, "#EXT-X-ENDLIST\n", ""), "is not whole"),
        (edit(V, "TARGETDURATION:4", "TARGETDURATION:3"), "above its target"),
        (edit(V, "#EXTINF:4.000000", "#EXTINF:3.900000"), "lasts 9.400 s and its track 9.500 s"),
        (edit(V, "#EXTINF:2.000000,\nseg-00002.m4s\n", ""), "lasts 7.500 s"),
        (edit(M, "run/audio-1/playlist.m3u8", "run/audio-2/playlist.m3u8"), "master.m3u8 links run/audio-1"),
        (edit(M, "run/video-0/iframes.m3u8", V), "master.m3u8 links run/video-0/iframes.m3u8, or does not"),
        (edit(D, 'd="2000"', 'd="2001"'), "tells other times than HLS does of run/video-0/init.mp4"),
        (edit(D, 'r="1"', 'r="2"'), "seg-00005.m4s, which is not there"),
        (edit(D, 'startNumber="1"', 'startNumber="2"'), "seg-00005.m4s, which is not there"),
        (edit(D, "run/audio-1/init.mp4", "run/video-0/init.mp4"), "tells other times|lacks run/audio-1"),
        (edit(D, "run/captions/captions.vtt", "run/captions.vtt"), "links run/captions.vtt, which is not there"),
    ],
)  # fmt: skip
def test_whatever_does_not_hold_together_is_not_published(break_it: Callable[[Packed], None], words: str) -> None:
    made = packed(VIDEO, TONE)
    break_it(made)
    assert re.search(f"output_invalid: .*({words})", made.check())


def test_a_track_that_only_hls_knows_is_noticed() -> None:
    made = packed(VIDEO, TONE)
    made.playlists["manifest.mpd"] = dash_manifest(Presentation((rendition("video-0", VIDEO),)))
    assert "lacks run/audio-1/init.mp4" in made.check()
