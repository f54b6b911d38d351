"""The service under a real systemd, as the install script sets it up on a Debian: start, jobs, stop, watchdog, wrong settings."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.caller import Caller, fetch
from tests.support.cluster import until
from tests.support.daemon import Daemon, dev
from tests.support.documents import runs, script_of
from tests.support.machine import PACKAGES, Machine, booted, put_checkout
from tests.support.media import clip
from tests.support.network import RESOLVER, Network
from tests.support.ports import free_port
from tests.support.tree import make_tree, run

UNIT = "vproc.service"
SUITE = "bookworm"
DRAIN_S = 120


@pytest.fixture(scope="module")
def machine(workshop: Path, network: Network) -> Iterator[Machine]:
    """A Debian with vproc installed as the page says; nothing is set yet, so that the service is not started. It and all that the
    tests ask of it is in that network, where the port that the page names is free."""
    tree = make_tree(workshop / "machine", SUITE, PACKAGES)
    put_checkout(tree, "/root/vproc")
    (tree / "etc/resolv.conf").write_text(f"nameserver {RESOLVER}\n")
    with network.entered(), booted(tree, workshop / "machine.log") as machine:
        install = script_of("docs/how-to/run-as-a-service.md#run-it-as-a-service", language="console")
        machine.type(install, folder="/root/vproc", within_s=900)
        assert machine.shown(UNIT, "ActiveState")["ActiveState"] == "inactive"
        yield machine


@pytest.fixture(scope="module")
def store(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A store and a queue that the machine reaches, whose own daemon takes no jobs."""
    with dev(tmp_path_factory.mktemp("store"), VPROC_ROLES="api") as running:
        yield running


@pytest.fixture
def settings(machine: Machine, store: Daemon) -> Iterator[dict[str, str]]:
    """What `set_up` writes, to be changed before; the service is stopped at the end."""
    yield {
        **store.settings,
        "VPROC_PORT": str(free_port()),
        "VPROC_DRAIN_TIMEOUT_S": str(DRAIN_S),
        "VPROC_VISIBILITY_TIMEOUT_S": "10",
    }
    machine.tried("systemctl", "stop", UNIT)
    machine.tried("systemctl", "reset-failed", UNIT)


def set_up(machine: Machine, settings: dict[str, str]) -> Caller:
    machine.write("/etc/vproc/vproc.env", "".join(f"{name}={value}\n" for name, value in settings.items()))
    return Caller(f"http://127.0.0.1:{settings['VPROC_PORT']}")


def long_clip(folder: Path) -> Path:
    """One that takes long enough to be met while it is encoded."""
    long = folder / "long.mp4"
    run("ffmpeg", "-v", "error", "-stream_loop", 9, "-i", clip("hd.mp4"), "-c", "copy", long)
    return long


def until_encoding(machine: Machine, caller: Caller, file_id: str) -> None:
    """Wait for that stage; where it does not come, the journal says why. The poll of a daemon before may have taken the message
    with it, which comes back when its visibility ends."""

    def looks() -> bool:
        shown = caller.status(file_id)
        assert shown["processing_status"] in {"pending", "uploaded", "processing"}, (
            shown,
            machine.run("journalctl", "-u", UNIT, "-n", "30"),
        )
        return bool(shown["stage"] == "encode")

    until(looks, within_s=60, what="the encoding")


def test_start_means_ready_and_a_job_is_done_in_the_whole_jail(machine: Machine, settings: dict[str, str]) -> None:
    """`systemctl start` returns when `/readyz` says yes. Secrets come as credentials, logs with their priority."""
    machine.write("/etc/vproc/secrets/database_url", "sqlite:////var/lib/vproc/from-a-secret.db", 0o600)
    caller = set_up(machine, settings)
    machine.run("systemctl", "start", UNIT)
    assert fetch(f"{caller.api}/readyz").status == 200
    caller.completed(caller.upload(clip("short.mp4")))
    shown = machine.shown(UNIT, "ActiveState", "NRestarts", "StatusText", "MainPID")
    assert (shown["ActiveState"], shown["NRestarts"], shown["StatusText"]) == ("active", "0", "taking jobs")
    assert machine.run("ls", "/var/lib/private/vproc").split() == [
        "from-a-secret.db",
        "from-a-secret.db-shm",
        "from-a-secret.db-wal",
    ]
    entries = [json.loads(line) for line in machine.run("journalctl", "-u", UNIT, "-o", "json", "--no-pager").splitlines()]
    priorities = {
        json.loads(entry["MESSAGE"])["event"]: entry["PRIORITY"] for entry in entries if entry["MESSAGE"].startswith("{")
    }
    assert priorities["daemon_started"] == "6"
    probed = next(json.loads(entry["MESSAGE"]) for entry in entries if "sandbox_probed" in entry["MESSAGE"])
    assert probed["sandbox"].startswith("full")
    (machine.tree / "etc/vproc/secrets/database_url").unlink()


@runs("docs/how-to/run-as-a-service.md#run-it-as-a-service", language="sh")
def test_it_starts_and_is_looked_at_as_the_page_says(machine: Machine, store: Daemon, script: str) -> None:
    """With the settings that there must be and no other: it runs, warns of nothing but what its ffmpeg lacks, and is ready at the
    port that the page names."""
    told = {
        name: value
        for name, value in store.settings.items()
        if name.startswith(("AWS_", "VPROC_RAW", "VPROC_PROCESSED", "VPROC_Q"))
    }
    machine.write("/etc/vproc/vproc.env", "".join(f"{name}={value}\n" for name, value in told.items()))
    try:
        said = machine.type(script)
    finally:
        machine.tried("systemctl", "stop", UNIT)
        machine.tried("systemctl", "reset-failed", UNIT)
    assert "Active: active (running)" in said
    assert '"level": "error"' not in said
    warnings = [line for line in said.splitlines() if '"level": "warning"' in line]
    assert {word for line in warnings for word in re.findall(r'"event": "(\w+)"', line)} <= {"profile_unavailable"}
    assert json.loads(said.splitlines()[-1])["status"] == "ready"


def test_a_stop_in_the_middle_of_a_job_lets_it_end(machine: Machine, settings: dict[str, str], tmp_path: Path) -> None:
    """The daemon asks for the time that its drain takes; the file is completed, and the unit has ended well."""
    caller = set_up(machine, settings)
    machine.run("systemctl", "start", UNIT)
    file_id = caller.upload(long_clip(tmp_path))
    until_encoding(machine, caller, file_id)
    machine.run("systemctl", "stop", UNIT)
    shown = machine.shown(UNIT, "ActiveState", "Result", "ExecMainStatus")
    assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    machine.run("systemctl", "start", UNIT)
    assert caller.status(file_id)["processing_status"] == "completed"
    assert caller.status(file_id)["attempts"] == 1


def test_a_process_that_stands_still_is_started_anew(machine: Machine, settings: dict[str, str]) -> None:
    """No ping comes, so the watchdog ends it and systemd starts another, which is ready."""
    machine.write(f"/etc/systemd/system/{UNIT}.d/soon.conf", "[Service]\nWatchdogSec=4\nTimeoutAbortSec=2\n")
    machine.run("systemctl", "daemon-reload")
    caller = set_up(machine, settings)
    machine.run("systemctl", "start", UNIT)
    before = machine.shown(UNIT, "MainPID")["MainPID"]
    machine.run("kill", f"-{signal.SIGSTOP.value}", before)
    until(lambda: machine.shown(UNIT, "NRestarts")["NRestarts"] == "1", within_s=60, what="the watchdog")
    until(lambda: machine.shown(UNIT, "ActiveState")["ActiveState"] == "active", within_s=60, what="the second start")
    assert machine.shown(UNIT, "MainPID")["MainPID"] != before
    assert fetch(f"{caller.api}/readyz").status == 200
    assert "Watchdog timeout" in machine.run("journalctl", "-u", UNIT, "--no-pager", "-o", "cat")
    (machine.tree / f"etc/systemd/system/{UNIT}.d/soon.conf").unlink()
    machine.run("systemctl", "daemon-reload")


def test_a_wrong_setting_is_told_and_not_tried_again(machine: Machine, settings: dict[str, str]) -> None:
    """Exit code 78, once, and the journal says which setting."""
    set_up(machine, settings | {"VPROC_VISIBILITY_TIMEOUT_S": "soon"})
    assert machine.tried("systemctl", "start", UNIT).returncode != 0
    shown = machine.shown(UNIT, "ActiveState", "ExecMainStatus", "NRestarts")
    assert shown == {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0"}
    assert "VPROC_VISIBILITY_TIMEOUT_S" in machine.run("journalctl", "-u", UNIT, "--no-pager", "-o", "cat", "-n", "20")


def test_a_killed_daemon_leaves_nothing_behind(machine: Machine, settings: dict[str, str], tmp_path: Path) -> None:
    """Its ffmpeg ends with it, systemd starts it again, and the job is done."""
    caller = set_up(machine, settings)
    machine.run("systemctl", "start", UNIT)
    file_id = caller.upload(long_clip(tmp_path))
    until_encoding(machine, caller, file_id)
    machine.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", UNIT)
    until(lambda: machine.shown(UNIT, "NRestarts")["NRestarts"] == "1", within_s=60, what="the restart")
    until(lambda: machine.shown(UNIT, "ActiveState")["ActiveState"] == "active", within_s=60, what="the second start")
    caller.completed(file_id)
    processes = machine.run("ps", "-eo", "comm").split()
    assert [name for name in processes if name.startswith("ffmpeg")] == []


def test_what_was_installed_goes_again_and_the_state_stays(machine: Machine) -> None:
    """And can be installed again; nothing is asked."""
    machine.run("/root/vproc/systemd/install", "--remove")
    assert not (machine.tree / "opt/vproc").exists()
    assert machine.shown(UNIT, "LoadState")["LoadState"] == "not-found"
    assert (machine.tree / "etc/vproc/vproc.env").exists()
    assert (machine.tree / "var/lib/private/vproc").is_dir()
