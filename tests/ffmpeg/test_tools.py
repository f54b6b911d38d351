"""The daemon's own tools over the real ffmpeg, confined by nothing but limits: progress, sheets, verdicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.children import names_in, unconfined
from tests.support.media import LIMITS, clip, truncated
from tests.support.tools import in_use
from vproc.core.command import make_plan
from vproc.core.container import HEAD_BYTES, sniff
from vproc.core.plan import Plan
from vproc.errors import RejectedError
from vproc.profiles import builtin_profile
from vproc.workers.media import Encoded, MediaTools, Verified


def tools() -> MediaTools:
    """The daemon's, with the pair that this test is about."""
    return MediaTools(
        runner=unconfined(), pairs=[in_use().pair], max_pixels=LIMITS.max_pixels, job_timeout_s=100, stall_timeout_s=60
    )


async def planned(source: Path, profile: str, out_dir: Path) -> Plan:
    with source.open("rb") as file:
        info = await tools().probe(source, sniff(file.read(HEAD_BYTES)), cwd=out_dir)
    return make_plan(
        info, builtin_profile(profile), ffmpeg=in_use().ffmpeg, source=source, out_dir=out_dir, limits=LIMITS, threads=2
    )


async def encoded(plan: Plan, out_dir: Path) -> Encoded:
    return await tools().encode(plan, source_bytes=10**7, cwd=out_dir, on_progress=lambda _: None)


async def judged(source: Path, profile: str, out_dir: Path) -> Verified:
    plan = await planned(source, profile, out_dir)
    return await tools().verify(plan, await encoded(plan, out_dir), cwd=out_dir)


def with_value(plan: Plan, option: str, new: str) -> Plan:
    """The plan with the value of an option of its command line changed."""
    at = plan.argv.index(option) + 1
    return replace(plan, argv=(*plan.argv[:at], new, *plan.argv[at + 1 :]))


async def heard(plan: Plan, out_dir: Path) -> list[tuple[float, int]]:
    """Each fraction that is told, and how many thumbnails stand in their file by then."""
    sprite, thumbs, told = plan.sprite, plan.thumbs, []
    assert sprite is not None
    assert thumbs is not None
    thumb_bytes = sprite.raw_bytes // (sprite.count + 1)

    def on_progress(fraction: float) -> None:
        told.append((fraction, thumbs.stat().st_size // thumb_bytes))

    await tools().encode(with_value(plan, "-stats_period", "0.02"), source_bytes=10**7, cwd=out_dir, on_progress=on_progress)
    return told


async def test_progress_is_told_long_before_a_sheet_is_full(tmp_path: Path) -> None:
    """ffmpeg 5 tells none before every output is open, and these twenty seconds never fill a sheet."""
    told = await heard(await planned(clip("steady.mp4"), "abr", tmp_path), tmp_path)
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert len(set(fractions)) >= 5
    assert fractions[0] < 0.25
    assert fractions[-1] == 1.0
    assert next(fraction for fraction, thumbs in told if thumbs) < 0.5


async def test_progress_is_told_before_the_first_thumbnail_is_due(tmp_path: Path) -> None:
    """Of a film of two hours the first is its 36th second; here it is never reached."""
    plan = await planned(clip("steady.mp4"), "abr", tmp_path)
    graph = plan.argv[plan.argv.index("-filter_complex") + 1]
    assert "fps=fps=1/1:" in graph
    told = await heard(with_value(plan, "-filter_complex", graph.replace("fps=fps=1/1:", "fps=fps=1/72:")), tmp_path)
    at_once = 1.0 if in_use().capabilities.generation >= 9 else 0.25  # 9 counts the 72 s that the first one stands for
    assert told[0][0] <= at_once
    assert next(fraction for fraction, thumbs in told if thumbs) <= max(0.5, at_once)


@pytest.mark.parametrize("profile", ["abr", "thumbnails"])
async def test_thumbnails_end_as_sheets_and_nothing_is_left_beside(profile: str, tmp_path: Path) -> None:
    plan = await planned(clip("short.mp4"), profile, tmp_path)
    await encoded(plan, tmp_path)
    assert names_in(tmp_path) == sorted(path.name for output in plan.outputs for path in output.paths)


async def test_the_bound_on_thumbnails_stops_no_other_output(tmp_path: Path) -> None:
    """A film that goes on after its last thumbnail is encoded to its end."""
    plan = await planned(clip("steady.mp4"), "abr", tmp_path)
    plan = with_value(plan, "-frames:v", "3")
    verified = await tools().verify(plan, await encoded(plan, tmp_path), cwd=tmp_path)
    assert not verified.verdict.damaged
    assert {name: info.duration_s for name, info in verified.probed.items()} == pytest.approx({"v180": 20, "audio": 20}, abs=0.1)


CUT = [
    *(("steady.flv", profile) for profile in ("abr", "audio", "thumbnails", "copy")),
    *((name, profile) for name in ("steady.mkv", "steady.mp4") for profile in ("abr", "copy")),
]


@pytest.mark.parametrize(("name", "profile"), CUT)
async def test_half_a_file_is_corrupt_media(name: str, profile: str, tmp_path: Path) -> None:
    """ffmpeg ends with 0, and FLV and Matroska declare the length of the file alone."""
    with pytest.raises(RejectedError, match=r"only 9\.[0-9] s of the 20\.0 s") as caught:
        await judged(truncated(name, 0.5), profile, tmp_path)
    assert caught.value.code == "corrupt_media"


@pytest.mark.parametrize(("name", "profile"), CUT)
async def test_a_file_that_lacks_a_twentieth_is_damaged(name: str, profile: str, tmp_path: Path) -> None:
    assert (await judged(truncated(name, 0.95), profile, tmp_path)).verdict.damaged


@pytest.mark.parametrize("name", ["steady.flv", "steady.mkv", "steady.mp4"])
async def test_the_whole_of_it_is_not(name: str, tmp_path: Path) -> None:
    assert not (await judged(clip(name), "copy", tmp_path)).verdict.damaged


@pytest.mark.parametrize(("share", "seconds"), [(0.5, 9.9), (1.0, 20.0)])
async def test_a_transport_stream_declares_no_length_so_a_part_of_it_is_all_of_it(
    share: float, seconds: float, tmp_path: Path
) -> None:
    """It has no header that could say more: a recording may begin and end anywhere."""
    verified = await judged(truncated("steady.ts", share), "copy", tmp_path)
    assert not verified.verdict.damaged
    assert verified.probed["copy"].duration_s == pytest.approx(seconds, abs=0.2)


async def test_this_ffmpeg_passes_its_own_test(tmp_path: Path) -> None:
    await tools().check_themselves(cwd=tmp_path)
    assert names_in(tmp_path) == []
