"""The whole pipeline with real ffmpegs over stores in memory: a film is published while it still arrives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import anyio
import anyio.to_thread
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from tests.support.children import names_in, unconfined
from tests.support.media import LIMITS, clip
from tests.support.memory import MemoryStore
from tests.support.slow_store import SlowStore
from tests.support.subtitles import subtitled
from tests.support.tools import Tools
from vproc.core.container import Container
from vproc.core.files import File, ObjectVersion, Status
from vproc.core.manifest import Manifest, OutputKind
from vproc.core.profile import Measure, Profile
from vproc.profiles import builtin_profile
from vproc.telemetry import Metrics
from vproc.workers import source as source_module
from vproc.workers.keeper import Progress
from vproc.workers.media import MediaTools
from vproc.workers.pipeline import Job, JobFigures, Pipeline
from vproc.workers.scratch import Scratch, open_scratch

FILE_ID = UUID("7f9d63f0-0a2b-4a63-9d0c-0b6f0f8a2a11")
PROFILE = "abr"


class Announcing(MemoryStore):
    """Tells of the first media segment that stands."""

    def __init__(self) -> None:
        super().__init__("processed")
        self.first_segment = anyio.Event()

    async def begin(self, method: str) -> BaseException | None:
        if method == "stat" and any(key.endswith("seg-00001.m4s") for key in self.keys):
            self.first_segment.set()
        return await super().begin(method)


async def nothing() -> None:
    """The lease is held."""


def pipeline(
    raw: MemoryStore, processed: MemoryStore, tools: Tools, scratch: Scratch, profiles: Mapping[str, Profile]
) -> Pipeline:
    media = MediaTools(
        runner=unconfined(), pairs=(tools.pair,), max_pixels=LIMITS.max_pixels, job_timeout_s=100, stall_timeout_s=30
    )
    return Pipeline(
        raw=raw, processed=processed, tools=media, scratch=scratch, limits=LIMITS, max_upload_bytes=1 << 30,
        metrics=Metrics(CollectorRegistry()), profiles=profiles,
    )  # fmt: skip


async def process(
    raw: MemoryStore, processed: MemoryStore, tools: Tools, version: ObjectVersion, work: Path, profile: Profile | None = None
) -> Manifest:
    now = datetime.now(UTC)
    made_by = profile or builtin_profile(PROFILE)
    file = File(FILE_ID, "ann", "a.mp4", "raw", version.key, made_by.name, Status.PROCESSING, now, now)
    async with open_scratch(work) as scratch:
        jobs = pipeline(raw, processed, tools, scratch, {made_by.name: made_by})
        return await jobs.run(Job(file, version, "run1", nothing), Progress(), JobFigures())


@pytest.mark.parametrize("name", ["long-film.mp4", "long-film.mkv", "long-film.ts"])
async def test_its_first_segments_stand_before_the_last_of_it_has_arrived(
    ffmpeg_in_use: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With the index at the end (MP4), with none to speak of (Matroska), and with times only at both ends (TS). Nothing that is
    published differs from what the whole file gives but for what no reader sees."""
    monkeypatch.setattr(source_module, "STREAM_FROM_BYTES", 64 * 1024)
    monkeypatch.setattr(source_module, "TAIL_BYTES", 128 * 1024)
    monkeypatch.setattr(source_module, "READ_BYTES", 64 * 1024)
    probed = {Container.MOV: 256 * 1024, Container.MATROSKA: 256 * 1024, Container.MPEGTS: 512 * 1024}
    monkeypatch.setattr(source_module, "PROBE_BYTES", probed)
    body = clip(name).read_bytes()
    raw, processed = SlowStore(), Announcing()
    version = raw.upload("videos/ann/a", body)
    raw.allow(len(body) * 3 // 4)
    made: list[Manifest] = []

    async def run() -> None:
        made.append(await process(raw, processed, ffmpeg_in_use, version, tmp_path))

    with anyio.fail_after(100):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await processed.first_segment.wait()
            assert not made
            raw.allow(len(body))
    (streamed,) = made
    for output in streamed.outputs:
        assert len(processed.body(output.key)) == output.bytes
    whole = MemoryStore("processed")
    plain = MemoryStore("raw")
    manifest = await process(plain, whole, ffmpeg_in_use, plain.upload("videos/ann/a", body), tmp_path)
    # The bytes of pictures differ from one run to the next: under a cap x264 goes by how fast its threads are.
    same = {OutputKind.INIT, OutputKind.HLS_MEDIA}
    assert [output.key for output in streamed.outputs] == [output.key for output in manifest.outputs]
    assert [output.sha256 for output in streamed.outputs if output.kind in same or output.name == "audio"] == [
        output.sha256 for output in manifest.outputs if output.kind in same or output.name == "audio"
    ]
    assert names_in(tmp_path) == []


async def test_rates_are_chosen_for_the_film_and_each_rung_is_measured(ffmpeg_in_use: Tools, tmp_path: Path) -> None:
    """`quality = "auto"` with a measure: what was aimed at is in the command, and what came of it in the manifest."""
    raw, processed = MemoryStore("raw"), MemoryStore("processed")
    version = raw.upload("videos/ann/a", clip("main.mp4").read_bytes())
    profile = replace(builtin_profile("auto"), measure=Measure.SSIM)
    with capture_logs() as logs, anyio.fail_after(100):
        manifest = await process(raw, processed, ffmpeg_in_use, version, tmp_path, profile)
    (chosen,) = [entry for entry in logs if entry["event"] == "rates_chosen"]
    assert chosen["target_vmaf"] == 93
    rungs = [output for output in manifest.outputs if output.kind is OutputKind.HLS_MEDIA and output.width]
    assert {output.name for output in rungs} == set(chosen["rungs"])
    assert all(output.quality is not None and 0.8 < output.quality["ssim"] <= 1 for output in rungs)
    assert names_in(tmp_path) == []


async def test_captions_are_published_with_the_film_in_hls_and_dash(ffmpeg_in_use: Tools, tmp_path: Path) -> None:
    raw, processed = MemoryStore("raw"), MemoryStore("processed")
    body = await anyio.to_thread.run_sync(subtitled("texts.mkv").read_bytes)
    with anyio.fail_after(100):
        manifest = await process(raw, processed, ffmpeg_in_use, raw.upload("videos/ann/a", body), tmp_path)
    found = [output for output in manifest.outputs if output.kind is OutputKind.CAPTIONS]
    assert [(output.name, output.language) for output in found] == [("captions", "en"), ("captions-2", "fr")]
    assert all(processed.body(output.key).startswith(b"WEBVTT") for output in found)
    master = processed.body(f"{FILE_ID}/master.m3u8").decode()
    assert master.count("TYPE=SUBTITLES") == 2
    variants = [line for line in master.splitlines() if line.startswith("#EXT-X-STREAM-INF")]
    assert all('SUBTITLES="' in line for line in variants)
    assert processed.body(f"{FILE_ID}/manifest.mpd").decode().count('contentType="text"') == 2
    without = replace(builtin_profile("abr"), captions=False)
    raw, processed = MemoryStore("raw"), MemoryStore("processed")
    manifest = await process(raw, processed, ffmpeg_in_use, raw.upload("videos/ann/a", body), tmp_path, without)
    assert OutputKind.CAPTIONS not in {output.kind for output in manifest.outputs}
