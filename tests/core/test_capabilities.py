"""What an ffmpeg tells of itself, in the forms of several generations, and what is read from it."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import capabilities as able
from vproc.core.capabilities import (
    NEWEST,
    QUERIES,
    REQUIRED_ENCODERS,
    REQUIRED_FILTERS,
    REQUIRED_MUXERS,
    Capabilities,
    lacks,
    parse_decoders,
    parse_formats,
    parse_names,
    parse_version,
    read_capabilities,
    release_of,
    takes_ten_bits,
    unfit,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "argv"

ENCODERS = """Encoders:
 V..... = Video
 A..... = Audio
 .....D = Supports direct rendering method 1
 ------
 V....D libx264              libx264 H.264 / AVC / MPEG-4 AVC / MPEG-4 part 10 (codec h264)
 V..... h264_v4l2m2m         V4L2 mem2mem H.264 encoder wrapper (codec h264)
 VF...D ffv1                 FFmpeg video codec #1
 A....D aac                  AAC (Advanced Audio Coding)
 S..... webvtt               WebVTT subtitle
"""
DECODERS = """Decoders:
 V..... = Video
 .....D = Supports direct rendering method 1
 ------
 V....D libdav1d             dav1d AV1 decoder by VideoLAN (codec av1)
 V....D av1                  Alliance for Open Media AV1
 VFS..D h264                 H.264 / AVC / MPEG-4 AVC / MPEG-4 part 10
 V....D magicyuv             MagicYUV video
 A....D mp3float             MP3 (MPEG audio layer 3) (codec mp3)
 A....D dca                  DCA (DTS Coherent Acoustics) (codec dts)
"""
# ffmpeg 5 marks commands in a column of their own; 8 has none, and draws a line under the legend.
FILTERS_5 = """Filters:
  T.. = Timeline support
  ..C = Command support
  A = Audio input/output
  | = Source or sink filter
 ... abench            A->A       Benchmark part of a filtergraph.
 TSC bwdif             V->V       Deinterlace the input image.
 ..C zscale            V->V       Apply resizing, colorspace and bit depth conversion.
"""
FILTERS_8 = """Filters:
  T.. = Timeline support
  | = Source or sink filter
  ------
 .. abench            A->A       Benchmark part of a filtergraph.
 TS bwdif             V->V       Deinterlace the input image.
 .. split             V->N       Pass on the input to N video outputs.
"""
MUXERS_5 = """File formats:
 D. = Demuxing supported
 .E = Muxing supported
 --
  E 3g2             3GP2 (3GPP2 file format)
 DE alsa            ALSA audio output
  E mp4             MP4 (MPEG-4 Part 14)
"""
MUXERS_8 = """Formats:
 D.. = Demuxing supported
 .E. = Muxing supported
 ..d = Is a device
 ---
  E  3g2             3GP2 (3GPP2 file format)
  Ed alsa            ALSA audio output
  E  mp4             MP4 (MPEG-4 Part 14)
 DE  matroska,webm   Matroska / WebM
"""
X265 = """Encoder libx265 [libx265 H.265 / HEVC]:
    General capabilities: dr1 delay threads
    Supported pixel formats: yuv420p yuvj420p {more}
libx265 AVOptions:
"""


@pytest.mark.parametrize(
    ("line", "version", "release"),
    [
        ("ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2026 the FFmpeg developers", "5.1.9-0+deb12u1", (5, 1, 9)),
        ("ffprobe version n8.1.2 Copyright (c) 2007-2026", "n8.1.2", (8, 1, 2)),
        ("ffmpeg version n9.0.2-17-g2a571b6068-20260930 Copyright", "n9.0.2-17-g2a571b6068-20260930", (9, 0, 2)),
        ("ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright", "4.4.2-0ubuntu0.22.04.1", (4, 4, 2)),
        ("ffmpeg version 7.1 Copyright", "7.1", (7, 1, 0)),
        ("ffmpeg version 7.0.2-static https://johnvansickle.com/ffmpeg/", "7.0.2-static", (7, 0, 2)),
        ("ffmpeg version N-113007-g8d24a28d06 Copyright", "N-113007-g8d24a28d06", (NEWEST,)),
        ("ffmpeg version git-2020-01-01-abcdef Copyright", "git-2020-01-01-abcdef", (NEWEST,)),
        ("ffmpeg version 2024-01-01-git-abcdef-full_build www.gyan.dev", "2024-01-01-git-abcdef-full_build", (NEWEST,)),
    ],
)  # fmt: skip
def test_the_version_and_its_numbers_are_read_from_every_kind_of_build(line: str, version: str, release: tuple[int, ...]) -> None:
    assert parse_version(f"{line}\nbuilt with gcc\n") == version
    assert release_of(version) == release
    assert Capabilities(version).generation == release[0]


def test_newer_builds_compare_greater() -> None:
    """Numbers are compared as numbers, and a build without any is newer than each that has some."""
    versions = ["4.4.2-0ubuntu0.22.04.1", "5.1.9-0+deb12u1", "n8.1", "n8.1.2", "n8.10.1", "10.0", "N-113007-g8d24a28d06"]
    assert [release_of(older) < release_of(newer) for older, newer in pairwise(versions)] == [True] * 6


@pytest.mark.parametrize("text", ["", "GNU bash, version 5.2\n", "  ffmpeg version 5\n", "ffmpeg version "])
def test_another_program_has_no_version(text: str) -> None:
    assert parse_version(text) is None
    assert read_capabilities({"-version": text}) is None


def test_names_are_read_without_the_legend() -> None:
    assert parse_names(ENCODERS) == {"libx264", "h264_v4l2m2m", "ffv1", "aac", "webvtt"}
    assert parse_names(FILTERS_5) == {"abench", "bwdif", "zscale"}
    assert parse_names(FILTERS_8) == {"abench", "bwdif", "split"}


def test_formats_are_read_with_and_without_the_column_of_devices() -> None:
    assert parse_formats(MUXERS_5) == {"3g2", "alsa", "mp4"}
    assert parse_formats(MUXERS_8) == {"3g2", "alsa", "mp4", "matroska", "webm"}


def test_decoders_are_the_allowed_ones_with_their_codecs() -> None:
    assert parse_decoders(DECODERS) == {"libdav1d": "av1", "av1": "av1", "h264": "h264", "mp3float": "mp3", "dca": "dts"}


@pytest.mark.parametrize(("line", "decodes"), [("libdav1d", True), ("libaom-av1", True), (None, False)])
def test_av1_is_decoded_only_where_a_library_does_it(line: str | None, decodes: bool) -> None:
    """ffmpeg's own decoder of that name only drives a graphics card."""
    listed = " V....D av1                  Alliance for Open Media AV1\n"
    if line is not None:
        listed += f" V....D {line}             AV1 decoder (codec av1)\n"
    found = read_capabilities({"-version": "ffmpeg version 8.0 x", "-decoders": listed})
    assert found is not None
    assert found.decodes("av1") is decodes
    assert "av1" in found.decoders


@pytest.mark.parametrize(
    ("more", "ten"), [("yuv420p10le gray10le", True), ("yuv422p gray yuva420p", False), ("p010le", True), ("gray10le", False)]
)
def test_ten_bits_are_known_from_an_encoders_pixel_formats(more: str, ten: bool) -> None:
    assert takes_ten_bits(X265.format(more=more)) is ten


def test_everything_that_was_told_is_one_value() -> None:
    told = {
        "-version": "ffmpeg version n8.1.2 Copyright\n", "-encoders": ENCODERS, "-decoders": DECODERS, "-filters": FILTERS_8,
        "-muxers": MUXERS_8, "libx265": X265.format(more="yuv420p10le"),
    }  # fmt: skip
    found = read_capabilities(told)
    assert found is not None
    assert (found.version, found.generation) == ("n8.1.2", 8)
    assert (found.has_encoder("libx264"), found.has_encoder("libx265")) == (True, False)
    assert (found.has_filter("bwdif"), found.has_filter("zscale")) == (True, False)
    assert (found.has_muxer("webm"), found.has_muxer("dash")) == (True, False)
    assert (found.decodes("dts"), found.decodes("magicyuv")) == (True, False)
    assert (found.takes_ten_bits("libx265"), found.takes_ten_bits("libx264")) == (True, False)


@given(st.dictionaries(st.sampled_from([*QUERIES, "libx265"]), st.text()), st.text())
def test_no_text_is_an_error(told: dict[str, str], text: str) -> None:
    read_capabilities(told)
    read_capabilities(told | {"-version": "ffmpeg version " + text})
    assert all(release_of(text))


# --- what is missing -------------------------------------------------------------------------------------------------


def test_a_whole_build_is_fit_and_lacks_nothing() -> None:
    assert unfit(able()) == ()
    assert lacks(able()) == ()


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"encoders": REQUIRED_ENCODERS - {"libx264"}}, "the encoder libx264"),
        ({"filters": REQUIRED_FILTERS - {"lut3d"}}, "the filter lut3d"),
        ({"muxers": REQUIRED_MUXERS - {"mp4"}}, "the muxer mp4"),
        ({"codecs": frozenset({"h264", "aac"})}, "a decoder of hevc"),
    ],
)
def test_a_build_without_what_every_daemon_needs_is_unfit(changes: dict[str, frozenset[str]], missing: str) -> None:
    assert unfit(able(**changes)) == (missing,)


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"encoders": able().encoders - {"libsvtav1"}}, "libsvtav1", "profiles that make AV1 are refused"),
        ({"ten_bit": frozenset()}, "libx265 of ten bits", "10-bit HEVC are refused"),
        ({"codecs": able().codecs - {"av1"}}, "a decoder of av1", "sources in av1 are refused"),
        ({"codecs": able().codecs - {"png"}}, "a decoder of png", "PNG cover art is passed over"),
        ({"filters": REQUIRED_FILTERS}, "zscale", "HDR is tone-mapped by lut3d"),
    ],
)
def test_each_lack_is_named_with_what_follows(changes: dict[str, frozenset[str]], name: str, words: str) -> None:
    (lack,) = lacks(able(**changes))
    assert lack.name == name
    assert words in lack.consequence
    assert lack.harmless is ("refused" not in words)


def test_an_encoder_that_is_not_there_is_not_told_again_for_its_ten_bits() -> None:
    found = lacks(able(encoders=able().encoders - {"libx265"}, ten_bit=frozenset()))
    assert [lack.name for lack in found] == ["libx265"]


def filters_in(graph: str) -> set[str]:
    """The filters' names in a filter graph, as ffmpeg splits it."""
    chains = re.split(r"[;,](?=(?:[^']*'[^']*')*[^']*$)", graph.replace("\\,", " "))
    return {re.split(r"[=@\[]", re.sub(r"^\s*(?:\[[^\]]*\])*", "", chain))[0] for chain in chains}


def test_whatever_every_built_in_profile_uses_is_required() -> None:
    """Else a build would be found wanting by the first job that needs it."""
    filters: set[str] = set()
    muxers: set[str] = set()
    for file in GOLDEN.glob("*.txt"):
        words = shlex.split(file.read_text())
        for at, (option, value) in enumerate(pairwise(words)):
            if option in {"-filter_complex", "-vf"} or option.startswith("-filter:a"):
                filters |= filters_in(value)
            following = words[at : words.index("ffmpeg", at) if "ffmpeg" in words[at:] else None]
            if option == "-f" and "-i" not in following:
                muxers.add(value)
    assert {"scale", "tile"} <= filters <= REQUIRED_FILTERS
    assert {"nut", "mp4"} <= muxers <= REQUIRED_MUXERS
