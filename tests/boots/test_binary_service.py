"""The one file as a service, set up as its page says, under a real systemd on a Debian that has no Python."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.caller import Caller, fetch
from tests.support.daemon import Daemon, dev
from tests.support.documents import script_of
from tests.support.machine import PACKAGES, Machine, booted
from tests.support.media import clip
from tests.support.ports import free_port
from tests.support.source import ROOT
from tests.support.tree import make_tree

UNIT = "vproc.service"
SUITE = "bookworm"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A store and a queue on this machine, whose own daemon takes no jobs."""
    with dev(tmp_path_factory.mktemp("store"), VPROC_ROLES="api") as running:
        yield running


@pytest.fixture(scope="module")
def machine(workshop: Path, program: Path) -> Iterator[Machine]:
    """With the unit and the program, and what the page has root type."""
    tree = make_tree(workshop / "one-file", SUITE, [name for name in PACKAGES if not name.startswith("python")])
    (tree / "root/dist").mkdir()
    shutil.copy(program, tree / "root/dist")
    shutil.copy(ROOT / "systemd" / UNIT, tree / "etc/systemd/system")
    with booted(tree, workshop / "one-file.log") as machine:
        assert machine.tried("python3", "--version").returncode != 0
        machine.run("mkdir", "-p", "/etc/vproc/secrets")
        machine.type(script_of("docs/how-to/one-file.md#as-a-service", language="sh"))
        override = script_of("docs/how-to/one-file.md#as-a-service", language="ini")
        machine.write(f"/etc/systemd/system/{UNIT}.d/override.conf", override, 0o644)
        machine.run("systemctl", "daemon-reload")
        yield machine


def test_it_starts_does_a_job_in_the_whole_jail_and_ends(machine: Machine, store: Daemon) -> None:
    """The unit's own user runs what root unpacked; systemd hears from its main process that it is ready, and that it is well."""
    settings = {**store.settings, "VPROC_PORT": str(free_port()), "VPROC_DRAIN_TIMEOUT_S": "5"}
    machine.write("/etc/vproc/vproc.env", "".join(f"{name}={value}\n" for name, value in settings.items()))
    caller = Caller(f"http://127.0.0.1:{settings['VPROC_PORT']}")
    machine.run("systemctl", "start", UNIT)
    assert fetch(f"{caller.api}/readyz").status == 200
    caller.completed(caller.upload(clip("short.mp4")))
    shown = machine.shown(UNIT, "ActiveState", "NRestarts", "StatusText", "WatchdogTimestampMonotonic")
    assert int(shown.pop("WatchdogTimestampMonotonic")) > 0
    assert shown == {"ActiveState": "active", "NRestarts": "0", "StatusText": "taking jobs"}
    log = machine.run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager")
    assert '"sandbox": "full' in log
    assert "/opt/vproc-one-file/vproc-" in log
    assert machine.run("find", "/var/cache/vproc/", "/tmp", "/var/tmp", "-name", "python3*").split() == []
    machine.run("systemctl", "stop", UNIT)
    assert machine.shown(UNIT, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
