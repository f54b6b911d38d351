"""What a job uses is added up in every task and thread that works for it, and nowhere else."""

from __future__ import annotations

import anyio
import anyio.to_thread
import pytest

from vproc.usage import Usage, current_usage, metered


def test_children_add_up_and_the_largest_is_kept() -> None:
    usage = Usage()
    for cpu_s, peak in ((1.5, 300), (0.25, 700), (2.0, 100)):
        usage.child_ended(cpu_s=cpu_s, peak_memory_bytes=peak)
    assert (usage.cpu_s, usage.peak_memory_bytes) == (3.75, 700)


async def test_tasks_and_threads_count_for_the_job_that_started_them() -> None:
    async def ask(operation: str) -> None:
        current_usage().s3_requests[operation] += 1

    with metered() as usage:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "get")
            tasks.start_soon(ask, "get")
        await anyio.to_thread.run_sync(lambda: current_usage().sqs_requests.update({"extend": 1}))
    assert (dict(usage.s3_requests), dict(usage.sqs_requests)) == ({"get": 2}, {"extend": 1})


async def test_two_jobs_at_once_do_not_mix() -> None:
    found: dict[str, Usage] = {}

    async def job(name: str, times: int) -> None:
        with metered() as found[name]:
            for _ in range(times):
                current_usage().s3_requests["put"] += 1
                await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(job, "a", 3)
        tasks.start_soon(job, "b", 5)
    assert {name: usage.s3_requests["put"] for name, usage in found.items()} == {"a": 3, "b": 5}


def test_outside_of_a_job_nothing_is_kept() -> None:
    current_usage().s3_requests["head"] += 1
    assert current_usage() == Usage()
    with pytest.raises(ValueError, match="x"), metered():
        raise ValueError("x")
    assert current_usage() == Usage()
