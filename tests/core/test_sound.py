"""Options of sound tracks."""

from __future__ import annotations

import re

import pytest

from tests.support.samples import audio
from vproc.core.labels import TrackRole
from vproc.core.sound import kept_channels, sound_options


def options(*tracks: object, most: int = 2) -> list[str]:
    return sound_options(tracks, bitrate_bps=128_000, most_channels=most)  # type: ignore[arg-type]


def value(argv: list[str], option: str) -> str:
    return argv[argv.index(option) + 1]


@pytest.mark.parametrize(
    ("channels", "most", "kept"),
    [(1, 2, 1), (2, 2, 2), (3, 2, 2), (6, 2, 2), (8, 2, 2), (6, 6, 6), (8, 6, 6), (8, 8, 8), (7, 8, 6), (5, 6, 2), (2, 1, 1),
     (24, 2, 2), (24, 8, 8), (1, 8, 1)],
)  # fmt: skip
def test_no_channel_is_invented_and_none_too_many_kept(channels: int, most: int, kept: int) -> None:
    assert kept_channels(audio(channels=channels), most) == kept


def test_mono_and_stereo_are_left_as_they_are() -> None:
    for channels in (1, 2):
        argv = options(audio(channels=channels))
        assert value(argv, "-filter:a") == "aresample=async=1:first_pts=0"
        assert (value(argv, "-ac:a"), value(argv, "-b:a")) == (str(channels), "128000")


def test_surround_is_mixed_down_and_its_peaks_are_held() -> None:
    chain = value(options(audio(channels=6)), "-filter:a")
    assert re.fullmatch(r"aresample=\S+,aformat=channel_layouts=stereo,alimiter=limit=0.9:level=0:latency=1", chain)


def test_what_has_more_channels_than_layouts_have_names_gives_its_first_two() -> None:
    assert value(options(audio(channels=16)), "-filter:a").startswith("pan=stereo|c0=c0|c1=c1,")


def test_surround_that_is_kept_takes_a_rate_of_its_own() -> None:
    argv = options(audio(channels=6), most=6)
    assert (value(argv, "-ac:a"), value(argv, "-b:a"), value(argv, "-filter:a").count(",")) == ("6", "384000", 0)


@pytest.mark.parametrize(("rate", "resampled"), [(44100, False), (48000, False), (22050, True), (96000, True)])
def test_rates_that_some_player_refuses_are_resampled(rate: int, resampled: bool) -> None:
    assert ("-ar:a" in options(audio(sample_rate=rate))) is resampled


def test_several_tracks_have_options_of_their_own() -> None:
    argv = options(
        audio(4, channels=6, language="eng"),
        audio(1, channels=1, sample_rate=8000, language=None),
        audio(2, language="deu", roles=(TrackRole.VISUAL_IMPAIRED, TrackRole.COMMENT)),
    )
    assert argv[:6] == ["-map", "0:4", "-map", "0:1", "-map", "0:2"]
    assert [value(argv, f"-ac:a:{number}") for number in range(3)] == ["2", "1", "2"]
    assert value(argv, "-ar:a:1") == "48000"
    assert "-ar:a:0" not in argv
    assert (value(argv, "-metadata:s:a:0"), value(argv, "-metadata:s:a:2")) == ("language=eng", "language=deu")
    assert "-metadata:s:a:1" not in argv
    assert [value(argv, f"-disposition:a:{number}") for number in range(3)] == ["default", "0", "comment+visual_impaired"]


def test_one_track_alone_is_what_it_is_and_only_tells_its_language() -> None:
    argv = options(audio(language="fra", roles=(TrackRole.DUB,)))
    assert value(argv, "-metadata:s:a:0") == "language=fra"
    assert not any(word.startswith("-disposition") for word in argv)


def test_no_title_of_a_stranger_comes_into_a_command_line() -> None:
    titled = audio(language="eng")
    titled = type(titled)(**{
        name: getattr(titled, name) for name in ("index", "codec", "channels", "sample_rate")
    }, label=type(titled.label)("eng", title="-y /etc/passwd"))  # fmt: skip
    assert not any("passwd" in word for word in options(titled, titled))
