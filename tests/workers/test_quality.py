"""Sample encodes over a runner that plays ffmpeg: who encodes, who compares, what follows, and what is left when it fails."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.children import names_in
from tests.support.samples import LIMITS, audio, capabilities, media, video
from vproc.core.capabilities import Capabilities
from vproc.core.comparison import EVERY, FIGURE_FILTERS, VMAF_FILTER
from vproc.core.media import MediaInfo
from vproc.core.plan import decide, outputs_of
from vproc.core.profile import Measure, Profile, Quality
from vproc.errors import UnavailableError
from vproc.ports import Feed, ProcessLimits, ProcessResult, StopReason
from vproc.profiles import builtin_profile
from vproc.workers.ffmpeg import PairSource, ToolPair
from vproc.workers.media import MediaTools
from vproc.workers.quality import choose_rates, measure_outputs

ABR = builtin_profile("abr")
AUTO = replace(ABR, quality=Quality.AUTO)
FILM = media(video(1920, 1080, end_s=30.0), audio(), duration_s=30.0)
FRAMES = 18  # of 30 s are 1.8 s tried, of which each third frame is compared

MEASURES = capabilities(filters=frozenset({VMAF_FILTER}))
ESTIMATES = capabilities(filters=FIGURE_FILTERS)
NEITHER = capabilities(filters=frozenset({"scale"}))

ENDED = ProcessResult(0, b"", "", 1.0, 2.5, 1)
NAME = re.compile(r"(?:compared|measured)-[a-z0-9-]+\.(?:txt|json)")


def pair(name: str, able: Capabilities) -> ToolPair:
    return ToolPair(f"/{name}/ffmpeg", f"/{name}/ffprobe", PairSource.SETTING, able)


@dataclass
class PlayedFfmpeg:
    """Writes the files that its command line names: samples of ``sizes``, libvmaf's logs of ``vmafs``, figures of `figures`.
    The end of each run is the next of ``ends``."""

    sizes: Mapping[str, int] = field(default_factory=lambda: {"a": 900_000, "b": 500_000, "c0": 400_000, "c1": 100_000})
    vmafs: Mapping[str, float] = field(default_factory=lambda: {"a": 95.0, "b": 89.0})
    ends: Sequence[ProcessResult | Exception] = ()
    measured: str = "lavfi.ssim.All=0.98\n"
    writes: bool = True
    calls: list[tuple[tuple[str, ...], ProcessLimits]] = field(default_factory=list)

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        limits: ProcessLimits,
        on_line: Callable[[str], bool] | None = None,
        feed: Feed | None = None,
    ) -> ProcessResult:
        self.calls.append((tuple(argv), limits))
        end = self.ends[len(self.calls) - 1] if len(self.calls) <= len(self.ends) else ENDED
        if isinstance(end, Exception):
            raise end
        if self.writes:
            self._write(argv, cwd)
        return end

    def _write(self, argv: Sequence[str], cwd: Path) -> None:
        graph = argv[argv.index("-filter_complex") + 1]
        for label, size in self.sizes.items():
            if f"file:{cwd}/sample-{label}.mkv" in argv and "null" not in argv:
                (cwd / f"sample-{label}.mkv").write_bytes(bytes(size))
        for name in NAME.findall(graph):
            (cwd / name).write_text(self._told(name))

    def _told(self, name: str) -> str:
        if name.startswith("measured-"):
            return self.measured
        _, label, what = name.partition(".")[0].split("-")
        if what == "vmaf":
            return json.dumps({"frames": [{"metrics": {"vmaf": self.vmafs[label]}}] * FRAMES})
        value = {"motion": 3.0, "vif": 0.95 if label == "a" else 0.8}.get(what, 1000.0)
        if what.startswith("kept"):
            value *= 0.95 if label == "a" else 0.8
        return f"lavfi.any={value}\n" * FRAMES * (EVERY if what == "motion" else 1)


async def chosen(ffmpeg: PlayedFfmpeg, cwd: Path, *pairs: ToolPair, profile: Profile = AUTO, info: MediaInfo = FILM) -> Profile:
    tools = MediaTools(
        runner=ffmpeg, pairs=pairs or [pair("one", MEASURES)], max_pixels=LIMITS.max_pixels, job_timeout_s=600, stall_timeout_s=60
    )
    return await choose_rates(info, profile, runner=ffmpeg, tools=tools, source=cwd / "source", cwd=cwd)


def programs(ffmpeg: PlayedFfmpeg) -> list[str]:
    return [argv[0] for argv, _ in ffmpeg.calls]


# --- what is chosen --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [Quality.FAST, Quality.BALANCED, Quality.BEST])
async def test_only_a_profile_of_automatic_quality_costs_samples(quality: Quality, tmp_path: Path) -> None:
    ffmpeg, profile = PlayedFfmpeg(), replace(ABR, quality=quality)
    assert await chosen(ffmpeg, tmp_path, profile=profile) is profile
    assert ffmpeg.calls == []


@pytest.mark.parametrize("name", ["audio", "thumbnails", "copy"])
async def test_a_profile_that_encodes_no_picture_costs_none(name: str, tmp_path: Path) -> None:
    ffmpeg, profile = PlayedFfmpeg(), replace(builtin_profile(name), quality=Quality.AUTO)
    assert await chosen(ffmpeg, tmp_path, profile=profile) is profile
    assert ffmpeg.calls == []


async def test_what_was_measured_makes_the_rates(tmp_path: Path) -> None:
    found = await chosen(PlayedFfmpeg(), tmp_path)
    assert [spec.short_side_px for spec in found.rungs] == [1080, 720, 360]
    assert {spec.crf for spec in found.rungs} == {21.5}
    assert [spec.maxrate_bps for spec in found.rungs] == [5_000_000, 2_783_197, 695_799]
    assert replace(found, rungs=ABR.rungs) == AUTO


async def test_a_rung_that_adds_nothing_is_gone(tmp_path: Path) -> None:
    found = await chosen(PlayedFfmpeg(sizes={"a": 9000, "b": 5000, "c0": 8000, "c1": 3000}), tmp_path)
    assert [spec.short_side_px for spec in found.rungs] == [1080, 360]


async def test_an_estimate_makes_rates_as_well(tmp_path: Path) -> None:
    found = await chosen(PlayedFfmpeg(), tmp_path, pair("one", ESTIMATES))
    (crf,) = {spec.crf for spec in found.rungs}
    assert 14 <= crf <= 31
    assert found.rungs != ABR.rungs


async def test_what_was_chosen_is_one_line_of_the_log(tmp_path: Path) -> None:
    with capture_logs() as lines:
        await chosen(PlayedFfmpeg(), tmp_path)
    (line,) = lines
    assert (line["event"], line["target_vmaf"], line["measured"]) == ("rates_chosen", 93.0, True)
    assert line["trials"] == {"19": 95.0, "25": 89.0}
    assert line["rungs"]["v1080"] == {"crf": 21.5, "maxrate_bps": 5_000_000}
    assert (line["dropped"], line["cpu_s"]) == ([], 5.0)


# --- who does it -----------------------------------------------------------------------------------------------------


async def test_the_jobs_ffmpeg_encodes_and_one_with_libvmaf_compares(tmp_path: Path) -> None:
    """Whatever the order in which they stand."""
    ffmpeg = PlayedFfmpeg()
    await chosen(ffmpeg, tmp_path, pair("first", ESTIMATES), pair("second", MEASURES))
    assert programs(ffmpeg) == ["/first/ffmpeg", "/second/ffmpeg"]


async def test_without_libvmaf_the_first_that_tells_the_figures_compares(tmp_path: Path) -> None:
    ffmpeg = PlayedFfmpeg()
    await chosen(ffmpeg, tmp_path, pair("first", NEITHER), pair("second", ESTIMATES))
    assert programs(ffmpeg) == ["/first/ffmpeg", "/second/ffmpeg"]


async def test_one_that_does_not_decode_the_source_does_not_compare(tmp_path: Path) -> None:
    blind = replace(MEASURES, codecs=frozenset({"h264", "aac"}))
    ffmpeg = PlayedFfmpeg()
    info = replace(FILM, video=replace(FILM.video, codec="av1")) if FILM.video else FILM
    await chosen(ffmpeg, tmp_path, pair("first", ESTIMATES), pair("second", blind), info=info)
    assert programs(ffmpeg) == ["/first/ffmpeg", "/first/ffmpeg"]


async def test_samples_run_within_limits(tmp_path: Path) -> None:
    ffmpeg = PlayedFfmpeg()
    await chosen(ffmpeg, tmp_path)
    assert all(limits.wall_s <= 900 and limits.memory_bytes <= 8 * 1024**3 for _, limits in ffmpeg.calls)
    assert all(limits.directory_bytes > FILM.size_bytes for _, limits in ffmpeg.calls)


# --- what is left ----------------------------------------------------------------------------------------------------

FAILED = replace(ENDED, returncode=1, stderr="Invalid data found when processing input")
BROKEN = [
    PlayedFfmpeg(ends=[FAILED]),
    PlayedFfmpeg(ends=[ENDED, FAILED]),
    PlayedFfmpeg(ends=[replace(ENDED, returncode=-9)]),
    PlayedFfmpeg(ends=[replace(ENDED, stopped=StopReason.WALL)]),
    PlayedFfmpeg(writes=False),
    PlayedFfmpeg(sizes={"a": 900_000}),
]


@pytest.mark.parametrize("ffmpeg", BROKEN)
async def test_samples_that_fail_leave_the_profile_and_no_file(ffmpeg: PlayedFfmpeg, tmp_path: Path) -> None:
    """Whether the source is at fault, the encode will show."""
    (tmp_path / "source").write_bytes(b"source")
    with capture_logs() as lines:
        assert await chosen(ffmpeg, tmp_path) is AUTO
    assert [line["event"] for line in lines] == ["samples_failed"]
    assert names_in(tmp_path) == ["source"]


async def test_without_an_ffmpeg_that_compares_nothing_is_encoded(tmp_path: Path) -> None:
    ffmpeg = PlayedFfmpeg()
    with capture_logs() as lines:
        assert await chosen(ffmpeg, tmp_path, pair("one", NEITHER)) is AUTO
    assert lines[0]["reason"] == "no ffmpeg here can compare pictures"
    assert ffmpeg.calls == []


async def test_a_runner_that_cannot_run_is_no_answer_of_the_samples(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="gone"):
        await chosen(PlayedFfmpeg(ends=[UnavailableError("ffmpeg is gone")]), tmp_path)


async def test_good_samples_leave_no_file_either(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"source")
    (tmp_path / "out").mkdir()
    for able in (MEASURES, ESTIMATES):
        await chosen(PlayedFfmpeg(), tmp_path, pair("one", able))
        assert names_in(tmp_path) == ["out", "source"]


# --- measuring outputs -----------------------------------------------------------------------------------------------

SSIM = capabilities(filters=frozenset({"ssim"}))


async def measured(
    ffmpeg: PlayedFfmpeg, cwd: Path, *pairs: ToolPair, measure: Measure | None
) -> Mapping[str, Mapping[str, float]]:
    encode = decide(FILM, replace(ABR, measure=measure))
    tools = MediaTools(runner=ffmpeg, pairs=pairs, max_pixels=LIMITS.max_pixels, job_timeout_s=600, stall_timeout_s=60)
    outputs = outputs_of(encode, FILM, cwd / "out")
    return await measure_outputs(FILM, encode, outputs, runner=ffmpeg, tools=tools, source=cwd / "source", cwd=cwd)


async def test_every_rung_is_measured(tmp_path: Path) -> None:
    told = await measured(PlayedFfmpeg(), tmp_path, pair("one", SSIM), measure=Measure.SSIM)
    assert told == {name: {"ssim": 0.98} for name in ("v1080", "v720", "v360")}
    assert names_in(tmp_path) == []


async def test_what_nobody_asks_for_is_not_measured(tmp_path: Path) -> None:
    ffmpeg = PlayedFfmpeg()
    assert await measured(ffmpeg, tmp_path, pair("one", SSIM), measure=None) == {}
    assert ffmpeg.calls == []


async def test_the_one_that_can_measures(tmp_path: Path) -> None:
    log = json.dumps({"frames": [{"metrics": {"vmaf": 93.0}}] * 3})
    ffmpeg = PlayedFfmpeg(measured=log)
    told = await measured(ffmpeg, tmp_path, pair("first", SSIM), pair("second", MEASURES), measure=Measure.VMAF)
    assert told["v1080"] == {"vmaf": 93.0}
    assert programs(ffmpeg) == ["/second/ffmpeg"]


@pytest.mark.parametrize(
    ("ffmpeg", "able"),
    [(PlayedFfmpeg(), NEITHER), (PlayedFfmpeg(ends=[FAILED]), SSIM), (PlayedFfmpeg(writes=False), SSIM)],
)
async def test_a_measure_that_fails_is_said_and_fails_no_job(ffmpeg: PlayedFfmpeg, able: Capabilities, tmp_path: Path) -> None:
    with capture_logs() as lines:
        assert await measured(ffmpeg, tmp_path, pair("one", able), measure=Measure.SSIM) == {}
    assert [line["event"] for line in lines] == ["measure_failed"]
    assert names_in(tmp_path) == []
