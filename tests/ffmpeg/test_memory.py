"""The largest pictures that are taken, through the whole pipeline in the jail: half of what they are given is enough."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.children import confined
from tests.support.memory import MemoryStore
from tests.support.real_pipeline import process
from tests.support.tools import SYSTEM, in_use
from vproc.core.ladder import rungs
from vproc.core.memory import pictures_of
from vproc.core.profile import VideoCodec
from vproc.profiles import builtin_profile
from vproc.usage import metered

SIZES = [(4096, 2160), (8192, 4320)]


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[int, int], bytes]:
    """Twenty-four pictures of that size: more than a decoder keeps."""
    width, height = request.param
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    source = ("-f", "lavfi", "-i", f"testsrc2=size={width}x{height}:rate=24:duration=1")
    options = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-pix_fmt", "yuv420p", str(path))
    subprocess.run([SYSTEM.ffmpeg, "-v", "error", *source, *options], check=True, capture_output=True)
    return (width, height), path.read_bytes()


async def test_the_largest_pictures_take_half_of_what_they_are_given(film: tuple[tuple[int, int], bytes], tmp_path: Path) -> None:
    (width, height), body = film
    raw, processed = MemoryStore("raw"), MemoryStore("processed")
    version = raw.upload("videos/ann/a", body)
    profile = builtin_profile("abr")
    with metered() as usage:
        manifest = await process(raw, processed, in_use(), version, tmp_path, profile, runner=confined())
    assert {output.height for output in manifest.outputs} >= {1080, 720, 360}
    ladder = rungs(width, height, profile, codec=VideoCodec.H264)
    given = pictures_of(width, height, 8, ladder, encoder="libx264", deep=False)
    cores = len(os.sched_getaffinity(0))
    data_bytes = given.memory(threads=None, cores=cores).data_bytes
    assert data_bytes is not None
    assert usage.peak_memory_bytes * 2 < data_bytes
    assert usage.peak_memory_bytes < given.expected_bytes(threads=None, cores=cores)
