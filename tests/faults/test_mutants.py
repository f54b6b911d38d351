"""Media that are broken in every way, through the jailed pipeline: the daemon's side never fails, no child is left, each comes to
its end in time. Sixty-six in `make test`, two thousand in `make chaos`; ``VPROC_TEST_MUTANTS=1234`` does one alone.
"""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from tests.support.children import children, confined, descriptors, names_in
from tests.support.memory import MemoryStore
from tests.support.mutants import SEEDS, mutant, seed
from tests.support.real_pipeline import job_for, pipeline
from tests.support.tools import PACKAGED, SYSTEM
from vproc.core.manifest import Manifest
from vproc.errors import JobError, UnavailableError
from vproc.profiles import builtin_profile
from vproc.workers.figures import JobFigures
from vproc.workers.keeper import Progress
from vproc.workers.scratch import open_scratch

CHAOS = bool(os.environ.get("VPROC_TEST_CHAOS"))
ALONE = os.environ.get("VPROC_TEST_MUTANTS")
SHARDS = 20 if CHAOS else 2
CASES = range(int(ALONE), int(ALONE) + 1) if ALONE else range(2000 if CHAOS else 66)
PROFILES = ("abr", "mp4", "copy", "thumbnails", "audio")
ENDS_WITHIN_S = 60.0


async def end_of(number: int, work: Path) -> str:
    """How a mutant's job ends: ``completed``, or the code of its error. Raises where it is anything but a job's error."""
    name, body = mutant(number)
    raw, processed = MemoryStore("raw"), MemoryStore("processed")
    profile = builtin_profile(PROFILES[number // len(SEEDS) % len(PROFILES)])
    tools = (PACKAGED, SYSTEM)[number % 2]
    version = raw.upload("videos/ann/a", body)
    try:
        async with open_scratch(work) as scratch:
            jobs = pipeline(
                raw, processed, tools, scratch, {profile.name: profile}, runner=confined(), job_timeout_s=30, stall_timeout_s=15
            )
            with anyio.fail_after(ENDS_WITHIN_S):
                manifest = await jobs.run(job_for(version, profile.name), Progress(), JobFigures())
    except UnavailableError as error:
        raise AssertionError(f"{name} ({profile.name}) would stop the intake: {error.detail}") from error
    except JobError as error:
        return error.code.value
    except Exception as error:
        raise AssertionError(f"{name} ({profile.name}): {error!r}") from error
    check(manifest, processed, name)
    return "completed"


def check(manifest: Manifest, processed: MemoryStore, name: str) -> None:
    """What is completed stands whole, whatever it was made of."""
    for output in (*manifest.outputs, *manifest.entry_points):
        assert len(processed.body(output.key)) == output.bytes, name


@pytest.mark.timeout(7200 if CHAOS else 300)
@pytest.mark.parametrize("shard", range(SHARDS))
async def test_broken_media_harm_nobody(shard: int, tmp_path: Path) -> None:
    await end_of(0, tmp_path)
    before = descriptors()
    ends: dict[str, int] = {}
    for number in CASES[shard::SHARDS]:
        end = await end_of(number, tmp_path)
        ends[end] = ends.get(end, 0) + 1
        assert children() == [], number
        assert names_in(tmp_path) == [], number
    assert descriptors() <= before
    assert set(ends) <= {
        "completed", "corrupt_media", "unsupported_media", "limit_exceeded", "too_large", "encoder_failed", "output_invalid",
        "stalled", "timeout", "internal",
    }  # fmt: skip


def test_mutants_follow_from_their_numbers_and_are_mostly_no_seeds() -> None:
    made = [mutant(number) for number in range(len(SEEDS))]
    assert made == [mutant(number) for number in range(len(SEEDS))]
    assert sum(body != seed(name) for name, (_, body) in zip(SEEDS, made, strict=True)) > len(SEEDS) * 0.9
