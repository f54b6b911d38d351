"""Files that declare more than any machine has: each comes to its end soon, with little memory and little disk."""

from __future__ import annotations

import os
from pathlib import Path
from time import perf_counter

import anyio
import pytest

from tests.support.bombs import BOMBS, MIB, bomb
from tests.support.children import children, confined, names_in
from tests.support.memory import MemoryStore
from tests.support.real_pipeline import job_for, pipeline
from tests.support.tools import LONE, PACKAGED, SYSTEM, Tools
from vproc.core.memory import Pictures
from vproc.errors import JobError, UnavailableError
from vproc.profiles import builtin_profile
from vproc.usage import metered
from vproc.workers.figures import JobFigures
from vproc.workers.keeper import Progress
from vproc.workers.scratch import open_scratch

ENDS_WITHIN_S = 20.0
MEMORY_BYTES = 700 * MIB
TINY = Pictures(96 * 64 * 3, ((96 * 64 * 3 // 2, 64),))
MORE_MEMORY_BYTES = {"frames_that_last": TINY.memory(threads=None, cores=len(os.sched_getaffinity(0))).data_bytes}
"""What a child's own limit has to stop: days of pictures that a filter makes at once."""
WRITTEN_BYTES = 64 * MIB
TOO_MUCH = {"too_large", "limit_exceeded", "corrupt_media", "unsupported_media"}
ENDS = {
    "huge_picture": {"too_large", "corrupt_media"},
    "picture_that_grows": TOO_MUCH,
    "many_streams": TOO_MUCH,
    "frames_that_last": TOO_MUCH | {"stalled", "output_invalid", "out_of_memory"},
}
"""How they must end; the others may be taken for the film that they also are, or fail to be encoded."""


@pytest.mark.parametrize("tools", [SYSTEM, PACKAGED, LONE], ids=lambda tools: tools.name)
@pytest.mark.parametrize("name", BOMBS)
async def test_what_declares_enormous_things_costs_little(name: str, tools: Tools, tmp_path: Path) -> None:
    raw, processed = MemoryStore("raw"), MemoryStore("processed")
    version = raw.upload("videos/ann/a", bomb(name))
    profile, end = builtin_profile("abr"), "completed"
    begun = perf_counter()
    async with open_scratch(tmp_path) as scratch:
        jobs = pipeline(raw, processed, tools, scratch, {"abr": profile}, runner=confined(), job_timeout_s=15, stall_timeout_s=10)
        with metered() as usage, anyio.fail_after(ENDS_WITHIN_S):
            try:
                await jobs.run(job_for(version, "abr"), Progress(), JobFigures())
            except UnavailableError as error:
                raise AssertionError(f"it would stop the intake: {error.detail}") from error
            except JobError as error:
                end = error.code.value
    assert perf_counter() - begun < ENDS_WITHIN_S
    assert end in ENDS.get(name, TOO_MUCH | {"completed", "encoder_failed", "timeout"})
    most = MORE_MEMORY_BYTES.get(name) or MEMORY_BYTES
    assert usage.peak_memory_bytes < most + 64 * MIB  # the program itself is no data of its
    assert sum(len(processed.body(key)) for key in processed.keys) < WRITTEN_BYTES
    assert (children(), names_in(tmp_path)) == ([], [])
