"""What systemd hears, at a socket like its own."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
import structlog

from vproc import supervisor as module
from vproc.supervisor import Notifier, Supervisor
from vproc.vitals import Vitals

WATCHDOG = {"WATCHDOG_USEC": "60000", "WATCHDOG_PID": "7"}


class Listener:
    """Systemd's end: what was told, datagram by datagram."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    async def next(self) -> dict[str, str]:
        """The next datagram."""
        with anyio.fail_after(10):
            await anyio.wait_readable(self._socket)
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())

    async def until(self, **values: str) -> dict[str, str]:
        """Read on until one holds all of that."""
        while not (told := await self.next()).items() >= values.items():
            pass
        return told

    def drain(self) -> list[dict[str, str]]:
        """All that stands now."""
        told = []
        while True:
            try:
                told.append(dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines()))
            except BlockingIOError:
                return told


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(str(tmp_path / "notify"))
    yield made
    made.close()


@asynccontextmanager
async def supervised(
    tmp_path: Path, vitals: Vitals, *, draining: anyio.Event | None = None, drain_s: float = 10
) -> AsyncIterator[Supervisor]:
    notifier = Notifier.of({"NOTIFY_SOCKET": str(tmp_path / "notify"), **WATCHDOG}, pid=7)
    supervisor = Supervisor(notifier, vitals, draining=draining or anyio.Event(), drain_s=drain_s, jobs=lambda: 3)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        yield supervisor
        tasks.cancel_scope.cancel()


async def test_ready_is_told_once_everything_is_up(listener: Listener, tmp_path: Path) -> None:
    async with supervised(tmp_path, Vitals()) as supervisor:
        supervisor.ready()
        assert (await listener.until(READY="1"))["STATUS"] == "taking jobs"


async def test_the_watchdog_hears_a_ping_at_least_twice_in_its_time(listener: Listener, tmp_path: Path) -> None:
    """A third of its 60 ms; asked five times."""
    async with supervised(tmp_path, Vitals()):
        begun = anyio.current_time()
        for _ in range(5):
            assert (await listener.next())["WATCHDOG"] == "1"
        assert anyio.current_time() - begun >= 3 * 0.02  # and not as fast as it can


async def test_no_ping_while_a_part_stands_still_and_again_when_it_goes_on(listener: Listener, tmp_path: Path) -> None:
    vitals = Vitals()
    async with supervised(tmp_path, vitals):
        await listener.until(WATCHDOG="1")
        with vitals.pulse("poller") as pulse:
            pulse.due(-1)
            await listener.until(STATUS="standing still: poller")
            listener.drain()
            with anyio.move_on_after(0.2):
                told = await listener.until(WATCHDOG="1")
                raise AssertionError(f"it was pinged: {told}")
            pulse.due(60)
            assert (await listener.next())["STATUS"] == "taking jobs"
            await listener.until(WATCHDOG="1")


async def test_while_it_drains_it_asks_for_more_time_but_not_for_ever(
    listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXTEND_EVERY_S", 0.02)
    draining = anyio.Event()
    async with supervised(tmp_path, Vitals(), draining=draining, drain_s=0.3):
        await listener.until(WATCHDOG="1")
        assert not [told for told in listener.drain() if "EXTEND_TIMEOUT_USEC" in told]
        draining.set()
        await listener.until(STOPPING="1")
        for _ in range(3):
            told = await listener.until(EXTEND_TIMEOUT_USEC="30000000")
            assert told["STATUS"] == "draining, 3 jobs still run"
        with suppress(TimeoutError):
            while True:
                with anyio.fail_after(0.3):
                    await listener.until(EXTEND_TIMEOUT_USEC="30000000")
        await listener.until(WATCHDOG="1")  # it lives, and asks for no more


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({}, None),
        (WATCHDOG, None),
        ({"NOTIFY_SOCKET": "/run/n", **WATCHDOG}, 0.06),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "60000"}, 0.06),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "60000", "WATCHDOG_PID": "8"}, None),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_only_a_watchdog_that_is_meant_for_this_process_is_served(environment: dict[str, str], watchdog_s: float | None) -> None:
    assert Notifier.of(environment, pid=7).watchdog_s == watchdog_s


def test_an_abstract_address_is_one_without_a_file() -> None:
    listener = Listener(f"\0vproc-test-{id(object())}")
    try:
        address = listener._socket.getsockname().decode()
        Notifier(f"@{address[1:]}").tell(READY=1, STATUS="taking jobs")
        assert listener.drain() == [{"READY": "1", "STATUS": "taking jobs"}]
    finally:
        listener.close()


def test_where_nobody_listens_nothing_happens(tmp_path: Path) -> None:
    """Without a socket, and with one whose other end is gone, which is told."""
    with structlog.testing.capture_logs() as logs:
        Notifier().tell(READY=1)
        Notifier(str(tmp_path / "gone")).tell(READY=1)
    assert logs == [{"event": "supervisor_not_told", "error": "No such file or directory", "log_level": "warning"}]
