"""`workers/launcher.py` as a script of its own, by the SPEC that `Confinement.command` writes and by broken ones."""

from __future__ import annotations

import ast
import marshal
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.support.children import limits
from vproc.workers import confinement, launcher
from vproc.workers.confinement import Confinement, Layer

SCRIPT = Path(launcher.__file__)


def launch(spec: object, *argv: str, prefix: tuple[str, ...] = (), **options: object) -> subprocess.CompletedProcess[str]:
    text = spec if isinstance(spec, str) else marshal.dumps(spec).hex()  # type: ignore[arg-type]
    command = [*prefix, sys.executable, "-I", "-S", str(SCRIPT), text, *argv]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30, **options)  # type: ignore[call-overload,no-any-return]


def spec_for(cwd: Path, *layers: Layer, changes: Mapping[str, object] = MappingProxyType({})) -> dict[str, object]:
    command = Confinement(frozenset(layers)).command(["/bin/true"], cwd=cwd, limits=limits(), parent=os.getpid(), nonce="n")
    told: dict[str, object] = marshal.loads(bytes.fromhex(command[-2]))
    return {**told, **changes}


def test_it_needs_nothing_but_the_standard_library_and_not_even_much_of_it() -> None:
    """`vproc/http.py` would stand in for the standard one, were its folder on the path; and each import costs every child."""
    names = {
        name
        for node in ast.parse(SCRIPT.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert names <= {"__future__", "ctypes", "marshal", "os", "resource", "stat", "struct", "sys"}


def test_both_sides_know_the_same_exit_code() -> None:
    assert launcher.EXIT_REFUSED == confinement.EXIT_REFUSED


@pytest.mark.parametrize("spec", ["", "{", "4e4e", [], {}, None, {"nonce": "n"}, {"nonce": "n", "parent": "x"}])
def test_without_a_whole_spec_nothing_starts(tmp_path: Path, spec: object) -> None:
    done = launch(spec, "/usr/bin/touch", str(tmp_path / "started"))
    assert (done.returncode, done.stderr.startswith("vproc-launcher ")) == (126, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        ("parent", {"parent": 1}),
        ("start", {"cwd": "/none"}),
        ("rlimits", {"rlimits": [[99, 1, 1]]}),
        ("landlock", {"landlock": {"handled": [1 << 60], "rules": []}}),
        ("landlock", {"landlock": {"handled": [4], "rules": [["/usr", 1 << 60]]}}),
        ("seccomp", {"no_new_privileges": True, "seccomp": {"program": "00", "own_pid": []}}),
        ("seccomp", {"no_new_privileges": True, "seccomp": {"program": "ff" * 8, "own_pid": []}}),
        ("seccomp", {"seccomp": {"program": "not hex", "own_pid": []}}),
    ],
)
def test_a_step_that_fails_is_named_and_nothing_starts(tmp_path: Path, step: str, changes: dict[str, object]) -> None:
    done = launch(spec_for(tmp_path, changes=changes), "/usr/bin/touch", str(tmp_path / "started"))
    assert (done.returncode, done.stderr.split(":")[0], done.stdout) == (126, f"vproc-launcher n {step}", "")
    assert list(tmp_path.iterdir()) == []


def test_limits_that_stand_already_are_kept_where_they_are_lower(tmp_path: Path) -> None:
    limited = ("prlimit", "--nofile=64:100", "--core=0:0", "--fsize=1000:5000", "--")
    done = launch(spec_for(tmp_path), "/bin/sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -Hf", prefix=limited)
    assert done.stdout.split() == ["100", "100", str(5000 // 512)]


def test_a_process_that_is_nicer_already_stays_so(tmp_path: Path) -> None:
    show = ("/bin/sh", "-c", "nice; ionice")
    assert launch(spec_for(tmp_path), *show).stdout == "10\nbest-effort: prio 7\n"
    assert launch(spec_for(tmp_path), *show, prefix=("nice", "-n", "15")).stdout.startswith("15\n")


def test_what_the_daemon_ignores_the_child_does_not(tmp_path: Path) -> None:
    """Ignored signals pass through exec, and Python ignores two by itself."""
    done = launch(spec_for(tmp_path), "/bin/grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status", prefix=("nohup",))
    told = dict(line.split(":\t") for line in done.stdout.splitlines())
    # glibc keeps two signals for its threads, 32 and 33, which no program can name.
    assert {name: int(value, 16) & ~(0b11 << 31) for name, value in told.items()} == {"SigBlk": 0, "SigIgn": 0}


def test_with_no_layer_asked_for_none_is_in_force(tmp_path: Path) -> None:
    done = launch(spec_for(tmp_path), "/bin/grep", "-E", "^(NoNewPrivs|Seccomp|CapEff):", "/proc/self/status")
    ours = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    told = dict(line.split(":\t") for line in done.stdout.splitlines())
    assert told == {name: ours[name] for name in ("CapEff", "NoNewPrivs", "Seccomp")}


def test_capabilities_stay_dropped_through_exec_without_any_other_layer(tmp_path: Path) -> None:
    done = launch(spec_for(tmp_path, Layer.CAPABILITIES), "/bin/grep", "-E", "^Cap", "/proc/self/status")
    told = dict(line.split(":\t") for line in done.stdout.splitlines())
    assert {told[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {""}
