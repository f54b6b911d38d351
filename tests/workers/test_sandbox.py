from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.children import names_in, other_user, reachable_code
from tests.workers.test_runners import owned  # noqa: F401 - a fixture
from vproc.errors import ConfigError, UnavailableError
from vproc.ports import ProcessResult
from vproc.settings import SandboxMode
from vproc.workers import confinement as confining
from vproc.workers import sandbox
from vproc.workers.confinement import Confinement, Layer
from vproc.workers.sandbox import SandboxReport, graphics_devices, probe_sandbox, try_escapes

# What the layers besides rlimits are for: without them each of these gets through, which shows that the attempt is real.
REAL = {
    "af_inet", "af_inet6", "af_unix", "af_netlink", "socketpair", "connect_loopback", "connect_metadata", "read_passwd",
    "read_parent_environ", "read_parent_descriptors", "read_parent_output", "list_root", "list_outside", "write_outside",
    "write_tmp", "chmod_outside", "touch_outside", "make_link", "make_fifo", "signal_parent", "limit_parent", "nice_parent",
    "trace_parent", "push_terminal", "outlive_parent", "fork", "new_privileges", "process_vm_readv", "pidfd_open", "keyctl",
    "personality", "memfd_create", "shmget", "clone3", "unshare_user", "exec_own_file",
}  # fmt: skip
REAL_FOR_ROOT = {
    "af_packet",
    "read_shadow",
    "read_parent_memory",
    "mount",
    "capabilities",
    "bpf",
    "unshare_network",
    "pivot_root",
}
NEVER = {"eat_memory", "eat_disk", "raise_limit", "inherited"}


async def test_under_require_every_escape_is_refused_here(tmp_path: Path) -> None:
    report = await probe_sandbox(SandboxMode.REQUIRE, scratch_dir=tmp_path)
    assert (report.level, report.allowed, report.missing) == ("full", (), {})
    assert report.confinement.layers == frozenset(Layer)
    names = {escape.name for escape in report.escapes}
    assert names >= REAL | REAL_FOR_ROOT | NEVER | {"af_vsock", "io_uring_setup", "userfaultfd", "perf_event_open"}
    assert names_in(tmp_path) == []
    assert report.describe() == (
        f"full: rlimits, capabilities, no new privileges, Landlock (ABI {report.confinement.landlock_abi}), seccomp; "
        f"{len(names)} of {len(names)} escapes refused"
    )


async def test_what_is_refused_is_refused_by_the_layers_and_not_by_accident(tmp_path: Path) -> None:
    bare = await try_escapes(Confinement(frozenset({Layer.RLIMITS})), scratch_dir=tmp_path)
    through = {escape.name for escape in bare if not escape.refused}
    assert through >= REAL | (REAL_FOR_ROOT if os.geteuid() == 0 else set())
    assert not through & NEVER
    full = await try_escapes((await probe_sandbox(SandboxMode.AUTO)).confinement, scratch_dir=tmp_path)
    sockets = {escape.reason for escape in full if escape.name.startswith("af_")}
    assert sockets == {"PermissionError: [Errno 1] Operation not permitted"}


async def test_for_an_ordinary_user_every_escape_is_refused_too(owned: Path) -> None:  # noqa: F811
    done = await anyio.run_process(other_user("escape", str(owned)), cwd=reachable_code(), check=False)
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    assert told["uid"] == (os.geteuid() or 65534)
    assert [escape["name"] for escape in told["escapes"] if not escape["refused"]] == []
    assert {escape["name"] for escape in told["escapes"]} >= REAL | REAL_FOR_ROOT | NEVER


async def test_without_landlock_auto_says_what_gets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "landlock_abi", lambda: 0)
    report = await probe_sandbox(SandboxMode.AUTO)
    assert report.level == "partial"
    assert {"read_passwd", "write_outside", "write_tmp", "make_link", "exec_own_file"} <= set(report.allowed)
    assert not {"af_inet", "fork", "trace_parent", "chmod_outside", "signal_parent", "capabilities"} & set(report.allowed)
    assert "without landlock (this kernel has none" in report.describe()
    assert "allowed: " in report.describe()


async def test_without_landlock_require_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "landlock_abi", lambda: 0)
    with pytest.raises(ConfigError, match=r"^VPROC_SANDBOX: require, and this machine gives partial: .* without landlock"):
        await probe_sandbox(SandboxMode.REQUIRE)


async def test_a_layer_that_the_kernel_refuses_is_found_by_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confining, "handled_rights", lambda _: [1 << 60])
    report = await probe_sandbox(SandboxMode.AUTO)
    assert report.confinement.layers == frozenset(Layer) - {Layer.LANDLOCK}
    assert "Invalid argument" in report.missing[Layer.LANDLOCK]


async def test_on_an_architecture_without_a_filter_seccomp_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.platform, "machine", lambda: "riscv64")
    report = await probe_sandbox(SandboxMode.AUTO)
    assert report.missing == {Layer.SECCOMP: "there is no filter for riscv64"}
    assert {"af_inet", "fork"} <= set(report.allowed)
    assert "read_passwd" not in report.allowed


async def test_off_tries_nothing_and_says_so(tmp_path: Path) -> None:
    report = await probe_sandbox(SandboxMode.OFF, scratch_dir=tmp_path / "not there")
    assert (report.level, report.describe()) == ("off", "off: rlimits")


@pytest.mark.parametrize(
    ("returncode", "stdout"),
    [
        (0, b""),
        (-9, b'["af_inet", true, ""]\n'),
        (0, b'["af_inet", true, ""]\n'),
        (0, b"not JSON"),
        (1, b'["exec_own_file", true, ""]'),
    ],
)
def test_a_self_test_that_ends_early_proves_nothing(returncode: int, stdout: bytes) -> None:
    result = ProcessResult(returncode=returncode, stdout=stdout, stderr="why\n", wall_s=1, cpu_s=1, peak_memory_bytes=1)
    with pytest.raises(UnavailableError, match=f"ended early with {returncode}: why"):
        sandbox._escapes_in(result)


def test_an_attempt_that_the_kernel_answers_by_the_end_of_the_process_is_refused() -> None:
    told = b'["af_inet"]\n["af_inet", true, ""]\n["x32_call"]\n'
    result = ProcessResult(returncode=-31, stdout=told, stderr="", wall_s=1, cpu_s=1, peak_memory_bytes=1)
    assert [(escape.name, escape.refused) for escape in sandbox._escapes_in(result)] == [("af_inet", True), ("x32_call", True)]


async def test_behind_such_an_end_the_rest_is_tried_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the program ends itself as a service's filter would, at its fourth attempt: none is left out, none tried twice."""
    whole = await try_escapes(Confinement(frozenset({Layer.RLIMITS})))
    hurt = "\ndef _hurt():\n    import signal\n    os.kill(os.getpid(), signal.SIGSYS)\n_socketpair = _hurt\n"
    read = Path.read_text

    def broken(path: Path, *arguments: Any, **options: Any) -> str:
        text = read(path, *arguments, **options)
        return text.replace("\ndef _make_link", hurt + "\ndef _make_link", 1) if path.name == "escapes.py" else text

    monkeypatch.setattr(Path, "read_text", broken)
    again = await try_escapes(Confinement(frozenset({Layer.RLIMITS})))
    assert [escape.name for escape in again] == [escape.name for escape in whole]
    assert {escape.reason for escape in again if escape.name == "socketpair"} == {"the process was ended (SIGSYS)"}


def test_an_attempt_that_got_through_makes_the_level_partial() -> None:
    escapes = (sandbox.Escape("af_inet", refused=False, reason="allowed"), sandbox.Escape("fork", refused=True, reason=""))
    report = SandboxReport(SandboxMode.AUTO, Confinement(frozenset(Layer), landlock_abi=4), escapes=escapes)
    assert (report.level, report.allowed) == ("partial", ("af_inet",))
    assert report.describe().endswith("1 of 2 escapes refused; allowed: af_inet")


def test_the_memory_of_the_daemon_is_its_own() -> None:
    """Another process of the same user may not even list what it has open; asked in a process of its own."""
    program = (
        "import ctypes, os, time\nfrom vproc.workers.sandbox import keep_memory_private\n"
        "dumpable = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)\n"
        "print(dumpable(), end=' ')\nkeep_memory_private()\nprint(dumpable())"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert told.stdout == "1 0\n"


def test_the_graphics_cards_that_encode_are_their_render_nodes(tmp_path: Path) -> None:
    """A screen's own node is none: who may drive it may look at it."""
    for name in ("dri/card0", "dri/renderD128", "dri/renderD129", "nvidia0", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [node.removeprefix(f"{tmp_path}/") for node in graphics_devices(tmp_path)]
    assert names == ["dri/renderD128", "dri/renderD129", "nvidia-uvm", "nvidia0", "nvidiactl"]
    assert graphics_devices(tmp_path / "none") == ()
