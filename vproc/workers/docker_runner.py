"""Where ffmpeg runs: `ports.Runner` in a container of its own for each child, beside this process.

Where containers see a job's directory, and which image they have, is found by `workers.container_site`; what ends a child before
its time is the same `workers.watch` as for children of this process.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import structlog
from anyio import CancelScope, Event, move_on_after, sleep, to_thread

from vproc.core.containers import NOT_FOUND_CODE, RUN_LABEL, GuardedEnd, Owner, guarded, outside_path, read_end
from vproc.errors import UnavailableError
from vproc.ports import (
    ContainerEngine,
    ContainerPipes,
    ContainerSpec,
    Feed,
    ProcessLimits,
    ProcessResult,
    Runner,
    StopReason,
    Stream,
)
from vproc.tasks import task_group
from vproc.usage import current_usage
from vproc.workers.confinement import CPU_GRACE_S, OPEN_FILES, environment
from vproc.workers.watch import STDERR_KEPT_BYTES, Watch

MOST_PROCESSES = 4096
"""Of a container, threads counted: a bound for a fork bomb, above what any encoder starts."""
_LEAST_MEMORY_BYTES = 32 * 1024**2
_GUARD_BYTES = 512
_SAMPLED_EVERY_S = 1.0

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """How this process's children look to its engine. ``image`` is an id, ``image_name`` what people call it. ``mounts``: where
    the engine has the directories of this process (source, target); None outside of containers, where both see the same.
    ``memory_bytes``: all that the machine has."""

    owner: Owner
    image: str
    image_name: str
    user: str
    memory_bytes: int
    host_ids: bool = False
    seccomp: str | None = None
    mounts: tuple[tuple[str, str], ...] | None = None
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def outside(self, path: Path) -> str:
        """Where the engine has a directory. Raises `UnavailableError` where it has it nowhere."""
        if self.mounts is None:
            return str(path)
        if (found := outside_path(str(path), self.mounts)) is None:
            raise UnavailableError(f"takes a directory of a volume, and {path} lies in this container alone")
        return found


class DockerRunner(Runner):
    """Runs children in containers. ``grace_s`` is the time between TERM and KILL, ``reap_s`` how long an ended one may take to be
    removed."""

    def __init__(self, engine: ContainerEngine, site: Site, *, grace_s: float = 2.0, reap_s: float = 30.0) -> None:
        self.site = site
        self._engine = engine
        self._grace_s = grace_s
        self._reap_s = reap_s
        self._standing: set[str] = set()

    @property
    def standing(self) -> frozenset[str]:
        """The names of the containers that are somebody's just now."""
        return frozenset(self._standing)

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        limits: ProcessLimits,
        on_line: Callable[[str], bool] | None = None,
        feed: Feed | None = None,
    ) -> ProcessResult:
        """See `ports.Runner`. An engine that is away, or that refuses, raises `UnavailableError`."""
        nonce = token_hex(8)
        with self._named(f"vproc-{token_hex(8)}") as name, ExitStack() as held:
            lifeline = None if feed is None else await to_thread.run_sync(_hold, held, cwd / f".{name}")
            spec = self._spec(name, guarded(argv, nonce=nonce, lifeline=lifeline), cwd, limits)
            watch = Watch(cwd=cwd, limits=limits, on_line=on_line, feed=feed, stderr_bytes=STDERR_KEPT_BYTES + _GUARD_BYTES)
            child = _Child(
                self._engine, spec, watch, nonce=nonce, fed=feed is not None, grace_s=self._grace_s, reap_s=self._reap_s
            )
            await child.to_its_end()
            return await child.result(argv[0], self.site.image_name)

    @contextmanager
    def _named(self, name: str) -> Iterator[str]:
        self._standing.add(name)
        try:
            yield name
        finally:
            self._standing.discard(name)

    def _spec(self, name: str, argv: tuple[str, ...], cwd: Path, limits: ProcessLimits) -> ContainerSpec:
        site = self.site
        memory = max(_LEAST_MEMORY_BYTES, min(limits.data_bytes or limits.memory_bytes, site.memory_bytes))
        return ContainerSpec(
            name=name,
            image=site.image,
            argv=argv,
            # The path is the image's: its maker knows where its programs are.
            env={name: value for name, value in environment(cwd).items() if name != "PATH"},
            directory=str(cwd),
            mount=(site.outside(cwd), str(cwd)),
            user=site.user,
            host_ids=site.host_ids,
            seccomp=site.seccomp,
            memory_bytes=memory,
            pids=MOST_PROCESSES,
            ulimits=(
                ("core", 0, 0),
                ("nofile", OPEN_FILES, OPEN_FILES),
                ("cpu", limits.cpu_s, limits.cpu_s + CPU_GRACE_S),
                ("fsize", limits.output_bytes, limits.output_bytes),
            ),
            labels={**site.owner.labels(), RUN_LABEL: cwd.name},
            devices=site.devices,
            groups=site.groups,
        )


def _hold(held: ExitStack, path: Path) -> str:
    """Make a named pipe and hold it open until the end, ours or this process's: whoever reads it there sees that."""
    os.mkfifo(path, 0o600)
    held.callback(path.unlink, missing_ok=True)
    held.callback(os.close, os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    return path.name


class _Child:
    """One container from its making to its removal."""

    def __init__(
        self, engine: ContainerEngine, spec: ContainerSpec, watch: Watch, *, nonce: str, fed: bool, grace_s: float, reap_s: float
    ) -> None:
        self._engine = engine
        self._spec = spec
        self._watch = watch
        self._nonce = nonce
        self._fed = fed
        self._grace_s = grace_s
        self._reap_s = reap_s
        self._reading = CancelScope(shield=True)
        self._ended = Event()
        self._code: int | None = None
        self._lost: UnavailableError | None = None
        self._seen_cpu_s = 0.0
        self._seen_peak_bytes = 0

    async def to_its_end(self) -> None:
        """Make it, start it, and see it removed on every way out. What goes on while nobody waits for the engine's answer could
        stay behind: making and starting are waited for."""
        name = self._spec.name
        try:
            with CancelScope(shield=True):
                await self._engine.create(self._spec)
            async with self._engine.attached(name) as pipes, self._engine.removal(name) as removed:
                with CancelScope(shield=True):
                    await self._engine.start(name)
                await self._live(pipes, removed)
        finally:
            if self._code is None:
                with CancelScope(shield=True):
                    await self._clear_away()

    async def result(self, program: str, image: str) -> ProcessResult:
        """How it ended. Raises what its end stands for where that is not its own."""
        watch = self._watch
        if self._code is None:
            raise self._lost or UnavailableError(f"a container did not end within {self._reap_s:g} s")
        if watch.failure:
            raise watch.failure
        end = self._end_of(self._code)
        if end.cpu_s is None and end.returncode == NOT_FOUND_CODE:
            raise UnavailableError(f"{program} is not a program of the image {image}")
        if watch.reason is None:
            # What it wrote since the last look.
            await watch.weigh()
        return ProcessResult(
            returncode=end.returncode,
            stdout=watch.stdout,
            stderr=end.stderr[-STDERR_KEPT_BYTES:],
            wall_s=watch.wall_s,
            cpu_s=self._cpu_s(end),
            peak_memory_bytes=self._seen_peak_bytes,
            stopped=watch.reason,
        )

    async def _live(self, pipes: ContainerPipes, removed: Callable[[], Awaitable[int]]) -> None:
        watch = self._watch
        async with task_group() as group:
            group.start_soon(self._read, pipes, name="read")
            group.start_soon(watch.clock, name="clock")
            group.start_soon(watch.directory, name="directory")
            group.start_soon(self._feed, pipes, name="feed")
            group.start_soon(self._sample, name="sample")
            try:
                with watch.awaiting:
                    await self._ended.wait()
            finally:
                with CancelScope(shield=True):
                    await self._end(removed)
                self._reading.cancel()
            group.cancel_scope.cancel()
        watch.flush()

    async def _end(self, removed: Callable[[], Awaitable[int]]) -> None:
        """End what still runs, and see it removed. A full disk is not given time to grow fuller."""
        if not self._ended.is_set() and self._watch.reason is not StopReason.DIRECTORY:
            with move_on_after(self._grace_s):
                await self._kill("TERM")
                await self._ended.wait()
        with move_on_after(self._reap_s):
            if not self._ended.is_set():
                await self._kill("KILL")
            try:
                self._code = await removed()
            except UnavailableError as error:
                self._lost = error
                return
            await self._ended.wait()
            end = self._end_of(self._code)
            current_usage().child_ended(cpu_s=self._cpu_s(end), peak_memory_bytes=self._seen_peak_bytes)

    async def _kill(self, signal: str) -> None:
        try:
            await self._engine.kill(self._spec.name, signal)
        except UnavailableError as error:
            _log.warning("container_not_signalled", container=self._spec.name, signal=signal, reason=error.detail)

    async def _clear_away(self) -> None:
        """Where its end is not known. What cannot be removed now is found by its label later."""
        with move_on_after(self._reap_s) as scope:
            try:
                await self._engine.remove(self._spec.name)
            except UnavailableError as error:
                _log.warning("container_remained", container=self._spec.name, reason=error.detail)
        if scope.cancelled_caught:
            _log.warning("container_remained", container=self._spec.name, reason=f"not removed within {self._reap_s:g} s")

    async def _read(self, pipes: ContainerPipes) -> None:
        """Empty both outputs to their end, whatever becomes of the caller: a child that blocks on a full pipe hears no TERM."""
        with self._reading:
            async for stream, data in pipes.output():
                if stream is Stream.STDOUT:
                    self._watch.take(data)
                else:
                    self._watch.stderr.feed(data)
        self._ended.set()

    async def _feed(self, pipes: ContainerPipes) -> None:
        """Give the child its input, then the end of it. The input of one that is not fed stays open: its end is the child's."""
        if self._fed:
            await self._watch.feed(pipes.write)
            await pipes.end_input()

    async def _sample(self) -> None:
        """See what it uses: a removed container tells nothing more."""
        while True:
            await sleep(_SAMPLED_EVERY_S)
            try:
                usage = await self._engine.usage(self._spec.name)
            except UnavailableError as error:
                _log.debug("container_not_sampled", container=self._spec.name, reason=error.detail)
                continue
            if usage is not None:
                self._seen_cpu_s = usage.cpu_s
                self._seen_peak_bytes = max(self._seen_peak_bytes, usage.memory_bytes)

    def _end_of(self, code: int) -> GuardedEnd:
        return read_end(code, self._watch.stderr.text(), nonce=self._nonce)

    def _cpu_s(self, end: GuardedEnd) -> float:
        return self._seen_cpu_s if end.cpu_s is None else end.cpu_s
