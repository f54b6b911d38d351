"""The start of the container runner: what it finds, what it refuses, what it clears up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from tests.support.children import limits, names_in, stub, until
from tests.support.fake_engine import GIB, IMAGE, IMAGE_ID, FakeEngine, Fault, fake_engine
from vproc.containers.engine import open_engine
from vproc.core.containers import Owner
from vproc.core.trial import Trial
from vproc.errors import ConfigError, UnavailableError
from vproc.ports import EngineFacts
from vproc.settings import SandboxMode
from vproc.workers import container_site
from vproc.workers.container_site import ContainerReport, OpenedRunner, open_docker_runner, sweep

CONTAINER = "c" * 64


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (path := tmp_path / "scratch").mkdir()
    return path


@asynccontextmanager
async def opened(engine: FakeEngine, scratch: Path, **changes: Any) -> AsyncIterator[OpenedRunner]:
    given: dict[str, Any] = {"image": IMAGE, "scratch_dir": scratch, "mode": SandboxMode.AUTO} | changes
    async with open_engine(engine.socket) as client, open_docker_runner(client, **given) as opened:
        yield opened


async def refusal(engine: FakeEngine, scratch: Path, **changes: Any) -> str:
    """The one line that says why it does not start."""
    with pytest.raises(ConfigError) as raised:
        async with opened(engine, scratch, **changes):
            pass
    [fault] = raised.value.faults
    assert "\n" not in fault
    return fault


# --- the site ------------------------------------------------------------------------------------------------------------


async def test_it_is_tried_before_it_is_used_and_leaves_nothing(tmp_path: Path, scratch: Path) -> None:
    async with fake_engine(tmp_path) as engine, opened(engine, scratch) as there:
        assert engine.calls["create"] == 1
        assert names_in(scratch) == []
        site = there.runner.site
        assert (site.image, site.image_name, site.mounts) == (IMAGE_ID, IMAGE, None)
        assert (site.user, site.host_ids) == (f"{os.getuid()}:{os.getgid()}", False)
        assert site.memory_bytes == 8 * GIB
        (scratch / "job").mkdir()
        result = await there.runner.run(stub("exit", 3), cwd=scratch / "job", limits=limits())
        assert result.returncode == 3


async def test_the_image_stays_the_one_that_was_found(tmp_path: Path, scratch: Path) -> None:
    """Its name may be given to another meanwhile."""
    async with fake_engine(tmp_path) as engine, opened(engine, scratch) as there:
        engine.images[IMAGE] = "sha256:" + "2" * 64
        await there.runner.run(stub("exit", 0), cwd=scratch, limits=limits())
        assert {made["Image"] for made in engine.made} == {IMAGE_ID}


@pytest.mark.parametrize(
    ("options", "user", "host_ids"),
    [
        (["name=rootless"], "0:0", False),
        (["name=userns"], f"{os.getuid()}:{os.getgid()}", True),
        (["name=rootless", "name=userns"], "0:0", False),
    ],
)
async def test_files_are_this_users_whatever_the_engine_makes_of_users(
    options: list[str], user: str, host_ids: bool, tmp_path: Path, scratch: Path
) -> None:
    async with fake_engine(tmp_path) as engine:
        engine.info = {"SecurityOptions": options}
        async with opened(engine, scratch) as there:
            assert (there.runner.site.user, there.runner.site.host_ids) == (user, host_ids)
            assert engine.made[0]["HostConfig"]["UsernsMode"] == ("host" if host_ids else "")


async def test_in_a_container_of_the_engine_image_and_directories_are_its_own(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_site, "_own_name", lambda: CONTAINER)
    async with fake_engine(tmp_path) as engine:
        mounts = [{"Source": str(scratch), "Destination": str(scratch)}]
        engine.others[CONTAINER] = {"Id": CONTAINER, "Image": IMAGE_ID, "Mounts": mounts, "Labels": {}}
        async with opened(engine, scratch, image=None) as there:
            site = there.runner.site
            assert (site.image, site.owner.container) == (IMAGE_ID, CONTAINER)
            assert site.mounts == ((str(scratch), str(scratch)),)


async def test_in_a_container_without_a_volume_it_says_so(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_site, "_own_name", lambda: CONTAINER)
    async with fake_engine(tmp_path) as engine:
        engine.others[CONTAINER] = {"Id": CONTAINER, "Image": IMAGE_ID, "Mounts": [], "Labels": {}}
        fault = await refusal(engine, scratch, image=None)
        assert fault.startswith("VPROC_SCRATCH_DIR: takes a directory of a volume")


async def test_groups_of_devices_go_with_them(tmp_path: Path, scratch: Path) -> None:
    async with fake_engine(tmp_path) as engine, opened(engine, scratch, devices=("/dev/null", "/dev/zero")):
        host = engine.made[0]["HostConfig"]
        assert [device["PathOnHost"] for device in host["Devices"]] == ["/dev/null", "/dev/zero"]
        assert host["GroupAdd"] == [str(Path("/dev/null").stat().st_gid)]  # noqa: ASYNC240 - it is no disk's


# --- what it refuses -----------------------------------------------------------------------------------------------------


async def test_without_an_image_and_outside_of_containers(tmp_path: Path, scratch: Path) -> None:
    async with fake_engine(tmp_path) as engine:
        fault = await refusal(engine, scratch, image=None)
        assert fault.startswith("VPROC_DOCKER_IMAGE: not set")
        assert "/bin/sh, ffmpeg and ffprobe" in fault


async def test_an_image_that_is_not_there_is_named_with_its_remedy(tmp_path: Path, scratch: Path) -> None:
    async with fake_engine(tmp_path) as engine:
        fault = await refusal(engine, scratch, image="example/ffmpeg:7")
        assert fault.startswith("VPROC_DOCKER_IMAGE: the engine at unix://")
        assert fault.endswith("has no image 'example/ffmpeg:7': docker pull example/ffmpeg:7")
        assert engine.calls["create"] == 0


async def test_an_image_without_a_shell(tmp_path: Path, scratch: Path) -> None:
    async with fake_engine(tmp_path) as engine:
        engine.has_shell = False
        fault = await refusal(engine, scratch)
        assert fault.startswith(f"VPROC_DOCKER_IMAGE: no container of '{IMAGE}' can be started: takes an image with /bin/sh")
        assert names_in(scratch) == []


async def test_a_directory_that_containers_see_otherwise(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the engine is another machine's, or another mount namespace's."""
    monkeypatch.setattr(container_site, "_own_name", lambda: CONTAINER)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    async with fake_engine(tmp_path) as engine:

        def as_made(path: Path) -> None:
            (elsewhere / path.name).mkdir()

        mounts = [{"Source": str(elsewhere), "Destination": str(scratch)}]
        engine.others[CONTAINER] = {"Id": CONTAINER, "Image": IMAGE_ID, "Mounts": mounts, "Labels": {}}
        real = container_site.token_hex
        monkeypatch.setattr(container_site, "token_hex", lambda size: real(size) if size != 8 else "0" * 16)
        as_made(scratch / f"trial-{'0' * 16}")
        fault = await refusal(engine, scratch)
        assert fault.startswith("VPROC_SCRATCH_DIR: takes a directory that containers of unix://")


async def test_require_takes_all_of_it(tmp_path: Path, scratch: Path) -> None:
    """The fake's children are confined by nothing, and the trial sees it."""
    async with fake_engine(tmp_path) as engine:
        fault = await refusal(engine, scratch, mode=SandboxMode.REQUIRE)
        assert fault.startswith("VPROC_SANDBOX: require, and this machine gives partial: containers of engine 20.10")
        assert "seccomp" in fault.partition("without")[2]


async def test_an_engine_that_refuses_at_the_start_is_unavailable(tmp_path: Path, scratch: Path) -> None:
    async with fake_engine(tmp_path) as engine:
        engine.faults["info"] = Fault.REFUSED
        with pytest.raises(UnavailableError, match="answers 500 to GET /info"):
            async with opened(engine, scratch):
                pass


async def test_an_engine_that_takes_no_filter_from_us_has_its_own_unless_all_is_required(tmp_path: Path, scratch: Path) -> None:
    """And it is told: links that ffmpeg makes would lead the daemon elsewhere."""
    async with fake_engine(tmp_path) as engine:
        async with opened(engine, scratch) as there:
            assert there.runner.site.seccomp is not None
        engine.takes_profiles = False
        async with opened(engine, scratch) as there:
            assert there.runner.site.seccomp is None
            assert (there.report.level, there.report.layers["seccomp"]) == ("partial", False)
        assert "opening seccomp profile failed" in await refusal(engine, scratch, mode=SandboxMode.REQUIRE)
        engine.info = {"SecurityOptions": []}
        async with opened(engine, scratch) as there:
            assert there.runner.site.seccomp is None
        assert engine.made[-1]["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
        assert names_in(scratch) == []


def report(*, trial: Trial, lacks: tuple[str, ...] = ()) -> ContainerReport:
    facts = EngineFacts("28.0", rootless=True, maps_users=False, seccomp=True, memory_bytes=1, lacks=lacks)
    return ContainerReport(facts, trial, (*trial.missing(), *lacks))


ALL = Trial(alone=True, rlimits=True, no_capabilities=True, no_new_privileges=True, seccomp=True)


def test_a_report_says_what_holds_and_what_does_not() -> None:
    full = report(trial=ALL)
    assert full.level == "full"
    assert set(full.layers.values()) == {True}
    assert full.describe() == (
        "full: containers of engine 28.0 (rootless): container, rlimits, capabilities, no new privileges, seccomp"
    )
    partial = report(trial=replace(ALL, seccomp=False), lacks=("memory limits",))
    assert partial.level == "partial"
    assert [layer for layer, held in partial.layers.items() if not held] == ["seccomp"]
    assert partial.describe().endswith("; without seccomp, memory limits")


# --- the sweep -----------------------------------------------------------------------------------------------------------


def other(owner: Owner) -> dict[str, Any]:
    return {"Id": "x", "Image": IMAGE_ID, "Labels": owner.labels(), "State": {"Running": False}}


async def test_what_dead_daemons_left_is_removed_and_nothing_else(tmp_path: Path, scratch: Path) -> None:
    """A dead neighbour's, one of before the boot; not a living neighbour's, nor one's that cannot be seen."""
    with a_process() as neighbour:
        async with fake_engine(tmp_path) as engine, opened(engine, scratch) as there:
            own = there.runner.site.owner
            lives = replace(own, daemon="lives", pid=f"{neighbour.pid}:{container_site._started(neighbour.pid)}")
            engine.others = {
                "dead": other(replace(own, daemon="gone", pid="4194304:1")),
                "reused": other(replace(lives, daemon="reused", pid=f"{neighbour.pid}:1")),
                "rebooted": other(replace(own, daemon="old", boot="before")),
                "living": other(lives),
                "unseen": other(replace(own, daemon="far", pids="1")),
                "foreign": other(Owner("", "", "", "", "")),
            }
            removed: list[str] = []
            async with open_engine(engine.socket) as client:
                client.remove = keep(removed)  # type: ignore[method-assign]
                assert await sweep(client, there.runner) == 3
            assert sorted(removed) == ["dead", "rebooted", "reused"]


@contextmanager
def a_process() -> Iterator[subprocess.Popen[bytes]]:
    """One that waits until the block ends."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.communicate(b"\n")


def keep(removed: list[str]) -> Any:
    async def remove(name: str) -> None:
        removed.append(name)

    return remove


async def test_a_daemon_in_a_container_is_dead_when_that_does_not_run(tmp_path: Path, scratch: Path) -> None:
    async with fake_engine(tmp_path) as engine, opened(engine, scratch) as there:
        own = there.runner.site.owner
        inside = replace(own, pids="77", pid="1:1")
        engine.others = {
            "a" * 64: other(own) | {"State": {"Running": True}, "Labels": {}},
            "b" * 64: other(own) | {"Labels": {}},
            "living": other(replace(inside, daemon="a", container="a" * 64)),
            "ended": other(replace(inside, daemon="b", container="b" * 64)),
            "vanished": other(replace(inside, daemon="c", container="c" * 64)),
        }
        removed: list[str] = []
        async with open_engine(engine.socket) as client:
            client.remove = keep(removed)  # type: ignore[method-assign]
            await sweep(client, there.runner)
        assert sorted(removed) == ["ended", "vanished"]


async def test_what_this_daemon_let_go_of_is_removed_later_and_what_it_runs_is_not(tmp_path: Path, scratch: Path) -> None:
    async with fake_engine(tmp_path) as engine, opened(engine, scratch) as there, open_engine(engine.socket) as client:
        (scratch / "job").mkdir()
        engine.faults |= {"start": Fault.REFUSED, "remove": Fault.REFUSED}
        with pytest.raises(UnavailableError):
            await there.runner.run(stub("exit", 0), cwd=scratch / "job", limits=limits())
        engine.faults.clear()
        [left] = engine.containers
        async with anyio.create_task_group() as group:

            async def run() -> None:
                await there.runner.run(stub("hang"), cwd=scratch / "job", limits=limits())

            group.start_soon(run)
            assert await until(lambda: any(one.state == "running" for one in engine.containers.values()), within_s=10)
            assert await sweep(client, there.runner) == 1
            assert left not in engine.containers
            assert [one.state for one in engine.containers.values()] == ["running"]
            group.cancel_scope.cancel()


async def test_what_cannot_be_removed_does_not_stop_the_start(tmp_path: Path, scratch: Path) -> None:
    async with fake_engine(tmp_path) as engine:
        engine.others["stuck"] = other(Owner("old", "before", "1", "1:1", ""))
        engine.faults["remove"] = Fault.REFUSED
        with capture_logs() as logs:
            async with opened(engine, scratch):
                pass
        assert [entry["container"] for entry in logs if entry["event"] == "container_remained"] == ["stuck"]


async def test_it_is_swept_again_and_again_though_the_engine_was_away(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_site, "SWEPT_EVERY_S", 0.01)
    async with fake_engine(tmp_path) as engine:
        with capture_logs() as logs:
            async with opened(engine, scratch):
                engine.faults["list"] = Fault.REFUSED
                assert await until(lambda: any(entry["event"] == "containers_not_swept" for entry in logs), within_s=5)
                engine.faults.clear()
                before = engine.calls["list"]
                assert await until(lambda: engine.calls["list"] > before + 3, within_s=5)


# --- the engine's door ---------------------------------------------------------------------------------------------------


async def test_no_socket_is_an_engine_that_is_away(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"no container engine answers at .*none\.sock: start one, or name its socket"):
        async with open_engine(tmp_path / "none.sock"):
            pass


async def test_a_socket_that_this_user_may_not_use_is_told_with_what_follows(tmp_path: Path) -> None:
    """As an ordinary user: root may use any."""
    async with fake_engine(tmp_path) as engine:
        await anyio.Path(engine.socket).chmod(0)
        uid = os.geteuid()
        os.seteuid(65534 if uid == 0 else uid)
        try:
            with pytest.raises((ConfigError, UnavailableError), match="may do as root"):
                async with open_engine(engine.socket):
                    pass
        finally:
            os.seteuid(uid)


async def test_what_is_no_engine_is_told(tmp_path: Path) -> None:
    async def babble(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"SSH-2.0-x\r\n")

    listener = await anyio.create_unix_listener(tmp_path / "other.sock")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, babble)
        with pytest.raises(UnavailableError, match="no container engine answers"):
            async with open_engine(tmp_path / "other.sock"):
                pass
        tasks.cancel_scope.cancel()
