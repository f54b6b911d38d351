"""Sample encodes by the real ffmpeg: rates for real clips, and the estimate of VMAF beside its measure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bench.vmaf import vmaf_ffmpeg
from tests.support.children import names_in, unconfined
from tests.support.media import LIMITS, clip
from tests.support.tools import Tools, in_use
from vproc.core.command import make_plan
from vproc.core.comparison import VMAF_FILTER
from vproc.core.container import HEAD_BYTES, sniff
from vproc.core.plan import decide
from vproc.core.profile import Measure, Profile, Quality, VideoCodec
from vproc.profiles import builtin_profile
from vproc.workers.ffmpeg import ToolPair
from vproc.workers.media import MediaTools
from vproc.workers.quality import choose_rates, measure_outputs

AUTO = replace(builtin_profile("abr"), quality=Quality.AUTO)


async def tried(name: str, cwd: Path, *pairs: ToolPair, profile: Profile = AUTO) -> tuple[Profile, dict[str, float]]:
    """What was chosen for a clip, and the VMAF of each trial by its CRF."""
    runner, source = unconfined(), clip(name)
    tools = MediaTools(
        runner=runner, pairs=pairs or [in_use().pair], max_pixels=LIMITS.max_pixels, job_timeout_s=100, stall_timeout_s=60
    )
    with source.open("rb") as file:
        info = await tools.probe(source, sniff(file.read(HEAD_BYTES)), cwd=cwd)
    with capture_logs() as lines:
        found = await choose_rates(info, profile, runner=runner, tools=tools, source=source, cwd=cwd)
    (line,) = lines
    assert line["event"] == "rates_chosen", line
    assert names_in(cwd) == []
    return found, line["trials"]


async def test_a_clip_gets_rates_by_what_it_shows(tmp_path: Path) -> None:
    """Of test pictures under noise little is seen when it goes; of a fractal's fine lines, all."""
    found, vmafs = await tried("short.mp4", tmp_path)
    better, worse = vmafs.values()
    assert 100 >= better > worse > 0
    assert [spec.short_side_px for spec in found.rungs] == [360]
    assert 14 <= found.rungs[0].crf <= 31
    assert found.rungs[0].maxrate_bps <= AUTO.rungs[-1].maxrate_bps


async def test_pieces_all_over_a_film_are_tried(tmp_path: Path) -> None:
    found, vmafs = await tried("main.mp4", tmp_path)
    assert [spec.short_side_px for spec in found.rungs] == [720, 360]
    assert len({spec.crf for spec in found.rungs}) == 1
    assert len(vmafs) == 2


@pytest.mark.parametrize("name", ["rotated.mp4", "vfr.mp4", "interlaced.ts", "live.webm"])
async def test_what_is_odd_about_a_source_does_not_hinder(name: str, tmp_path: Path) -> None:
    found, _ = await tried(name, tmp_path)
    assert found.rungs != AUTO.rungs


@pytest.mark.parametrize("codec", [VideoCodec.HEVC, VideoCodec.VP9])
async def test_other_codecs_are_tried_with_their_own_encoder(codec: VideoCodec, tmp_path: Path) -> None:
    found, vmafs = await tried("second.mp4", tmp_path, profile=replace(AUTO, codec=codec))
    better, worse = vmafs.values()
    assert better > worse
    assert found.rungs != AUTO.rungs


async def test_the_estimate_is_near_what_libvmaf_measures(tmp_path: Path) -> None:
    program = vmaf_ffmpeg()
    judge = replace(in_use().pair, ffmpeg=program, capabilities=Tools(program, in_use().ffprobe).capabilities)
    estimating = replace(in_use().pair.capabilities, filters=in_use().capabilities.filters - {VMAF_FILTER})
    _, estimated = await tried("main.mp4", tmp_path, replace(in_use().pair, capabilities=estimating))
    _, measured = await tried("main.mp4", tmp_path, in_use().pair, judge)
    assert estimated.keys() == measured.keys()
    assert estimated != measured
    for crf, vmaf in measured.items():
        assert estimated[crf] == pytest.approx(vmaf, abs=5)


@pytest.mark.parametrize(("measure", "least"), [(Measure.SSIM, 0.8), (Measure.VMAF, 60.0)])
async def test_outputs_are_measured_frame_for_frame(measure: Measure, least: float, tmp_path: Path) -> None:
    """A frame beside its own would be nothing like it: these pictures move all over."""
    runner, source, profile = unconfined(), clip("short.mp4"), replace(builtin_profile("abr"), measure=measure)
    program = vmaf_ffmpeg()
    judge = replace(in_use().pair, ffmpeg=program, capabilities=Tools(program, in_use().ffprobe).capabilities)
    tools = MediaTools(
        runner=runner, pairs=[in_use().pair, judge], max_pixels=LIMITS.max_pixels, job_timeout_s=100, stall_timeout_s=60
    )
    with source.open("rb") as file:
        info = await tools.probe(source, sniff(file.read(HEAD_BYTES)), cwd=tmp_path)
    plan = make_plan(info, profile, ffmpeg=in_use().ffmpeg, source=source, out_dir=tmp_path, limits=LIMITS)
    await tools.encode(plan, source_bytes=10**7, cwd=tmp_path, on_progress=lambda _: None)
    told = await measure_outputs(
        info, decide(info, profile), plan.outputs, runner=runner, tools=tools, source=source, cwd=tmp_path
    )
    assert list(told) == ["v360"]
    assert least < told["v360"][measure.value] < 100
    assert not [name for name in names_in(tmp_path) if name.startswith("measured")]
