"""Uploads that would make ffmpeg read a file of this machine or call an address: none does, with the jail and without it.

A canary file tells by inotify whether it was opened, a canary server who came.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from tests.support.children import children, confined, unconfined
from tests.support.disguises import avi_with_subtitles, disguises
from tests.support.memory import MemoryStore
from tests.support.mutants import seed
from tests.support.real_pipeline import process
from tests.support.tools import LONE, PACKAGED, SYSTEM, Tools
from tests.support.watch import watched
from vproc.errors import RejectedError, TransientError
from vproc.profiles import builtin_profile
from vproc.workers.runners import LocalRunner

SECRET = b"canary-3f1c9a77e2d04b58"
GENERATIONS = pytest.mark.parametrize("tools", [SYSTEM, PACKAGED, LONE], ids=lambda tools: tools.name)
NAMES = sorted(disguises("file:///x", "http://127.0.0.1:1/", 1))


@dataclass
class Canaries:
    """What nobody may touch."""

    file: Path
    port: int
    visits: list[object]

    def disguised(self, name: str) -> bytes:
        """The file of that name, which asks for both."""
        return disguises(f"file://{self.file}", f"http://127.0.0.1:{self.port}/canary", self.port)[name]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A film that would be read if it were asked for, its text in it."""
    path = tmp_path / "canary.ts"
    path.write_bytes(seed("h264.ts") + SECRET)
    return path


@asynccontextmanager
async def canaries(secret: Path) -> AsyncIterator[Canaries]:
    visits: list[object] = []

    async def visit(stream: SocketStream) -> None:
        visits.append(stream)
        await stream.aclose()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", family=socket.AF_INET)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, visit)
        yield Canaries(secret, listener.extra(SocketAttribute.local_port), visits)
        group.cancel_scope.cancel()


async def told_nothing(body: bytes, tools: Tools, runner: LocalRunner, work: Path) -> None:
    """It is refused, or comes to outputs that hold nothing of the canary."""
    raw, processed = MemoryStore("raw"), MemoryStore("processed")
    detail = ""
    try:
        await process(raw, processed, tools, raw.upload("videos/ann/a", body), work, builtin_profile("mp4"), runner=runner)
    except (RejectedError, TransientError) as error:
        detail = error.detail
    assert SECRET.decode() not in detail
    assert all(SECRET not in processed.body(key) for key in processed.keys)


@GENERATIONS
@pytest.mark.parametrize("jailed", [True, False], ids=["jailed", "bare"])
async def test_no_disguise_reads_a_file_or_calls_an_address(jailed: bool, tools: Tools, secret: Path, tmp_path: Path) -> None:
    """The lists alone hold, and the jail alone would."""
    (work := tmp_path / "work").mkdir()
    async with canaries(secret) as birds:
        with watched(secret) as was_opened:
            for name in NAMES:
                with anyio.fail_after(60):
                    await told_nothing(birds.disguised(name), tools, confined() if jailed else unconfined(), work)
                assert not was_opened(), name
                assert birds.visits == [], name
                assert children() == [], name


@pytest.mark.parametrize(
    "key", ["%03d.mp4", "-i.mp4", "|touch x|.mp4", "concat:a.mp4", "http://127.0.0.1/a.mp4", "$(id).mp4", "'.mp4"]
)
async def test_what_an_upload_is_called_reaches_no_command(key: str, tmp_path: Path) -> None:
    """ffmpeg would take these for patterns, options and addresses."""
    raw, processed = MemoryStore("raw"), MemoryStore("processed")
    version = raw.upload(f"videos/ann/{key}", seed("h264.mp4"))
    manifest = await process(raw, processed, PACKAGED, version, tmp_path, builtin_profile("mp4"), runner=confined())
    assert manifest.source.key == version.key
    assert all(key not in output.key for output in manifest.outputs)


async def test_the_canaries_are_awake(secret: Path, tmp_path: Path) -> None:
    """Without vproc's options a system's ffmpeg does what the disguises ask for."""
    async with canaries(secret) as birds:
        with watched(secret) as was_opened:
            listing = tmp_path / "upload.mp4"
            listing.write_text(f"ffconcat version 1.0\nfile 'file:{secret}'\n")
            await ffmpeg("-safe", "0", "-i", f"file:{listing}")
            assert was_opened()
            listing.write_text(
                f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{birds.port}/a.ts\n#EXT-X-ENDLIST\n"
            )
            await ffmpeg("-protocol_whitelist", "file,http,tcp", "-allowed_extensions", "ALL", "-i", f"file:{listing}")
            assert birds.visits


async def test_the_subtitles_in_avi_are_opened_as_what_they_look_like(tmp_path: Path) -> None:
    """The AVI that the disguises are put into is one whose subtitles ffmpeg reads."""
    path = tmp_path / "film.avi"
    path.write_bytes(avi_with_subtitles(b"1\r\n00:00:00,000 --> 00:00:01,000\r\nhello\r\n"))
    told = await anyio.run_process([SYSTEM.ffprobe, "-v", "error", "-show_entries", "stream=codec_name", str(path)])
    assert b"codec_name=subrip" in told.stdout


async def ffmpeg(*arguments: str) -> None:
    argv = [SYSTEM.ffmpeg, "-v", "error", "-nostdin", *arguments, "-f", "null", "-"]
    await anyio.run_process(argv, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
