"""The demo's story over an API and a store that hold a true HLS presentation, whole or with something amiss."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.fake_api import FakeApi, status_body
from vproc.cli import cli, walkthrough
from vproc.cli.child import LOG_NAME, DevDaemon

RUN = "0a1b2c"


async def interrupted(*_: object) -> None:
    """What Ctrl-C does to whatever is waited for."""
    raise KeyboardInterrupt


async def at_once(*_: object) -> None:
    """What ends without waiting."""


@pytest.fixture(scope="module")
def presentation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of HLS in fragmented MP4, and a poster."""
    folder = tmp_path_factory.mktemp("hls")
    source = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=10:d=1"]
    codec = ["-c:v", "libx264", "-b:v", "90k", "-g", "5"]
    hls = [*codec, "-f", "hls", "-hls_time", "0.5", "-hls_segment_type", "fmp4", "-hls_playlist_type", "vod"]
    names = ["-hls_segment_filename", "seg-%d.m4s", "-master_pl_name", "master.m3u8", "v.m3u8"]
    subprocess.run(["ffmpeg", "-v", "error", *source, *hls, *names], cwd=folder, check=True)
    subprocess.run(["ffmpeg", "-v", "error", *source, "-frames:v", "1", "poster.jpg"], cwd=folder, check=True)
    return folder


@pytest.fixture
def published(api: FakeApi, presentation: Path) -> FakeApi:
    """The API holds it as a completed file: segments in the manifest alone, entry points as copies."""
    file_id = api.file_id
    kinds = {"init.mp4": "init", "v.m3u8": "hls_media", "poster.jpg": "poster"}
    outputs, entry_points = [], []
    for path in sorted(presentation.iterdir()):
        key = f"{file_id}/{RUN}/{path.name}"
        if path.name == "master.m3u8":
            body = path.read_bytes().replace(b"v.m3u8", f"{RUN}/v.m3u8".encode())
            outputs.append(api.add_object(key, body, "hls", listed=False))
            entry_points.append(api.add_object(f"{file_id}/master.m3u8", body, "hls") | {"source_key": key})
            continue
        kind = kinds.get(path.name, "segment")
        more = {"codec": "h264", "width": 320, "height": 180, "bitrate_bps": 90_000} if kind == "hls_media" else {}
        outputs.append(api.add_object(key, path.read_bytes(), kind, listed=kind not in ("init", "segment"), **more))
    write_manifest(api, outputs=outputs, entry_points=entry_points)
    api.streams = [[status_body(file_id, "processing", 0.5, stage="encode"), status_body(file_id, "completed", 1.0)]]
    return api


def write_manifest(api: FakeApi, **fields: Any) -> None:
    source = {"bucket": "raw", "key": "k", "etag": "e", "version_id": None, "bytes": 1, "container": "mp4"}
    manifest = {
        "file_id": str(api.file_id),
        "run_id": RUN,
        "profile": "abr",
        "created_at": "2030-01-01T00:00:00Z",
        "source": source | {"duration_s": 1.0, "codec": "h264"},
        "stages": {"download": 0.1, "encode": 2.345},
        "receipt": {
            "wall_s": 2.4,
            "cpu_s": 4.5,
            "peak_memory_bytes": 1048576,
            "bytes_in": 9,
            "bytes_out": 9,
            "s3_requests": {"put": 7},
            "sqs_requests": {},
            "speed": 1.25,
        },
    }
    api.objects[f"{api.file_id}/manifest.json"] = json.dumps(manifest | fields).encode()


@pytest.fixture
def demo(published: FakeApi, monkeypatch: pytest.MonkeyPatch, clip: Path, tmp_path: Path) -> Any:
    """`vproc demo CLIP`, its daemon replaced by the API that stands; ``ended`` says whether it was ended."""
    ended: list[bool] = []

    @asynccontextmanager
    async def stand_in(work: Path) -> AsyncIterator[DevDaemon]:
        (work / LOG_NAME).write_text("log")
        daemon = DevDaemon(work, published.url, published.url, "processed")
        daemon.ended = SimpleNamespace(wait=demo_run.ended)
        try:
            yield daemon
        finally:
            ended.append(True)

    def demo_run(*words: object) -> Result:
        ended.clear()
        result = CliRunner().invoke(cli, ["demo", *map(str, words or (clip,))])
        assert ended == [True]
        return result

    demo_run.ended = at_once  # type: ignore[attr-defined]
    monkeypatch.setattr(walkthrough, "dev_daemon", stand_in)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return demo_run


def test_the_demo_shows_and_saves_all_that_was_made(published: FakeApi, demo: Any, clip: Path, tmp_path: Path) -> None:
    """The upload is the clip, the outputs stand under ./demo-output with the bytes of the store, and the tables tell them."""
    result = demo()
    assert result.exit_code == 0, result.output
    assert published.puts[0].body == clip.read_bytes()
    target = tmp_path / "demo-output" / "clip"
    manifest_key = f"{published.file_id}/manifest.json"
    assert {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()} == {
        key: body for key, body in published.objects.items() if key != manifest_key
    }
    said = result.stdout
    for line in (
        "uploading clip.mp4 (2.4 MiB)",
        "encode 50%",
        "completed 100%",
        "HLS: 3 segments and headers stand",
        "ffprobe accepts master.m3u8, poster.jpg",
        f"The outputs are in {target / str(published.file_id)}",
        f"Watch it with: ffplay {target}/{published.file_id}/master.m3u8",
        "`make demo SERVE=1`",
    ):
        assert line in said
    assert published.url not in said, "an address that nobody answers at any more"
    rows = [line.split() for line in said.splitlines()]
    assert any(row[-1:] == ["v.m3u8"] for row in rows)
    assert ["from", "claim", "to", "commit", "2.40"] in rows
    assert ["speed", "1.25", "x", "real", "time"] in rows
    assert ["encode", "2.35"] in rows or ["encode", "2.34"] in rows
    assert any(row[:5] == ["hls_media", "h264", "320x180", "90", "kb/s"] for row in rows)
    assert any(row[:3] == ["segment", "x", "2"] for row in rows)


def test_the_demo_saves_where_it_is_told(demo: Any, clip: Path, tmp_path: Path, published: FakeApi) -> None:
    assert demo(clip, "--to", tmp_path / "here").exit_code == 0
    assert (tmp_path / "here" / str(published.file_id) / "master.m3u8").is_file()
    assert not (tmp_path / "demo-output").exists()


def spoil_manifest(api: FakeApi) -> None:
    key = f"{api.file_id}/manifest.json"
    manifest = json.loads(api.objects[key])
    next(output for output in manifest["outputs"] if output["kind"] == "poster")["sha256"] = "0" * 64
    api.objects[key] = json.dumps(manifest).encode()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_manifest, "poster.jpg is one thing in the manifest, and in the API"),
        (lambda api: api.outputs.pop(), "is one thing in the manifest, and in the API: nothing"),
        (lambda api: api.objects.update({f"{api.file_id}/{RUN}/seg-1.m4s": b"x"}), "seg-1.m4s: what was downloaded is not"),
        (lambda api: api.objects.pop(f"{api.file_id}/{RUN}/v.m3u8"), "v.m3u8: the store answered 404"),
        (lambda api: api.objects.pop(f"{api.file_id}/manifest.json"), "manifest.json answered 404"),
        (lambda api: api.objects.update({f"{api.file_id}/manifest.json": b"{}"}), "manifest.json cannot be read"),
        (
            lambda api: api.streams[0].append(
                api.streams[0].pop() | {"processing_status": "failed", "error": {"code": "stalled", "detail": "no news"}}
            ),
            "was not completed but failed: stalled: no news",
        ),
    ],
)
def test_whatever_does_not_hold_fails_the_demo(published: FakeApi, demo: Any, spoil: Any, words: str) -> None:
    """Exit 1 and one line, which names the daemon's log."""
    spoil(published)
    result = demo()
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert words in line
    assert Path(line.partition("the daemon's log: ")[2].rstrip(")")).read_text() == "log"


def test_output_that_ffprobe_refuses_fails_the_demo(published: FakeApi, demo: Any) -> None:
    """Right by its digest is not enough: it must open."""
    key = f"{published.file_id}/manifest.json"
    manifest = json.loads(published.objects[key])
    published.outputs = [entry for entry in published.outputs if entry["kind"] != "poster"]
    poster = published.add_object(f"{published.file_id}/{RUN}/poster.jpg", b"no picture", "poster")
    manifest["outputs"] = [poster if output["kind"] == "poster" else output for output in manifest["outputs"]]
    published.objects[key] = json.dumps(manifest).encode()
    assert "ffprobe finds nothing to show in" in demo().stderr


def test_serve_keeps_it_up_until_interrupted(published: FakeApi, demo: Any, clip: Path) -> None:
    """It tells the page's address, or without one the stream's, and waits; Ctrl-C then is exit 0."""
    published.page = "<html>"
    demo.ended = interrupted
    result = demo(clip, "--serve")
    assert result.exit_code == 0, result.output
    stream = f"{published.url}/processed/{published.file_id}/master.m3u8"
    page = f"{published.url}/?file={published.file_id}"
    assert f"Watch it at {page} (Ctrl-C ends it)\nThe stream itself: {stream}\n" in result.stdout
    published.page = None
    published.streams = [[status_body(published.file_id, "completed", 1.0)]]
    assert f"Watch it at {stream} (Ctrl-C ends it)\n" in demo(clip, "--serve").stdout


def test_a_daemon_that_ends_while_it_serves_fails_the_demo(demo: Any, clip: Path) -> None:
    """Nobody interrupted it, so something is wrong."""
    demo.ended = at_once
    result = demo(clip, "--serve")
    assert result.exit_code == 1
    assert "the daemon ended by itself" in result.stderr


def test_an_interrupted_demo_is_exit_130(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before all was shown, Ctrl-C is an interrupt like any other."""
    monkeypatch.setattr(walkthrough, "_process", interrupted)
    result = demo()
    assert (result.exit_code, result.stderr) == (130, "vproc: interrupted\n")
