"""Profiles as values: what follows from a codec, and the choice by name. What a file may say: test_profile_file.py."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from vproc.core.profile import (
    WORST_CRF,
    Packaging,
    Profile,
    RungSpec,
    VideoCodec,
    default_crf,
    get_profile,
    profile_name,
    source_size_rung,
    with_rungs,
)
from vproc.errors import RejectedError

MINE = {"web": Profile("web", Packaging.COPY), "abr": Profile("abr", Packaging.COPY), "copy": Profile("copy", Packaging.COPY)}


def test_a_profile_is_had_by_its_name() -> None:
    assert get_profile("web", MINE) is MINE["web"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("wob", " (did you mean web?)"), ("ab", " (did you mean abr?)"), ("Copy", " (did you mean copy?)"), ("zzz", ""), ("", "")],
)
def test_an_unknown_profile_is_refused_with_the_near_ones_and_those_there_are(name: str, meant: str) -> None:
    with pytest.raises(RejectedError) as caught:
        get_profile(name, MINE)
    assert caught.value.code == "unknown_profile"
    assert caught.value.detail == f"there is no profile {name!r}{meant}; there are: web, abr, copy"


def test_an_unknown_name_is_shown_no_longer_than_needed() -> None:
    with pytest.raises(RejectedError) as caught:
        get_profile("x" * 10_000, MINE)
    assert len(caught.value.detail) < 250


LADDER = {
    "abr": Profile("abr", Packaging.CMAF, VideoCodec.H264, rungs=tuple(RungSpec(side, 23, 1, 2) for side in (1080, 720, 360))),
    "mp4": Profile("mp4", Packaging.PROGRESSIVE, VideoCodec.H264, rungs=(RungSpec(None, 23, 1, 2),)),
}


@pytest.mark.parametrize(
    ("reference", "sides"),
    [("abr:720", [720]), ("abr:360,1080", [1080, 360]), ("abr: 720 , 720", [720]), ("abr:1080,720,360", [1080, 720, 360])],
)
def test_some_of_a_profiles_rungs_may_be_asked_for(reference: str, sides: list[int]) -> None:
    """Largest first however they are written; all else is the profile's, its name too."""
    narrowed = get_profile(reference, LADDER)
    assert [rung.short_side_px for rung in narrowed.rungs] == sides
    assert replace(narrowed, rungs=LADDER["abr"].rungs) == LADDER["abr"]
    assert profile_name(reference) == narrowed.name == "abr"
    assert get_profile(with_rungs("abr", sides), LADDER) == narrowed


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("abr:480", "profile abr has no rung '480'; it has 1080, 720, 360"),
        ("abr:", "profile abr has no rung ''; it has 1080, 720, 360"),
        ("abr:720,x", "profile abr has no rung 'x'; it has 1080, 720, 360"),
        ("abr:720:360", "profile abr has no rung '720:360'; it has 1080, 720, 360"),
        ("abr:0720", "profile abr has no rung '0720'; it has 1080, 720, 360"),
        ("mp4:720", "profile mp4 has no rung '720'; it has none to choose from"),
        ("avr:720", "there is no profile 'avr' (did you mean abr?); there are: abr, mp4"),
    ],
)
def test_a_rung_that_is_not_there_is_refused_with_those_that_are(reference: str, told: str) -> None:
    with pytest.raises(RejectedError) as caught:
        get_profile(reference, LADDER)
    assert (caught.value.code, caught.value.detail) == ("unknown_profile", told)


@pytest.mark.parametrize(("side", "kbps"), [(4320, 16000), (2160, 16000), (1440, 9000), (1080, 5000), (719, 1400), (100, 800)])
def test_a_single_file_is_capped_by_its_size(side: int, kbps: int) -> None:
    assert source_size_rung(side, VideoCodec.H264).maxrate_bps == kbps * 1000
    for codec in (VideoCodec.HEVC, VideoCodec.AV1, VideoCodec.VP9):
        assert kbps * 500 < source_size_rung(side, codec).maxrate_bps < kbps * 1000


@pytest.mark.parametrize("codec", VideoCodec)
def test_the_quality_of_a_codec_lies_within_its_scale(codec: VideoCodec) -> None:
    rung = source_size_rung(1080, codec)
    assert rung.crf == default_crf(codec)
    assert 0 < rung.crf < WORST_CRF[codec]
    assert (rung.short_side_px, rung.bufsize_bits, rung.bitrate_bps) == (None, 2 * rung.maxrate_bps, None)


@pytest.mark.parametrize("codec", VideoCodec)
def test_a_larger_source_is_never_capped_lower(codec: VideoCodec) -> None:
    caps = [source_size_rung(side, codec).maxrate_bps for side in range(16, 4321, 8)]
    assert all(smaller <= larger for smaller, larger in pairwise(caps))
