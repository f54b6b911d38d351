"""What every `ports.Runner` keeps, by children that misbehave: over confined children, a fake engine and a real one."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from tests.support.children import MIB, STUBS, limits
from vproc.errors import LeaseLostError, UnavailableError
from vproc.ports import Runner, StopReason
from vproc.workers.watch import STDOUT_LIMIT_BYTES

Write = Callable[[bytes], Awaitable[bool]]


class RunnerContract:
    """Inherit it with a fixture ``runner``, one ``place`` that children may be given, and the ``python`` that they are."""

    python = "python3"

    def stub(self, name: str, *arguments: object) -> list[str]:
        return [self.python, "-I", "-S", "-c", STUBS[name], *map(str, arguments)]

    async def test_exit_code_and_both_outputs_come_back(self, runner: Runner, place: Path) -> None:
        for code in (0, 1, 126, 127, 255):
            result = await runner.run(self.stub("exit", code), cwd=place, limits=limits())
            assert (result.returncode, result.stdout, result.stderr, result.stopped) == (code, b"out\n", "err\n", None)

    async def test_a_crash_is_a_negative_code_and_so_is_a_kill(self, runner: Runner, place: Path) -> None:
        assert (await runner.run(self.stub("crash"), cwd=place, limits=limits())).returncode == -signal.SIGSEGV
        killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
        argv = [self.python, "-I", "-S", "-c", killed]
        assert (await runner.run(argv, cwd=place, limits=limits())).returncode == -signal.SIGKILL

    async def test_processor_time_is_the_childs_own(self, runner: Runner, place: Path) -> None:
        result = await runner.run(self.stub("spin", 0.3), cwd=place, limits=limits())
        assert 0.25 <= result.cpu_s <= 0.8

    async def test_a_program_that_is_not_there_is_unavailable(self, runner: Runner, place: Path) -> None:
        with pytest.raises(UnavailableError, match="no-such-program is not a program"):
            await runner.run(["no-such-program"], cwd=place, limits=limits())

    async def test_over_its_wall_time_a_child_that_obeys_ends_itself(self, runner: Runner, place: Path) -> None:
        result = await runner.run(self.stub("obedient"), cwd=place, limits=limits(wall_s=1.5))
        assert (result.stopped, result.returncode, result.stdout) == (StopReason.WALL, 255, b"ready\n")

    async def test_over_its_wall_time_a_child_that_ignores_term_is_killed(self, runner: Runner, place: Path) -> None:
        result = await runner.run(self.stub("stubborn"), cwd=place, limits=limits(wall_s=1.5))
        assert (result.stopped, result.returncode) == (StopReason.WALL, -signal.SIGKILL)

    async def test_without_news_a_child_is_stalled_and_with_news_it_is_not(self, runner: Runner, place: Path) -> None:
        bounds = limits(stall_s=1.5)
        slow = "import time\nfor n in range(5): print(n, flush=True); time.sleep(0.6)"
        argv = [self.python, "-I", "-S", "-c", slow]
        assert (await runner.run(argv, cwd=place, limits=bounds, on_line=lambda _: True)).stopped is None
        assert (await runner.run(argv, cwd=place, limits=bounds, on_line=lambda _: False)).stopped is StopReason.STALL

    async def test_standard_output_over_its_limit_stops_the_child(self, runner: Runner, place: Path) -> None:
        result = await runner.run(self.stub("flood_stdout"), cwd=place, limits=limits())
        assert (result.stopped, len(result.stdout)) == (StopReason.STDOUT, STDOUT_LIMIT_BYTES)

    async def test_a_directory_over_its_limit_stops_the_child_at_once(self, runner: Runner, place: Path) -> None:
        result = await runner.run(self.stub("fill"), cwd=place, limits=limits(directory_bytes=20 * MIB))
        assert (result.stopped, result.returncode) == (StopReason.DIRECTORY, -signal.SIGKILL)

    async def test_what_was_written_between_two_looks_counts_too(self, runner: Runner, place: Path) -> None:
        command = ["dd", "if=/dev/zero", "of=late", "bs=1M", "count=3"]
        assert (await runner.run(command, cwd=place, limits=limits(directory_bytes=2 * MIB))).stopped is StopReason.DIRECTORY
        assert (place / "late").stat().st_size == 3 * MIB

    async def test_a_file_over_its_limit_ends_the_child_with_sigxfsz(self, runner: Runner, place: Path) -> None:
        command = ["dd", "if=/dev/zero", "of=large", "bs=64K"]
        assert (await runner.run(command, cwd=place, limits=limits(output_bytes=MIB))).returncode == -signal.SIGXFSZ

    async def test_cpu_time_over_its_limit_ends_the_child_with_sigxcpu(self, runner: Runner, place: Path) -> None:
        assert (await runner.run(self.stub("spin", 60), cwd=place, limits=limits(cpu_s=1))).returncode == -signal.SIGXCPU

    async def test_a_flood_on_standard_error_keeps_its_end(self, runner: Runner, place: Path) -> None:
        result = await runner.run(self.stub("flood_stderr", 256), cwd=place, limits=limits())
        assert (result.returncode, len(result.stderr)) == (0, 16 * 1024)
        assert result.stderr.endswith("x\nthe last word")

    async def test_a_child_that_floods_hears_its_term_when_it_is_cancelled(self, runner: Runner, place: Path) -> None:
        with anyio.move_on_after(1) as scope, anyio.fail_after(20):
            await runner.run(self.stub("flood_and_ignore"), cwd=place, limits=limits())
        assert scope.cancelled_caught

    async def test_what_a_listener_raises_comes_out_plain(self, runner: Runner, place: Path) -> None:
        def hear(line: str) -> bool:
            raise LeaseLostError("another has it")

        with pytest.raises(LeaseLostError, match="another has it"):
            await runner.run(self.stub("stubborn"), cwd=place, limits=limits(), on_line=hear)

    async def test_lines_arrive_one_by_one_and_not_in_the_result(self, runner: Runner, place: Path) -> None:
        heard: list[str] = []
        result = await runner.run(self.stub("tick"), cwd=place, limits=limits(), on_line=lambda line: heard.append(line) is None)
        assert heard == list("01234567")
        assert result.stdout == b""

    async def test_its_directory_is_where_it_is(self, runner: Runner, place: Path) -> None:
        (place / "given").write_text("word\n")
        result = await runner.run(
            ["sh", "-c", 'read -r x <given; echo "$PWD $x"; echo "$HOME" >kept'], cwd=place, limits=limits()
        )
        assert result.stdout.decode() == f"{place} word\n"
        assert (place / "kept").read_text() == f"{place}\n"
        assert (place / "kept").stat().st_uid == os.getuid()

    async def test_nothing_of_this_environment_is_given(
        self, runner: Runner, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
        names = "import os; print(*sorted(os.environ))"
        result = await runner.run([self.python, "-I", "-S", "-c", names], cwd=place, limits=limits())
        found = set(result.stdout.decode().split())
        assert found >= {"HOME", "LANG", "PATH", "TMPDIR"}
        assert "AWS_SECRET_ACCESS_KEY" not in found

    async def test_a_child_is_fed_every_byte_and_then_the_end(self, runner: Runner, place: Path) -> None:
        data = os.urandom(3 * MIB + 7)

        async def feed(write: Write) -> None:
            for start in range(0, len(data), 70_001):
                assert await write(data[start : start + 70_001])

        result = await runner.run(self.stub("count_input"), cwd=place, limits=limits(), feed=feed)
        assert result.stdout.split() == [b"%d" % len(data), hashlib.sha256(data).hexdigest().encode()]

    async def test_a_child_without_a_feed_finds_its_input_empty(self, runner: Runner, place: Path) -> None:
        assert (await runner.run(self.stub("count_input"), cwd=place, limits=limits())).stdout.split()[0] == b"0"

    async def test_a_child_that_takes_no_more_ends_and_so_does_the_run(self, runner: Runner, place: Path) -> None:
        async def feed(write: Write) -> None:
            while await write(bytes(MIB)):
                pass

        result = await runner.run(self.stub("take_a_little", 5), cwd=place, limits=limits(), feed=feed)
        assert (result.returncode, result.stdout) == (0, b"5\n")

    async def test_what_the_feed_raises_ends_the_child_and_comes_back(self, runner: Runner, place: Path) -> None:
        async def feed(write: Write) -> None:
            await write(b"some")
            raise UnavailableError("the source is gone")

        with pytest.raises(UnavailableError, match="the source is gone"):
            await runner.run(self.stub("take_nothing"), cwd=place, limits=limits(), feed=feed)

    async def test_a_child_that_reads_nothing_more_is_stalled(self, runner: Runner, place: Path) -> None:
        async def flood(write: Write) -> None:
            while await write(bytes(MIB)):
                pass

        argv = self.stub("take_nothing")
        result = await runner.run(argv, cwd=place, limits=limits(stall_s=1.5), on_line=lambda _: False, feed=flood)
        assert result.stopped is StopReason.STALL
