"""High dynamic range by the real ffmpeg: mapped to BT.709 for rungs, poster and thumbnails alike, or kept with its metadata."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tests.support.colours import Coding, Colour, shown, steps, write_film
from tests.support.media import FFPROBE, Encoded, encode, examine
from tests.support.tools import GENERATIONS, in_use
from vproc.core.allowlist import file_url
from vproc.core.colour import VideoRange, video_range
from vproc.core.profile import HdrMode, VideoCodec
from vproc.profiles import builtin_profile

TO_BT2020 = ((0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956))
X265 = "-c:v libx265 -preset ultrafast -tag:v hvc1 -x265-params log-level=error:crf=2"
MASTERED = (
    ":master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400:repeat-headers=1"
)
PQ = Coding("yuv420p10le", "bt2020nc", "bt2020", "smpte2084", options=X265)
HLG = replace(PQ, transfer="arib-std-b67")

# Light of BT.709's primaries in cd/m², and what an SDR display of 203 cd/m² is to show of it. Up to 80 it is the same light.
LIGHTS: tuple[Colour, ...] = (
    (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (10.0, 10.0, 10.0), (50.0, 50.0, 50.0), (75.0, 50.0, 40.0), (20.0, 45.0, 25.0),
    (15.0, 25.0, 70.0), (203.0, 203.0, 203.0), (1000.0, 1000.0, 1000.0),
)  # fmt: skip
WHITES = {203.0: 0.903, 1000.0: 1.0}
"""BT.2390's roll-off from 1000 to 203 cd/m², behind BT.1886."""
FEW = 5.0


def pq(nits: float) -> float:
    power = (max(nits, 0.0) / 10_000) ** (2610 / 16384)
    return float(((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32))


def signal(light: Colour) -> Colour:
    red, green, blue = (pq(sum(a * b for a, b in zip(row, light, strict=True))) for row in TO_BT2020)
    return red, green, blue


EXPECTED: tuple[Colour, ...] = tuple(
    (WHITES[light[0]],) * 3 if light[0] in WHITES else tuple((value / 203) ** (1 / 2.4) for value in light)  # type: ignore[misc]
    for light in LIGHTS
)


@cache
def film(tmp: Path, coding: Coding, colours: tuple[Colour, ...]) -> Path:
    return write_film(tmp / "film.mp4", colours, coding)


def side_data(path: Path) -> set[str]:
    """The kinds of a file's first pictures and of its stream, as the newer ffprobe tells them."""
    asked = ["-show_entries", "frame_side_data=side_data_type:stream_side_data=side_data_type", "-read_intervals", "%+#4"]
    argv = [GENERATIONS[-1].ffprobe, "-v", "error", "-select_streams", "v:0", *asked, "-of", "json", file_url(path)]
    answer = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    return {data["side_data_type"] for part in (*answer["frames"], *answer["streams"]) for data in part.get("side_data_list", ())}


def is_of_hdr(kind: str) -> bool:
    return any(word in kind for word in ("Mastering", "Content light", "HDR", "DOVI", "Dolby", "Ambient"))


@pytest.mark.parametrize("profile", ["abr", "hevc"])
def test_hdr10_shows_in_every_output_what_an_sdr_display_can_show(profile: str, tmp_path: Path) -> None:
    source = film(tmp_path, replace(PQ, options=X265 + MASTERED), tuple(map(signal, LIGHTS)))
    done = encode(source, profile, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.plan.files[0].tone_map.peak_nits == 1000
    pictures = [(done.path("poster"), "bt601")] if profile == "abr" else []
    for path, matrix in [(done.path("v64"), None), *pictures]:
        assert max(map(steps, shown(path, len(LIGHTS), matrix=matrix), EXPECTED)) <= FEW
    check_is_bt709(done)


def check_is_bt709(done: Encoded) -> None:
    video = done.probe("v64").video
    assert video is not None
    assert (video.color_space, video.color_primaries, video.color_transfer) == ("bt709", "bt709", "bt709")
    assert (video.color_range, video.pix_fmt, video_range(video)) == ("tv", "yuv420p", VideoRange.SDR)
    assert not any(map(is_of_hdr, side_data(done.path("v64"))))


def test_hlg_shows_what_an_sdr_display_can_show(tmp_path: Path) -> None:
    """HLG's half is 50.7 cd/m² on its display of 1000 and its three quarters are the reference white of 203."""
    wanted = {0.0: 0.0, 0.5: 0.561, 0.75: 0.903, 1.0: 1.0}
    done = encode(film(tmp_path, HLG, tuple((value,) * 3 for value in wanted)), "abr", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    expected = [(value,) * 3 for value in wanted.values()]
    for path, matrix in ((done.path("v64"), None), (done.path("poster"), "bt601")):
        assert max(map(steps, shown(path, len(wanted), matrix=matrix), expected)) <= FEW
    check_is_bt709(done)


def test_pictures_alone_are_mapped_too(tmp_path: Path) -> None:
    lights, expected = LIGHTS[2:5], EXPECTED[2:5]
    done = encode(film(tmp_path, PQ, tuple(map(signal, lights))), "thumbnails", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    sprite = done.plan.sprite
    assert sprite is not None
    for name, part in (("poster", None), ("sprite", (sprite.width, sprite.height))):
        assert max(map(steps, shown(done.path(name), 3, matrix="bt601", part=part), expected)) <= FEW


def test_a_smooth_ramp_stays_smooth(tmp_path: Path) -> None:
    """Steps of 1.7 % of light: the table leaves no bands and turns none around."""
    ramp = tuple((value / 90, value / 90, value / 90) for value in range(10, 64))
    done = encode(film(tmp_path, PQ, ramp), "h264", tmp_path)
    greens = [green for _, green, _ in shown(done.path("v64"), len(ramp))]
    assert greens == sorted(greens)
    assert len(set(greens)) >= len(greens) - 2


@pytest.mark.parametrize("codec", [VideoCodec.HEVC, VideoCodec.AV1])
def test_a_profile_may_keep_hdr10_with_its_metadata(codec: VideoCodec, tmp_path: Path) -> None:
    colours = tuple(map(signal, LIGHTS))
    source = film(tmp_path, replace(PQ, options=X265 + MASTERED), colours)
    profile = replace(builtin_profile("abr"), name="kept", codec=codec, hdr=HdrMode.KEEP)
    done = encode(source, profile, tmp_path)
    assert done.returncode == 0, done.stderr  # SVT-AV1 says much, all of it well
    assert done.plan.outputs[0].video_range is VideoRange.PQ
    kept = examine(done.path("v64")).video
    assert kept is not None
    assert (kept.codec, kept.pix_fmt, kept.color_range) == (codec, "yuv420p10le", "tv")
    assert (kept.color_space, kept.color_primaries, kept.color_transfer) == ("bt2020nc", "bt2020", "smpte2084")
    assert (kept.max_cll_nits, kept.max_fall_nits) == (1000, 400)
    assert kept.mastering is not None
    assert (kept.mastering.most_nits, kept.mastering.red) == (1000.0, pytest.approx((0.68, 0.32), abs=1e-3))
    assert max(map(steps, shown(done.path("v64"), len(colours)), colours)) <= FEW
    assert max(map(steps, shown(done.path("poster"), len(colours), matrix="bt601"), EXPECTED)) <= FEW


def test_kept_hlg_stays_hlg(tmp_path: Path) -> None:
    profile = replace(builtin_profile("hevc"), hdr=HdrMode.KEEP)
    done = encode(film(tmp_path, HLG, ((0.5,) * 3, (0.75,) * 3)), profile, tmp_path)
    kept = done.probe("v64").video
    assert kept is not None
    assert (video_range(kept), kept.pix_fmt) == (VideoRange.HLG, "yuv420p10le")
    assert done.plan.outputs[0].video_range is VideoRange.HLG


def test_the_brightness_that_only_the_pictures_tell_is_found(tmp_path: Path) -> None:
    source = film(tmp_path, replace(PQ, options=X265 + MASTERED), tuple(map(signal, LIGHTS[:2])))
    video = examine(source).video
    assert video is not None
    assert (video.max_cll_nits, video.max_fall_nits) == (1000, 400)
    assert video.mastering is not None
    assert video.mastering.least_nits == 0.005


def test_a_work_directory_of_odd_characters_does_no_harm(tmp_path: Path) -> None:
    source = film(tmp_path, PQ, tuple(map(signal, LIGHTS[:2])))
    out = tmp_path / "it's [a], b;c:d%e"
    out.mkdir()
    done = encode(source, "h264", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert in_use().ffprobe != FFPROBE or done.probe("v64").video is not None
