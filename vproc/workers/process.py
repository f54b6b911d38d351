"""The only code that starts, watches and ends children. What they may do is `workers.confinement`'s business; here a command
line runs in a session of its own until it ends by itself, meets a limit, or is cancelled, and then nothing of it is left.

There is no await between the fork and the code that ends the child, so no cancellation falls between. The child is awaited by its
pidfd and reaped by ``wait4``, which alone tells its CPU time; asyncio's subprocesses lose it, and orphan a child that is
cancelled while it starts (cpython#103847).
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import structlog
from anyio import CancelScope, create_task_group, move_on_after, sleep, wait_readable

from vproc.errors import UnavailableError
from vproc.ports import Feed, ProcessLimits, ProcessResult, StopReason
from vproc.usage import current_usage
from vproc.workers.pipes import Drain, Stdin, pipe_in, pipe_out
from vproc.workers.watch import Watch

_SESSION_NICE = b"10"
_PIPES_GRACE_S = 1.0  # for a pipe that something outside the process group holds open
_GROUP_GRACE_S = 2.0
_PEAK_MARGIN = 1.1  # the kernel keeps the size of a process per processor, and adds it up roughly

_log = structlog.stdlib.get_logger(__name__)


async def run_process(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    limits: ProcessLimits,
    on_line: Callable[[str], bool] | None = None,
    feed: Feed | None = None,
    grace_s: float = 2.0,
    reap_s: float = 10.0,
) -> ProcessResult:
    """Run ``command`` (its program an absolute path) as `ports.Runner.run` says; ``cwd`` is only watched here, and entered by the
    launcher. CPU, memory and file size are the launcher's to limit; wall, stall, directory and standard output are kept here.

    Ending is TERM to the process group, ``grace_s``, KILL, and reaping within ``reap_s``, on every way out. Raises
    `UnavailableError` where the child cannot be started, or outlives its KILL; and whatever ``on_line`` or ``feed`` raises, the
    child ended.
    """
    with ExitStack() as fds:
        child = _Child(command, env, fds, fed=feed is not None)
        try:
            run = _Run(child, cwd=cwd, limits=limits, on_line=on_line, feed=feed, grace_s=grace_s, reap_s=reap_s)
            return await run.to_its_end()
        finally:
            child.abandon()


class _Child:
    """A process that leads its own session and group, its pidfd, the read ends of its standard output and error, and the write
    end of its standard input where it is ``fed``."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], fds: ExitStack, *, fed: bool = False) -> None:
        self.usage: resource.struct_rusage | None = None
        self.returncode: int | None = None
        self.seen_peak_bytes = 0
        self._steps_back = True
        # exec accounts the peak of the memory it leaves behind to the child, and before exec that memory is ours.
        self.inherited_peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        with ExitStack() as ours:
            try:
                (self.stdout, out), (self.stderr, err) = (pipe_out(fds, ours) for _ in range(2))
                given: int | None = None
                self.stdin: Stdin | None = None
                if fed:
                    self.stdin, given = pipe_in(fds, ours)
                self.pid = os.posix_spawn(
                    command[0],
                    list(command),
                    env,
                    setsid=True,
                    file_actions=[
                        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
                        if given is None
                        else (os.POSIX_SPAWN_DUP2, given, 0),
                        (os.POSIX_SPAWN_DUP2, out, 1),
                        (os.POSIX_SPAWN_DUP2, err, 2),
                    ],
                )
            except OSError as error:
                raise UnavailableError(f"{command[0]} cannot be started: {error.strerror}") from error
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError as error:
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise UnavailableError(f"a child cannot be watched: pidfd_open: {error.strerror}") from error
        fds.callback(os.close, self._pidfd)

    @property
    def exited(self) -> bool:
        """It ended, and its pid is still ours until `reap`."""
        return os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    async def wait(self) -> None:
        """Return when it has exited."""
        await wait_readable(self._pidfd)

    def step_back(self) -> None:
        """Have its whole session yield to others. Where the kernel groups processes by session (``sched_autogroup_enabled``, on
        in most distributions; not inside a cgroup with CPU shares), a nice value counts among those of one session only, and an
        encoder would get as much as the daemon. One that is not root may set ten a second at most: the next look tries again."""
        if self._steps_back:
            try:
                Path(f"/proc/{self.pid}/autogroup").write_bytes(_SESSION_NICE)
            except OSError as error:
                self._steps_back = error.errno == errno.EAGAIN
            else:
                self._steps_back = False

    def signal_group(self, number: signal.Signals) -> None:
        """Signal every process of the group. Only before `reap`: until then the group's number cannot be another's."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def reap(self) -> None:
        """Take the exit code and what it used. Only after it exited."""
        _, status, self.usage = os.wait4(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        current_usage().child_ended(cpu_s=self.cpu_s, peak_memory_bytes=self.peak_memory_bytes)

    @property
    def cpu_s(self) -> float:
        """Processor time; 0 before `reap`."""
        return self.usage.ru_utime + self.usage.ru_stime if self.usage else 0.0

    @property
    def peak_memory_bytes(self) -> int:
        """The largest resident size, as far as it can be told from what it inherited; else the largest that was seen, 0 where it
        was gone before the first look."""
        peak = self.usage.ru_maxrss * 1024 if self.usage else 0
        return peak if peak > self.inherited_peak_bytes * _PEAK_MARGIN else self.seen_peak_bytes

    async def group_gone(self) -> None:
        """Return when nothing is left of the group, killed before: members are reaped by whoever inherits them, which is us
        where we are a container's first process."""
        with move_on_after(_GROUP_GRACE_S):
            while self._group_stands():  # noqa: ASYNC110 - nothing tells when somebody else's children are reaped
                await sleep(0.01)
            return
        _log.warning("process_group_remained", pgid=self.pid)

    def _group_stands(self) -> bool:
        with suppress(ChildProcessError):
            os.waitpid(-self.pid, os.WNOHANG)
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    def abandon(self) -> None:
        """Where it was not reaped (its ending was itself interrupted, or it does not die), do what needs no waiting."""
        if self.usage is None:
            self.signal_group(signal.SIGKILL)
            if self.exited:
                self.reap()


class _Run:
    """One child from its start to its end."""

    def __init__(
        self,
        child: _Child,
        *,
        cwd: Path,
        limits: ProcessLimits,
        on_line: Callable[[str], bool] | None,
        feed: Feed | None,
        grace_s: float,
        reap_s: float,
    ) -> None:
        self._child = child
        self._watch = Watch(cwd=cwd, limits=limits, on_line=on_line, feed=feed)
        self._grace_s = grace_s
        self._reap_s = reap_s

    async def to_its_end(self) -> ProcessResult:
        watch = self._watch
        drains = (Drain(self._child.stdout, watch.take), Drain(self._child.stderr, watch.stderr.feed))
        async with create_task_group() as group:
            for drain in drains:
                group.start_soon(drain.run, name="drain")
            group.start_soon(watch.clock, name="clock")
            group.start_soon(watch.directory, self._look, name="directory")
            group.start_soon(self._feed_child, name="feed")
            try:
                with watch.awaiting:
                    await self._child.wait()
            finally:
                with CancelScope(shield=True):
                    await self._end()
                    with move_on_after(_PIPES_GRACE_S):
                        for drain in drains:
                            await drain.ended.wait()
                for drain in drains:
                    drain.cancel()
            group.cancel_scope.cancel()
        watch.flush()
        return await self._result()

    async def _end(self) -> None:
        """End what still runs, and reap it. A full disk is not given time to grow fuller."""
        child = self._child
        if not child.exited and self._watch.reason is not StopReason.DIRECTORY:
            child.signal_group(signal.SIGTERM)
            with move_on_after(self._grace_s):
                await child.wait()
        child.signal_group(signal.SIGKILL)
        with move_on_after(self._reap_s):
            await child.wait()
            child.reap()
            await child.group_gone()
        if child.usage is None:
            _log.error("process_unreaped", pid=child.pid, waited_s=self._reap_s)

    async def _result(self) -> ProcessResult:
        child, watch = self._child, self._watch
        if child.usage is None or child.returncode is None:
            raise UnavailableError(f"process {child.pid} does not die: it hangs in the kernel, most likely on a disk")
        if watch.failure:
            raise watch.failure
        if watch.reason is None:
            # What it wrote since the last look.
            await watch.weigh()
        return ProcessResult(
            returncode=child.returncode,
            stdout=watch.stdout,
            stderr=watch.stderr.text(),
            wall_s=watch.wall_s,
            cpu_s=child.cpu_s,
            peak_memory_bytes=child.peak_memory_bytes,
            stopped=watch.reason,
        )

    async def _feed_child(self) -> None:
        """Give the child its input, then the end of it."""
        if (stdin := self._child.stdin) is not None:
            await self._watch.feed(stdin.write)
            stdin.close()

    def _look(self) -> int:
        """In a thread: have it step back, see how much memory it has used so far. Bytes of its files that have no name."""
        self._child.step_back()
        self._child.seen_peak_bytes = max(self._child.seen_peak_bytes, _peak_memory_bytes(self._child.pid))
        return _unlinked_bytes(self._child.pid)


def _unlinked_bytes(pid: int) -> int:
    """The sizes of files that a process holds open though no name is left of them."""
    total = 0
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with suppress(OSError):
                found = entry.stat()
                if stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                    total += max(found.st_size, found.st_blocks * 512)
    return total


def _peak_memory_bytes(pid: int) -> int:
    """The largest resident size of a running process so far; 0 where it has none any more."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
