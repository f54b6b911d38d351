"""The whole pipeline with real ffmpegs over stores in memory: a film is published while it still arrives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from structlog.testing import capture_logs

from tests.support.children import names_in
from tests.support.media import clip
from tests.support.memory import MemoryStore
from tests.support.real_pipeline import FILE_ID, process
from tests.support.slow_store import SlowStore
from tests.support.subtitles import subtitled
from tests.support.tools import Tools
from vproc.core.container import Container
from vproc.core.manifest import Manifest, OutputKind
from vproc.core.profile import Measure
from vproc.profiles import builtin_profile
from vproc.workers import source as source_module


class Announcing(MemoryStore):
    """Tells of the first media segment that stands."""

    def __init__(self) -> None:
        super().__init__("processed")
        self.first_segment = anyio.Event()

    async def begin(self, method: str) -> BaseException | None:
        if method == "stat" and any(key.endswith("seg-00001.m4s") for key in self.keys):
            self.first_segment.set()
        return await super().begin(method)


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
