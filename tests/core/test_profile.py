"""Profiles as values: what follows from a codec, and the choice by name. What a file may say: test_profile_file.py."""

from __future__ import annotations

from itertools import pairwise

import pytest

from vproc.core.profile import WORST_CRF, Packaging, Profile, VideoCodec, default_crf, get_profile, source_size_rung
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
    assert caught.value.detail == f"there is no profile {name!r}{meant}; there are: abr, copy, web"


def test_an_unknown_name_is_shown_no_longer_than_needed() -> None:
    with pytest.raises(RejectedError) as caught:
        get_profile("x" * 10_000, MINE)
    assert len(caught.value.detail) < 250


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
