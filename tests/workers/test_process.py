"""`run_process` with plain children, not confined: what it does itself."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import resource
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from tests.support.children import MIB, children, descriptors, gone, limits, stub, until
from vproc.errors import LeaseLostError, UnavailableError
from vproc.ports import Feed, ProcessLimits, ProcessResult, StopReason
from vproc.usage import metered
from vproc.workers.process import run_process
from vproc.workers.watch import STDOUT_LIMIT_BYTES, directory_bytes


async def run(
    command: list[str],
    cwd: Path,
    bounds: ProcessLimits | None = None,
    *,
    on_line: Callable[[str], bool] | None = None,
    feed: Feed | None = None,
    grace_s: float = 0.3,
    reap_s: float = 10,
) -> ProcessResult:
    return await run_process(
        command, env={}, cwd=cwd, limits=bounds or limits(), on_line=on_line, feed=feed, grace_s=grace_s, reap_s=reap_s
    )


@pytest.fixture(autouse=True)
def _in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_exit_code_and_both_outputs_come_back(tmp_path: Path) -> None:
    for code in (0, 1, 126, 255):
        result = await run(stub("exit", code), tmp_path)
        assert (result.returncode, result.stdout, result.stderr, result.stopped) == (code, b"out\n", "err\n", None)


async def test_a_crash_is_a_negative_code(tmp_path: Path) -> None:
    assert (await run(stub("crash"), tmp_path)).returncode == -signal.SIGSEGV


async def test_cpu_time_is_the_childs_own_and_memory_is_not_the_daemons(tmp_path: Path) -> None:
    ballast = bytearray(os.urandom(1)) * (96 * MIB)
    result = await run(stub("spin", 0.3), tmp_path)
    assert 0.3 <= result.cpu_s <= 0.6
    assert result.wall_s >= 0.3
    assert MIB < result.peak_memory_bytes < len(ballast) // 2
    # Well above this process's own peak, which may be large by now: below that a child's is only sampled.
    large = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 * 5 // 4 + 64 * MIB
    assert large <= (await run(stub("allocate", large), tmp_path)).peak_memory_bytes < large + 64 * MIB


async def test_what_a_child_used_is_counted_for_the_job_however_it_ends(tmp_path: Path) -> None:
    """It ends by itself, by a limit, by a cancel, by what its listener raises: the sum is of all."""

    def listener(line: str) -> bool:
        raise LeaseLostError("not ours")

    with metered() as usage:
        first = await run(stub("spin", 0.2), tmp_path)
        assert (usage.cpu_s, usage.peak_memory_bytes) == (first.cpu_s, first.peak_memory_bytes)
        second = await run(stub("spin", 9), tmp_path, limits(wall_s=0.5))
        assert usage.cpu_s == pytest.approx(first.cpu_s + second.cpu_s)
        with anyio.move_on_after(0.5):
            await run(stub("spin", 9), tmp_path)
        cancelled = usage.cpu_s - first.cpu_s - second.cpu_s
        assert cancelled > 0.05
        with pytest.raises(LeaseLostError):
            await run(stub("exit", 0), tmp_path, on_line=listener)
        assert usage.cpu_s > first.cpu_s + second.cpu_s + cancelled
        assert usage.peak_memory_bytes >= max(first.peak_memory_bytes, second.peak_memory_bytes)


async def test_over_its_wall_time_a_child_that_obeys_ends_itself(tmp_path: Path) -> None:
    result = await run(stub("obedient"), tmp_path, limits(wall_s=0.4), grace_s=5)
    assert (result.stopped, result.returncode) == (StopReason.WALL, 255)
    assert result.wall_s < 3


async def test_over_its_wall_time_a_child_that_ignores_term_is_killed(tmp_path: Path) -> None:
    result = await run(stub("stubborn"), tmp_path, limits(wall_s=0.4))
    assert (result.stopped, result.returncode) == (StopReason.WALL, -signal.SIGKILL)
    assert gone(int(result.stdout))


async def test_without_news_a_child_is_stalled_and_with_news_it_is_not(tmp_path: Path) -> None:
    bounds = limits(stall_s=0.4)
    assert (await run(stub("tick"), tmp_path, bounds, on_line=lambda _: True)).stopped is None
    assert (await run(stub("tick"), tmp_path, bounds, on_line=lambda _: False)).stopped is StopReason.STALL
    assert (await run(stub("tick"), tmp_path, bounds)).stopped is None
    assert (await run(stub("hang"), tmp_path, bounds)).stopped is StopReason.STALL


async def test_standard_output_over_its_limit_stops_the_child(tmp_path: Path) -> None:
    result = await run(stub("flood_stdout"), tmp_path)
    assert (result.stopped, len(result.stdout)) == (StopReason.STDOUT, STDOUT_LIMIT_BYTES)


@pytest.mark.parametrize("name", ["fill", "fill_unlinked"])
async def test_a_directory_over_its_limit_stops_the_child(tmp_path: Path, name: str) -> None:
    result = await run(stub(name), tmp_path, limits(directory_bytes=20 * MIB))
    assert (result.stopped, result.returncode) == (StopReason.DIRECTORY, -signal.SIGKILL)


async def test_what_was_written_between_two_looks_counts_too(tmp_path: Path) -> None:
    command = ["/bin/dd", "if=/dev/zero", "of=late", "bs=1M", "count=3"]
    assert (await run(command, tmp_path, limits(directory_bytes=2 * MIB))).stopped is StopReason.DIRECTORY


def test_a_directory_counts_its_files_and_not_where_links_lead(tmp_path: Path) -> None:
    (tmp_path / "in" / "side").mkdir(parents=True)
    (tmp_path / "in" / "side" / "file").write_bytes(b"x" * 100_000)
    (tmp_path / "up").symlink_to("/usr")
    (tmp_path / "nowhere").symlink_to("none")
    os.mkfifo(tmp_path / "fifo")
    assert 100_000 <= directory_bytes(tmp_path) < 110_000
    assert directory_bytes(tmp_path / "none") == 0


async def test_a_flood_on_standard_error_neither_blocks_nor_grows(tmp_path: Path) -> None:
    await run(stub("flood_stderr", 16), tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = await run(stub("flood_stderr", 16384), tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024
    assert result.returncode == 0
    assert result.stderr.endswith("the last word")
    assert len(result.stderr) == 16 * 1024


async def test_a_child_that_floods_hears_its_term_when_it_is_cancelled(tmp_path: Path) -> None:
    begun = time.monotonic()
    with anyio.move_on_after(0.3) as scope:
        await run(stub("flood_and_ignore"), tmp_path, grace_s=30)
    assert scope.cancelled_caught
    assert time.monotonic() - begun < 10, "it would have blocked on its full pipe until the KILL"


async def test_grandchildren_die_with_the_group(tmp_path: Path) -> None:
    result = await run(stub("orphan"), tmp_path, grace_s=30)
    assert result.returncode == 0
    assert result.wall_s < 3
    assert gone(int(result.stdout))


async def test_a_pipe_held_by_somebody_who_left_the_group_is_not_waited_for(tmp_path: Path) -> None:
    result = await run(stub("orphan", "away"), tmp_path)
    pid = int(result.stdout)
    try:
        assert not gone(pid)
        assert result.wall_s < 5
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_cancelled_at_any_moment_nothing_is_left(tmp_path: Path) -> None:
    """200 cancellations, from before the child's first instruction to its last."""
    await run(stub("exit", 0), tmp_path)
    before = descriptors()
    chance = random.Random(7)
    names = ["stubborn", "obedient", "flood_stdout", "orphan", "tick"]

    async def some() -> None:
        for _ in range(50):
            with anyio.move_on_after(chance.choice((0, 0.0005, 0.002, 0.01, 0.03, 0.1)) * chance.random()):
                await run(stub(chance.choice(names)), tmp_path, grace_s=0.05, on_line=lambda _: True)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(some)
    assert await until(lambda: children() == [] and descriptors() <= before), (children(), descriptors() - before)


async def test_the_cancellation_goes_on_after_the_child_is_gone(tmp_path: Path) -> None:
    seen: list[int] = []
    with anyio.CancelScope() as scope:

        def hear(line: str) -> bool:
            seen.append(int(line))
            scope.cancel()
            return True

        await run(stub("stubborn"), tmp_path, on_line=hear)
        pytest.fail("it went on where it was cancelled")
    assert scope.cancelled_caught
    assert gone(seen[0])
    assert children() == []


async def test_asyncios_own_cancellation_ends_it_likewise(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await run(stub("stubborn"), tmp_path)
    assert children() == []


async def test_what_a_listener_raises_comes_out_plain_once_the_child_is_gone(tmp_path: Path) -> None:
    seen: list[int] = []

    def hear(line: str) -> bool:
        seen.append(int(line))
        raise LeaseLostError("another has it")

    with pytest.raises(LeaseLostError, match="another has it"):
        await run(stub("stubborn"), tmp_path, on_line=hear)
    assert gone(seen[0])


async def test_a_child_that_survives_its_kill_is_an_error_and_not_a_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in uninterruptible sleep, where a signal waits too: signals are held back here instead."""
    real = os.killpg
    monkeypatch.setattr("vproc.workers.process.os.killpg", lambda *_: None)
    with capture_logs() as logs, pytest.raises(UnavailableError, match="does not die"):
        await run(stub("stubborn"), tmp_path, limits(wall_s=0.2), grace_s=0.1, reap_s=0.2)
    (event,) = (entry for entry in logs if entry["event"] == "process_unreaped")
    real(event["pid"], signal.SIGKILL)
    os.waitpid(event["pid"], 0)  # noqa: ASYNC222 - it is killed


async def test_a_program_that_cannot_start_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    before = descriptors()
    with pytest.raises(UnavailableError, match="/none cannot be started: No such file"):
        await run(["/none"], tmp_path)
    assert descriptors() == before


async def test_lines_arrive_one_by_one_and_not_in_the_result(tmp_path: Path) -> None:
    heard: list[str] = []
    result = await run(stub("tick"), tmp_path, on_line=lambda line: heard.append(line) is None)
    assert heard == list("01234567")
    assert result.stdout == b""


def test_no_child_of_another_test_is_left() -> None:
    """Every test above ended what it started."""
    with suppress(ChildProcessError):
        assert os.waitpid(-1, os.WNOHANG) == (0, 0)


Write = Callable[[bytes], Awaitable[bool]]


async def test_a_child_is_fed_every_byte_and_then_the_end(tmp_path: Path) -> None:
    """More than a pipe holds, so that the child's pace is ours."""
    data = os.urandom(3 * MIB + 7)

    async def feed(write: Write) -> None:
        for start in range(0, len(data), 70_001):
            assert await write(data[start : start + 70_001])

    before = descriptors()
    result = await run(stub("count_input"), tmp_path, feed=feed)
    assert result.stdout.split() == [b"%d" % len(data), hashlib.sha256(data).hexdigest().encode()]
    assert descriptors() == before


async def test_a_child_without_a_feed_finds_its_input_empty(tmp_path: Path) -> None:
    assert (await run(stub("count_input"), tmp_path)).stdout.split()[0] == b"0"


async def test_a_child_that_takes_no_more_ends_the_feed_and_not_the_run(tmp_path: Path) -> None:
    answers = []

    async def feed(write: Write) -> None:
        while not answers or answers[-1]:
            answers.append(await write(bytes(MIB)))

    result = await run(stub("take_a_little", 5), tmp_path, feed=feed)
    assert (result.returncode, result.stdout, answers[-1]) == (0, b"5\n", False)


async def test_what_the_feed_raises_ends_the_child_and_comes_back(tmp_path: Path) -> None:
    async def feed(write: Write) -> None:
        await write(b"some")
        raise UnavailableError("the source is gone")

    with pytest.raises(UnavailableError, match="the source is gone"):
        await run(stub("take_nothing"), tmp_path, feed=feed)
    assert children() == []


async def test_a_child_that_ends_while_its_input_is_awaited_is_not_waited_for(tmp_path: Path) -> None:
    async def feed(_: Write) -> None:
        await anyio.sleep_forever()

    assert (await run(stub("exit", 0), tmp_path, feed=feed)).returncode == 0


async def test_input_that_arrives_is_news_and_a_child_that_takes_none_is_stalled(tmp_path: Path) -> None:
    """A slow download is no stall of ffmpeg's; an ffmpeg that reads nothing more is one."""
    bounds = limits(stall_s=0.4)

    send, ticks = anyio.create_memory_object_stream[str](8)

    def tick(line: str) -> bool:
        send.send_nowait(line)
        return False

    async def trickle(write: Write) -> None:
        with send, ticks:
            async for _ in ticks:
                await write(b"x")

    async def flood(write: Write) -> None:
        while await write(bytes(MIB)):
            pass

    assert (await run(stub("tick"), tmp_path, bounds, on_line=tick, feed=trickle)).stopped is None
    stalled = await run(stub("take_nothing"), tmp_path, bounds, on_line=lambda _: False, feed=flood)
    assert stalled.stopped is StopReason.STALL


def session_nice(pid: int | str) -> str | None:
    """By how much a process's session steps back for others; None where it has no such group, or this kernel has none."""
    with suppress(FileNotFoundError):
        return next(reversed(Path(f"/proc/{pid}/autogroup").read_text().split()), None)
    return None


async def test_a_childs_session_yields_to_the_daemon(tmp_path: Path) -> None:
    """A nice value counts within a session only, and each child has one of its own."""
    ours = session_nice("self")

    async def until_it_yields(_: Callable[[bytes], Awaitable[bool]]) -> None:
        [pid] = children()
        with anyio.fail_after(20):
            while session_nice(pid) not in {"10", None}:
                await anyio.lowlevel.checkpoint()

    await run(stub("count_input"), tmp_path, feed=until_it_yields)
    assert session_nice("self") == ours
