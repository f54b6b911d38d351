"""`DockerRunner` where the engine does not do as it should, and where the caller goes away: nothing is left in the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from tests.support.children import MIB, children, limits, names_in, stub, until
from tests.support.fake_engine import GIB, FakeContainer, FakeEngine, Fault, fake_engine, open_runner
from vproc.errors import UnavailableError
from vproc.ports import StopReason
from vproc.usage import metered
from vproc.workers.docker_runner import DockerRunner

LEFT = ("create", "attach", "wait", "start")
"""The calls of a run, in their order."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (path := tmp_path / "job").mkdir()
    return path


async def nothing_left(engine: FakeEngine, runner: DockerRunner) -> bool:
    return await until(lambda: engine.containers == {} and children() == [] and runner.standing == frozenset(), within_s=10)


# --- what is asked -------------------------------------------------------------------------------------------------------


async def test_a_run_is_four_calls(tmp_path: Path, place: Path) -> None:
    """More would be paid by every short child."""
    async with fake_engine(tmp_path) as engine, open_runner(engine) as runner:
        engine.calls.clear()
        assert (await runner.run(stub("exit", 0), cwd=place, limits=limits())).returncode == 0
        assert engine.calls == dict.fromkeys(LEFT, 1)


async def test_a_container_says_whose_it_is_and_what_it_is_for(tmp_path: Path, place: Path) -> None:
    async with fake_engine(tmp_path) as engine, open_runner(engine) as runner:
        await runner.run(stub("exit", 0), cwd=place, limits=limits())
        [made] = engine.made
        assert made["Labels"] == runner.site.owner.labels() | {"vproc.run": "job"}
        assert made["Labels"]["vproc.daemon"] == "this"
        assert made["Env"] == ["LANG=C.UTF-8", f"HOME={place}", f"TMPDIR={place}"]


@pytest.mark.parametrize(
    ("bounds", "memory_bytes"),
    [
        ({"memory_bytes": 2 * GIB}, 2 * GIB),
        ({"memory_bytes": 4 * GIB, "data_bytes": GIB}, GIB),
        ({"memory_bytes": 1 << 46}, 8 * GIB),
        ({"memory_bytes": MIB}, 32 * MIB),
    ],
)
async def test_memory_is_what_may_be_filled_and_no_more_than_there_is(
    bounds: dict[str, float], memory_bytes: int, tmp_path: Path, place: Path
) -> None:
    """Address space that is reserved costs a container nothing; swap is none."""
    async with fake_engine(tmp_path) as engine, open_runner(engine) as runner:
        await runner.run(stub("exit", 0), cwd=place, limits=limits(**bounds))
        host = engine.made[0]["HostConfig"]
        assert (host["Memory"], host["MemorySwap"]) == (memory_bytes, memory_bytes)


async def test_inside_a_container_the_engine_is_given_the_directory_by_its_own_name(tmp_path: Path) -> None:
    """The daemon sees the volume at one place, the engine has it at another, and the child sees what the daemon sees."""
    (volume := tmp_path / "volumes/scratch/_data").mkdir(parents=True)
    (tmp_path / "scratch").symlink_to(volume)
    (job := tmp_path / "scratch/job").mkdir()
    mounts = ((str(volume), str(tmp_path / "scratch")),)
    async with fake_engine(tmp_path) as engine, open_runner(engine, mounts=mounts) as runner:
        await runner.run(["sh", "-c", "echo there >word"], cwd=job, limits=limits())
        assert engine.made[0]["HostConfig"]["Mounts"][0] | {"Type": "bind"} == {
            "Type": "bind", "Source": str(volume / "job"), "Target": str(job), "ReadOnly": False,
        }  # fmt: skip
        assert (volume / "job/word").read_text() == "there\n"
        with pytest.raises(UnavailableError, match="takes a directory of a volume"):
            await runner.run(stub("exit", 0), cwd=tmp_path, limits=limits())


# --- what it used --------------------------------------------------------------------------------------------------------


async def test_what_a_child_used_is_counted_for_the_job_however_it_ends(tmp_path: Path, place: Path) -> None:
    """The guard tells of processor time, the engine's samples of memory, and of both where the guard is killed."""
    async with fake_engine(tmp_path) as engine, open_runner(engine) as runner:
        with metered() as usage:
            first = await runner.run(stub("spin", 0.3), cwd=place, limits=limits())
            assert usage.cpu_s == first.cpu_s > 0.2
            second = await runner.run(stub("hang"), cwd=place, limits=limits(wall_s=2.5))
            assert second.stopped is StopReason.WALL
            assert usage.peak_memory_bytes == second.peak_memory_bytes == 77
            before = usage.cpu_s
            with anyio.move_on_after(2.5):
                await runner.run(stub("stubborn"), cwd=place, limits=limits())
            assert usage.cpu_s == before + 2.0, "the last sample's"
        assert await nothing_left(engine, runner)


async def test_an_engine_that_tells_no_usage_changes_nothing(tmp_path: Path, place: Path) -> None:
    async with fake_engine(tmp_path) as engine, open_runner(engine) as runner:
        engine.faults["stats"] = Fault.REFUSED
        result = await runner.run(stub("hang"), cwd=place, limits=limits(wall_s=2.5))
        assert (result.stopped, result.peak_memory_bytes) == (StopReason.WALL, 0)
        assert engine.calls["stats"] >= 1


# --- an engine that fails ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.AWAY, Fault.LOST])
@pytest.mark.parametrize("call", LEFT)
async def test_a_call_that_fails_is_the_machines_fault_and_leaves_nothing(
    call: str, fault: Fault, tmp_path: Path, place: Path
) -> None:
    """Also where it was done and only its answer was lost. The child would run for a minute."""
    async with fake_engine(tmp_path) as engine, open_runner(engine) as runner:
        engine.faults[call] = fault
        with pytest.raises(UnavailableError) as raised, anyio.fail_after(20):
            await runner.run(stub("stubborn"), cwd=place, limits=limits(wall_s=1))
        assert "container" in raised.value.detail
        assert await nothing_left(engine, runner)


async def test_an_image_that_is_gone_is_the_machines_fault(tmp_path: Path, place: Path) -> None:
    async with fake_engine(tmp_path) as engine, open_runner(engine) as runner:
        engine.images.clear()
        with pytest.raises(UnavailableError, match="answers 404 to POST /containers/create: No such image"):
            await runner.run(stub("exit", 0), cwd=place, limits=limits())


async def test_an_engine_that_ends_in_the_middle_is_told_as_such(tmp_path: Path, place: Path) -> None:
    """Its children end with it, and that is not their fault."""
    async with fake_engine(tmp_path) as engine, open_runner(engine) as runner:
        engine.faults |= {"wait": Fault.LOST, "remove": Fault.AWAY}

        def hear(line: str) -> bool:
            [container] = engine.containers.values()
            assert container.process is not None
            container.process.kill()
            return True

        with capture_logs() as logs, pytest.raises(UnavailableError, match="did not tell how a container ended"):
            await runner.run(stub("stubborn"), cwd=place, limits=limits(), on_line=hear)
        assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["container_remained"]


async def test_a_kill_that_is_refused_does_not_hang(tmp_path: Path, place: Path) -> None:
    """The end of the input ends the child, too."""
    async with fake_engine(tmp_path) as engine, open_runner(engine) as runner:
        engine.faults |= {"kill": Fault.REFUSED}
        with (
            capture_logs() as logs,
            pytest.raises(UnavailableError, match="a container did not end within 5 s"),
            anyio.fail_after(30),
        ):
            await runner.run(stub("stubborn"), cwd=place, limits=limits(wall_s=0.5))
        assert [entry["signal"] for entry in logs if entry["event"] == "container_not_signalled"] == ["TERM", "KILL"]
        assert await nothing_left(engine, runner)


async def test_what_cannot_be_removed_is_told_and_left_to_the_sweep(tmp_path: Path, place: Path) -> None:
    async with fake_engine(tmp_path) as engine, open_runner(engine) as runner:
        engine.stubborn = True
        with capture_logs() as logs, pytest.raises(UnavailableError, match="did not end within"):
            await runner.run(stub("exit", 0), cwd=place, limits=limits())
        [event] = [entry for entry in logs if entry["event"] == "container_remained"]
        assert "device or resource busy" in event["reason"]
        assert runner.standing == frozenset()
        assert list(engine.containers) == [event["container"]]


# --- a caller that goes away ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", LEFT)
async def test_cancelled_while_a_call_is_answered_nothing_is_left(call: str, tmp_path: Path, place: Path) -> None:
    """The engine is slow, the caller cancels, and then the engine does what it was asked."""
    async with fake_engine(tmp_path) as engine, open_runner(engine) as runner:
        engine.faults[call] = Fault.HELD
        ended = anyio.Event()

        async def run() -> None:
            try:
                await runner.run(stub("stubborn"), cwd=place, limits=limits())
            finally:
                ended.set()

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await engine.held.wait()
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True), anyio.fail_after(20):
                engine.release()
                await ended.wait()
        assert await nothing_left(engine, runner)


@pytest.mark.parametrize("after_s", [0, 0.001, 0.01, 0.05, 0.1, 0.3])
async def test_cancelled_at_any_moment_nothing_is_left(after_s: float, tmp_path: Path, place: Path) -> None:
    async with fake_engine(tmp_path) as engine, open_runner(engine) as runner:
        for _ in range(3):
            with anyio.move_on_after(after_s) as scope:
                await runner.run(stub("obedient"), cwd=place, limits=limits())
            assert scope.cancelled_caught
        assert await nothing_left(engine, runner)


async def test_many_run_at_once(tmp_path: Path, place: Path) -> None:
    async with fake_engine(tmp_path) as engine, open_runner(engine, reap_s=30) as runner:
        codes = []

        async def run(code: int) -> None:
            codes.append((await runner.run(stub("exit", code), cwd=place, limits=limits())).returncode)

        async with anyio.create_task_group() as group:
            for code in range(12):
                group.start_soon(run, code)
        assert sorted(codes) == list(range(12))
        assert len({made["Labels"]["vproc.run"] for made in engine.made}) == 1
        assert await nothing_left(engine, runner)


async def test_a_connection_that_ends_ends_the_child(tmp_path: Path, place: Path) -> None:
    """As that of a daemon that is killed: nobody asks the engine for anything, and the child is gone."""
    async with fake_engine(tmp_path) as engine, open_runner(engine) as runner:
        pids: list[int] = []

        def hear(line: str) -> bool:
            pids.append(int(line))
            [container] = engine.containers.values()
            cut(container)
            return True

        result = await runner.run(stub("stubborn"), cwd=place, limits=limits(), on_line=hear)
        assert (result.returncode, engine.calls["kill"]) == (-9, 0)


def cut(container: FakeContainer) -> None:
    """What the engine does to a container whose one client has gone."""
    assert container.process is not None
    assert container.process.stdin is not None
    container.process.stdin.close()


async def test_a_fed_child_is_held_by_a_pipe_of_its_own_which_is_gone_with_it(tmp_path: Path, place: Path) -> None:
    """Its input may have ended: then nothing else tells it that the daemon has."""
    async with fake_engine(tmp_path) as engine, open_runner(engine) as runner:
        seen: list[list[str]] = []

        async def feed(write: Callable[[bytes], Awaitable[bool]]) -> None:
            await write(b"word")
            seen.append(names_in(place))

        result = await runner.run(stub("count_input"), cwd=place, limits=limits(), feed=feed)
        assert result.stdout.split()[0] == b"4"
        [[pipe]] = seen
        assert engine.made[0]["Cmd"][4] == pipe
        assert pipe.startswith(".vproc-")
        assert names_in(place) == []
