"""ffprobe and ffmpeg as the daemon uses them, over a runner that plays them: what is run, within what, and what an end means."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.children import names_in
from tests.support.samples import LIMITS, audio, media, tool_pair, video
from vproc.core.command import make_plan
from vproc.core.container import Container
from vproc.core.media import MediaInfo
from vproc.core.needs import Needs
from vproc.core.plan import Plan
from vproc.errors import JobError, RejectedError, TransientError, UnavailableError
from vproc.ports import Feed, ProcessLimits, ProcessResult, StopReason
from vproc.profiles import builtin_profile
from vproc.settings import GIB
from vproc.workers.ffmpeg import ToolPair
from vproc.workers.media import Encoded, MediaTools, existing

JOB_S, STALL_S, SOURCE_BYTES = 600.0, 30.0, 5_000_000
FILM = media(video(640, 360), audio())
ENDED = Encoded("", 10.0, 1.0)


def result(returncode: int = 0, stderr: str = "", *, stdout: str = "", stopped: StopReason | None = None) -> ProcessResult:
    return ProcessResult(returncode, stdout.encode(), stderr, 1.0, 1.0, 1, stopped)


@dataclass(frozen=True)
class Call:
    argv: tuple[str, ...]
    cwd: Path
    limits: ProcessLimits


@dataclass
class PlayedRunner:
    """A program is named by the first answer whose words are all on its command line. Its lines are spoken, its files written,
    and its result is how it ends; an exception is raised instead."""

    answers: list[tuple[tuple[str, ...], ProcessResult | Exception]] = field(default_factory=list)
    lines: Sequence[str] = ()
    files: Mapping[Path, bytes] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    news: list[bool] = field(default_factory=list)

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        limits: ProcessLimits,
        on_line: Callable[[str], bool] | None = None,
        feed: Feed | None = None,
    ) -> ProcessResult:
        self.calls.append(Call(tuple(argv), cwd, limits))
        if on_line is not None:
            self.news += [on_line(line) for line in self.lines]
            for path, data in self.files.items():
                path.write_bytes(data)
        told = next((answer for words, answer in self.answers if set(words) <= set(argv)), result())
        if isinstance(told, Exception):
            raise told
        return told


def tools(runner: PlayedRunner, *pairs: ToolPair) -> MediaTools:
    return MediaTools(
        runner=runner, pairs=pairs or (tool_pair(),), max_pixels=LIMITS.max_pixels, job_timeout_s=JOB_S, stall_timeout_s=STALL_S
    )


def planned(out_dir: Path, profile: str = "abr", info: MediaInfo = FILM) -> Plan:
    return make_plan(
        info, builtin_profile(profile), ffmpeg="/bin/ffmpeg", source=Path("/in"), out_dir=out_dir, limits=LIMITS, threads=1
    )


def described(*streams: dict[str, Any], duration_s: float | None = 10.0, container: str = "mov,mp4") -> ProcessResult:
    """ffprobe's answer."""
    fmt = {"format_name": container, "size": "1000", "bit_rate": "800", "start_time": "0"}
    if duration_s is not None:
        fmt["duration"] = str(duration_s)
    return result(stdout=json.dumps({"format": fmt, "streams": [{"index": at, **one} for at, one in enumerate(streams)]}))


PICTURE = {"codec_type": "video", "codec_name": "h264", "width": 640, "height": 360, "avg_frame_rate": "30/1"}
SOUND = {"codec_type": "audio", "codec_name": "aac", "channels": 2, "sample_rate": "48000"}


# --- probing ---------------------------------------------------------------------------------------------------------


async def test_a_file_is_probed_within_seconds_and_a_gigabyte(tmp_path: Path) -> None:
    runner = PlayedRunner([((), described(PICTURE, SOUND))])
    info = await tools(runner).probe(Path("/in"), Container.MOV, cwd=tmp_path)
    assert (info.duration_s, info.video is not None, len(info.audio)) == (10.0, True, 1)
    (call,) = runner.calls
    assert (call.argv[0], call.cwd) == ("/bin/ffprobe", tmp_path)
    assert (call.limits.wall_s, call.limits.cpu_s, call.limits.memory_bytes) == (20, 10, GIB)


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        (result(stopped=StopReason.WALL), "corrupt_media", r"within its limits \(wall\)"),
        (result(stopped=StopReason.STDOUT), "corrupt_media", r"within its limits \(stdout\)"),
        (result(1, "[mov @ 0x1] moov atom not found"), "corrupt_media", "cut short"),
        (result(1, "Codec (magicyuv) not on whitelist"), "unsupported_media", "not taken"),
        (result(-11, ""), "corrupt_media", "ended with -11"),
        (result(stdout="{}"), "corrupt_media", "no video and no sound"),
    ],
)
async def test_what_cannot_be_probed_is_the_files_fault(end: ProcessResult, code: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match=words) as caught:
        await tools(PlayedRunner([((), end)])).probe(Path("/in"), Container.MOV, cwd=tmp_path)
    assert caught.value.code == code


def packets_of(*indexes: int) -> dict[str, Any]:
    return {"packets": [{"stream_index": index} for index in indexes]}


async def test_a_whole_source_without_questions_is_looked_at_once(tmp_path: Path) -> None:
    told = json.loads(described(PICTURE | {"field_order": "progressive"}, SOUND).stdout) | packets_of(0, 1)
    runner = PlayedRunner([((), result(stdout=json.dumps(told)))])
    info = await tools(runner).examine(Path("/in"), Container.MOV, cwd=tmp_path)
    assert (info.unseen, len(runner.calls)) == ((), 1)


@pytest.mark.parametrize(("found", "left"), [(packets_of(), 0), (packets_of(1), 1)])
async def test_a_track_of_which_no_packet_was_seen_is_searched_and_left_out_where_there_is_none(
    found: dict[str, Any], left: int, tmp_path: Path
) -> None:
    told = json.loads(described(PICTURE | {"field_order": "progressive"}, SOUND).stdout) | packets_of(0)
    runner = PlayedRunner([(("-select_streams",), result(stdout=json.dumps(found))), ((), result(stdout=json.dumps(told)))])
    info = await tools(runner).examine(Path("/in"), Container.MOV, cwd=tmp_path)
    assert len(info.audio) == left
    assert runner.calls[1].argv[runner.calls[1].argv.index("-select_streams") + 1] == "1"
    assert runner.calls[1].limits.memory_bytes == GIB


async def test_of_a_part_of_a_source_nothing_is_said_to_be_empty(tmp_path: Path) -> None:
    runner = PlayedRunner([((), described(PICTURE | {"field_order": "progressive"}, SOUND))])
    info = await tools(runner).examine(Path("/in"), Container.MATROSKA, cwd=tmp_path, whole=False)
    assert len(info.audio) == 1
    assert "packet=" not in " ".join(runner.calls[0].argv)


@pytest.mark.parametrize(("said", "order"), [('{"frames": [{"interlaced_frame": 1}]}', "bb"), ("", None)])
async def test_pictures_are_asked_for_what_the_container_does_not_tell(said: str, order: str | None, tmp_path: Path) -> None:
    runner = PlayedRunner([(("-select_streams",), result(1, stdout=said)), ((), described(PICTURE, SOUND))])
    info = await tools(runner).examine(Path("/in"), Container.MOV, cwd=tmp_path, whole=False)
    assert info.video is not None
    assert info.video.field_order == order


# --- encoding --------------------------------------------------------------------------------------------------------


async def encode(runner: PlayedRunner, plan: Plan, cwd: Path) -> tuple[Encoded, list[float]]:
    told: list[float] = []
    return await tools(runner).encode(plan, source_bytes=SOURCE_BYTES, cwd=cwd, on_progress=told.append), told


def playing(plan: Plan, *answers: tuple[tuple[str, ...], ProcessResult | Exception], **changes: Any) -> PlayedRunner:
    """A runner whose encode leaves thumbnails."""
    files = {plan.thumbs: b"thumbs"} if plan.thumbs is not None else {}
    return PlayedRunner(list(answers), files=files, **changes)


async def test_both_commands_run_within_limits_that_follow_from_the_plan(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    runner = playing(plan)
    await encode(runner, plan, tmp_path)
    assert [call.argv for call in runner.calls] == [plan.argv, plan.sheets_argv]
    largest = plan.estimated_bytes * 3 + GIB // 4
    assert plan.pictures is not None
    memory = plan.pictures.memory(threads=None, cores=len(os.sched_getaffinity(0)))
    wanted = ProcessLimits(
        wall_s=JOB_S, cpu_s=int(JOB_S) * 64, memory_bytes=memory.address_bytes, data_bytes=memory.data_bytes,
        output_bytes=largest, directory_bytes=SOURCE_BYTES + largest, stall_s=STALL_S,
    )  # fmt: skip
    assert [call.limits for call in runner.calls] == [wanted, wanted]
    assert {call.cwd for call in runner.calls} == {tmp_path}


async def test_the_table_of_colours_stands_before_ffmpeg_starts(tmp_path: Path) -> None:
    plan = planned(tmp_path, info=media(video(color_transfer="arib-std-b67"), audio()))
    (table,) = plan.files
    stood: list[bool] = []

    class Watching(PlayedRunner):
        async def run(self, argv: Sequence[str], **kwargs: Any) -> ProcessResult:
            stood.append(table.path.read_bytes().startswith(b"LUT_3D_SIZE"))
            return await super().run(argv, **kwargs)

    runner = Watching(files={plan.thumbs: b""} if plan.thumbs else {})
    await tools(runner).encode(plan, source_bytes=SOURCE_BYTES, cwd=tmp_path, on_progress=lambda _: None)
    assert stood == [True, True]


async def test_thumbnails_are_gone_once_their_sheets_are_made(tmp_path: Path) -> None:
    plan = planned(tmp_path, "thumbnails")
    await encode(playing(plan), plan, tmp_path)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("profile", ["audio", "copy"])
async def test_where_no_picture_is_decoded_the_address_space_alone_is_bounded(profile: str, tmp_path: Path) -> None:
    plan = planned(tmp_path, profile)
    runner = playing(plan)
    await encode(runner, plan, tmp_path)
    assert [(call.limits.memory_bytes, call.limits.data_bytes) for call in runner.calls] == [(8 * GIB, None)]


@pytest.mark.parametrize("profile", ["mp4", "audio", "copy"])
async def test_without_thumbnails_there_is_one_command(profile: str, tmp_path: Path) -> None:
    runner = PlayedRunner()
    await encode(runner, planned(tmp_path, profile), tmp_path)
    assert len(runner.calls) == 1


async def test_progress_is_told_by_the_frames_of_the_first_output(tmp_path: Path) -> None:
    """ffmpeg 7's own time is that of the output that lags most. What is no news does not restart the stall clock."""
    plan = planned(tmp_path, "h264")
    lines = ["frame=75", "out_time_us=33000", "progress=continue", "frame=75", "frame=150", "progress=end"]
    runner = playing(plan, lines=lines)
    encoded, told = await encode(runner, plan, tmp_path)
    assert told == [0.25, 0.5, 1.0]
    assert runner.news == [True, False, False, False, True, True]
    assert encoded == Encoded("", 5.0, 1.0)


@pytest.mark.parametrize(
    ("end", "kind", "code"),
    [
        (result(255, stopped=StopReason.WALL), RejectedError, "timeout"),
        (result(-9, stopped=StopReason.STALL), TransientError, "stalled"),
        (result(0, stopped=StopReason.DIRECTORY), RejectedError, "limit_exceeded"),
        (result(-25), RejectedError, "limit_exceeded"),
        (result(-9), TransientError, "out_of_memory"),
        (result(-11), TransientError, "encoder_failed"),
        (result(1, "av_interleaved_write_frame(): No space left on device"), UnavailableError, "out_of_disk"),
        (result(1, "Invalid data found when processing input"), RejectedError, "corrupt_media"),
    ],
)
async def test_an_encode_that_does_not_end_well_is_what_its_end_stands_for(
    end: ProcessResult, kind: type[JobError], code: str, tmp_path: Path
) -> None:
    """And no sheet is made after it."""
    plan = planned(tmp_path)
    runner = playing(plan, ((), end))
    with pytest.raises(kind) as caught:
        await encode(runner, plan, tmp_path)
    assert caught.value.code == code
    assert len(runner.calls) == 1


@pytest.mark.parametrize(
    ("ffmpeg", "ffprobe", "words"),
    [
        (
            result(127, "error while loading shared libraries"),
            described(PICTURE),
            "does not encode its own test picture .error while",
        ),
        (result(-11), described(PICTURE), "does not encode"),
        (result(0, stopped=StopReason.WALL), described(PICTURE), "does not encode"),
        (result(), result(127, "error while loading shared libraries"), "does not read a test picture"),
        (result(), UnavailableError("Exec format error"), "does not read a test picture"),
    ],
)
async def test_a_build_that_cannot_do_what_is_surely_in_order_is_broken(
    ffmpeg: ProcessResult, ffprobe: ProcessResult | Exception, words: str, tmp_path: Path
) -> None:
    runner = PlayedRunner([(("lavfi",), ffmpeg), (("/bin/ffprobe",), ffprobe)])
    with pytest.raises(UnavailableError, match=words):
        await tools(runner).check_themselves(cwd=tmp_path)


async def test_a_build_that_works_is_not_broken(tmp_path: Path) -> None:
    runner = PlayedRunner([(("lavfi",), result()), (("/bin/ffprobe",), described(PICTURE, SOUND))])
    await tools(runner).check_themselves(cwd=tmp_path)
    assert [call.argv[0] for call in runner.calls] == ["/bin/ffmpeg", "/bin/ffprobe"]


@pytest.mark.parametrize(
    ("end", "kind", "code"),
    [
        (result(1, "Invalid data found when processing input"), TransientError, "output_invalid"),
        (result(1, "No space left on device"), UnavailableError, "out_of_disk"),
        (result(-11), TransientError, "encoder_failed"),
        (UnavailableError("ffmpeg is gone"), UnavailableError, "dependency_unavailable"),
    ],
)
async def test_sheets_that_cannot_be_made_are_never_the_sources_fault(
    end: ProcessResult | Exception, kind: type[JobError], code: str, tmp_path: Path
) -> None:
    plan = planned(tmp_path)
    with pytest.raises(kind) as caught:
        await encode(playing(plan, (("nut", "-vf"), end)), plan, tmp_path)
    assert caught.value.code == code
    assert not isinstance(caught.value, RejectedError)


# --- verifying -------------------------------------------------------------------------------------------------------


def jpeg(width: int, height: int) -> bytes:
    return b"\xff\xd8\xff\xc0\x00\x11\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + bytes(10)


def write_pictures(plan: Plan, **sizes: tuple[int, int]) -> None:
    """Every picture of the plan, or one of another size."""
    for output in plan.outputs:
        if not output.is_media:
            for path in output.paths:
                path.write_bytes(jpeg(*sizes.get(output.rendition, (output.width or 0, output.height or 0))))


def outputs_of(plan: Plan, *, duration_s: float | None = 10.0) -> list[tuple[tuple[str, ...], ProcessResult | Exception]]:
    """What ffprobe tells of each media output, all as planned."""
    answers: list[tuple[tuple[str, ...], ProcessResult | Exception]] = []
    for output in plan.outputs:
        if output.is_media:
            streams = [PICTURE | {"width": output.width, "height": output.height}] if output.width else []
            streams += [SOUND] if output.audio_codec or not output.width else []
            answers.append((("/bin/ffprobe", f"file:{output.path}"), described(*streams, duration_s=duration_s)))
    return answers


async def test_outputs_as_planned_pass_and_are_handed_on_as_probed(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    write_pictures(plan)
    runner = PlayedRunner(outputs_of(plan))
    verified = await tools(runner).verify(plan, ENDED, cwd=tmp_path)
    assert not verified.verdict.damaged
    assert list(verified.probed) == ["v360", "audio"]
    assert (verified.probed["v360"].bitrate_bps, verified.probed["audio"].video) == (800, None)
    assert sorted(call.argv[0] for call in runner.calls) == ["/bin/ffmpeg", "/bin/ffprobe", "/bin/ffprobe"]


async def test_where_only_pictures_are_made_nothing_is_probed_or_decoded(tmp_path: Path) -> None:
    plan, runner = planned(tmp_path, "thumbnails"), PlayedRunner()
    write_pictures(plan)
    assert (await tools(runner).verify(plan, ENDED, cwd=tmp_path)).probed == {}
    assert runner.calls == []


async def test_sheets_after_the_first_may_be_missing(tmp_path: Path) -> None:
    """A source may be shorter than it declares; which there are is asked again when they are published."""
    plan = planned(tmp_path, "thumbnails", media(video(640, 360, end_s=60.0), duration_s=60.0))
    write_pictures(plan)
    sprite = plan.outputs[-1]
    sprite.paths[-1].unlink()
    await tools(PlayedRunner()).verify(plan, replace(ENDED, out_time_s=60.0), cwd=tmp_path)
    assert existing(sprite) == sprite.paths[:-1]


@pytest.mark.parametrize(("rendition", "words"), [("poster", "poster is no JPEG"), ("sprite", "sprite was not written")])
async def test_a_picture_that_was_not_written_is_an_invalid_output(rendition: str, words: str, tmp_path: Path) -> None:
    plan = planned(tmp_path, "thumbnails")
    write_pictures(plan)
    next(output for output in plan.outputs if output.rendition == rendition).path.unlink()
    with pytest.raises(TransientError, match=words) as caught:
        await tools(PlayedRunner()).verify(plan, ENDED, cwd=tmp_path)
    assert caught.value.code == "output_invalid"


@pytest.mark.parametrize(
    ("sizes", "words"),
    [({"poster": (320, 180)}, "poster is 320x180 and not 640x360"), ({"sprite": (160, 90)}, "sprite is 160x90 and not 800x450")],
)
async def test_a_picture_of_another_size_is_an_invalid_output(
    sizes: dict[str, tuple[int, int]], words: str, tmp_path: Path
) -> None:
    plan = planned(tmp_path, "thumbnails")
    write_pictures(plan, **sizes)
    with pytest.raises(TransientError, match=words):
        await tools(PlayedRunner()).verify(plan, ENDED, cwd=tmp_path)


@pytest.mark.parametrize(
    "told", [result(1, "moov atom not found"), result(stopped=StopReason.WALL), result(stdout="no JSON"), described(SOUND)]
)
async def test_an_output_that_cannot_be_probed_is_not_the_sources_fault(told: ProcessResult, tmp_path: Path) -> None:
    plan = planned(tmp_path, "h264")
    with pytest.raises(TransientError, match="the output v360") as caught:
        await tools(PlayedRunner([(("/bin/ffprobe",), told)])).verify(plan, ENDED, cwd=tmp_path)
    assert caught.value.code == "output_invalid"


async def test_an_output_that_does_not_decode_is_invalid_and_a_copy_is_damaged(tmp_path: Path) -> None:
    """What was copied may be as broken as it came."""
    broken = (("/bin/ffmpeg",), result(0, "[h264 @ 0x1] error while decoding MB 1 2"))
    plan = planned(tmp_path, "h264")
    with pytest.raises(TransientError, match="an output does not decode"):
        await tools(PlayedRunner([*outputs_of(plan), broken])).verify(plan, ENDED, cwd=tmp_path)
    copy = planned(tmp_path, "copy")
    verified = await tools(PlayedRunner([*outputs_of(copy), broken])).verify(copy, ENDED, cwd=tmp_path)
    assert verified.verdict.damaged


async def test_a_matroska_output_is_read_as_matroska(tmp_path: Path) -> None:
    plan = planned(tmp_path, "copy", media(video(640, 360, codec="theora"), audio(codec="vorbis")))
    streams = (PICTURE | {"codec_name": "theora"}, SOUND | {"codec_name": "vorbis"})
    runner = PlayedRunner([(("/bin/ffprobe",), described(*streams, container="matroska,webm"))])
    await tools(runner).verify(plan, ENDED, cwd=tmp_path)
    argv = runner.calls[0].argv
    assert (plan.outputs[0].path.suffix, argv[argv.index("-f") + 1]) == (".mkv", "matroska")


FLV = media(video(640, 360, end_s=None), audio(end_s=None), container=Container.FLV)


async def test_outputs_that_all_end_early_are_found_out_where_no_stream_declares_its_length(tmp_path: Path) -> None:
    plan = planned(tmp_path, "h264", FLV)
    assert plan.outputs[0].duration_s is None
    with pytest.raises(RejectedError, match=r"only 5\.0 s of the 10\.0 s") as caught:
        await tools(PlayedRunner(outputs_of(plan, duration_s=5.0))).verify(plan, ENDED, cwd=tmp_path)
    assert caught.value.code == "corrupt_media"
    verified = await tools(PlayedRunner(outputs_of(plan, duration_s=9.2))).verify(plan, ENDED, cwd=tmp_path)
    assert verified.verdict.damaged


async def test_pictures_are_judged_by_how_far_the_encode_came_before_they_are_looked_at(tmp_path: Path) -> None:
    plan = planned(tmp_path, "thumbnails")
    with pytest.raises(RejectedError, match=r"only 5\.0 s of the 10\.0 s"):
        await tools(PlayedRunner()).verify(plan, replace(ENDED, out_time_s=5.0), cwd=tmp_path)


async def test_an_encode_that_came_to_the_limit_or_complained_is_no_clean_one(tmp_path: Path) -> None:
    plan = planned(tmp_path, "h264")
    said = replace(ENDED, stderr="[matroska @ 0x1] File ended prematurely")
    assert (await tools(PlayedRunner(outputs_of(plan))).verify(plan, said, cwd=tmp_path)).verdict.damaged
    with pytest.raises(RejectedError, match="beyond 21600 s"):
        await tools(PlayedRunner(outputs_of(plan))).verify(plan, replace(ENDED, out_time_s=21600.0), cwd=tmp_path)


# --- several builds --------------------------------------------------------------------------------------------------

OLD = tool_pair("/old/ffmpeg", "/old/ffprobe", version="5.1.9")
NEW = tool_pair("/new/ffmpeg", "/new/ffprobe", version="8.1.2", codecs=frozenset({"h264", "aac"}))


async def test_the_newest_build_probes_and_encodes_unless_the_job_takes_another(tmp_path: Path) -> None:
    runner = PlayedRunner([((), described(PICTURE, SOUND))])
    both = tools(runner, NEW, OLD)
    assert (both.ffmpeg, both.version, both.capabilities) == ("/new/ffmpeg", "8.1.2", NEW.capabilities)
    assert both.fit(Needs("abr", frozenset({"libx264"}), frozenset({"h264"}))) is both
    fitted = both.fit(Needs("abr", frozenset({"libx264"}), frozenset({"av1"})))
    assert (fitted.ffmpeg, fitted.version, fitted.capabilities) == ("/old/ffmpeg", "5.1.9", OLD.capabilities)
    await fitted.probe(Path("/in"), Container.MOV, cwd=tmp_path)
    await both.probe(Path("/in"), Container.MOV, cwd=tmp_path)
    assert [call.argv[0] for call in runner.calls] == ["/old/ffprobe", "/new/ffprobe"]
    assert runner.calls[0].limits == runner.calls[1].limits


def test_what_no_build_does_is_refused() -> None:
    with pytest.raises(RejectedError, match=r"takes a decoder of vc1, .* \(8\.1\.2\) lacks"):
        tools(PlayedRunner(), NEW).fit(Needs("abr", frozenset(), frozenset({"vc1"})))


@pytest.mark.parametrize(
    ("pairs", "codec", "checks"),
    [
        ((NEW, OLD), "h264", "/new/ffmpeg"),
        ((NEW, OLD), "av1", "/old/ffmpeg"),
        ((NEW,), "av1", None),
    ],
    ids=["by-the-encoders-own", "by-another", "by-none"],
)
async def test_an_output_is_decoded_by_a_build_that_can(
    pairs: tuple[ToolPair, ...], codec: str, checks: str | None, tmp_path: Path
) -> None:
    """Of one that none can nothing is said to be wrong: its packets were looked at."""
    plan = planned(tmp_path, "copy", media(video(640, 360, codec=codec), audio()))
    picture = PICTURE | {"codec_name": codec}
    runner = PlayedRunner([((NEW.ffprobe,), described(picture, SOUND))])
    assert not (await tools(runner, *pairs).verify(plan, ENDED, cwd=tmp_path)).verdict.damaged
    assert [call.argv[0] for call in runner.calls if "-xerror" in call.argv] == ([checks] if checks else [])
