from __future__ import annotations

import marshal
import resource
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vproc.errors import UnavailableError
from vproc.ports import ProcessLimits
from vproc.workers.confinement import (
    Confinement,
    Layer,
    LayerRefusedError,
    environment,
    handled_rights,
    program_paths,
    raise_if_refused,
    rlimits,
)

LIMITS = ProcessLimits(wall_s=1, cpu_s=20, memory_bytes=30, output_bytes=40, directory_bytes=50)
READ, WRITE, EXECUTE, MAKE_LINK, MAKE_FIFO, MAKE_FILE, LIST = 1 << 2, 1 << 1, 1 << 0, 1 << 12, 1 << 10, 1 << 8, 1 << 3


def spec(confinement: Confinement, program: str = "/usr/bin/ffmpeg") -> dict[str, object]:
    command = confinement.command([program, "-i", "x"], cwd=Path("/jobs/1"), limits=LIMITS, parent=7, nonce="n")
    assert command[:4] == [sys.executable, "-I", "-S", command[3]]
    assert command[-3:] == [program, "-i", "x"]
    told: dict[str, object] = marshal.loads(bytes.fromhex(command[4]))
    return told


def rules(abi: int, program: str = "/usr/bin/ffmpeg", **parts: tuple[str, ...]) -> dict[str, int]:
    landlock = spec(Confinement(frozenset(Layer), landlock_abi=abi, **parts), program)["landlock"]
    assert isinstance(landlock, dict)
    assert landlock["handled"] == handled_rights(abi)
    return dict(landlock["rules"])


def test_a_layer_that_is_not_named_is_not_asked_for() -> None:
    nothing = spec(Confinement(frozenset({Layer.RLIMITS})))
    assert [nothing[name] for name in ("drop_capabilities", "no_new_privileges", "landlock", "seccomp")] == [
        False,
        False,
        None,
        None,
    ]
    assert (nothing["parent"], nothing["cwd"], nothing["nonce"]) == (7, "/jobs/1", "n")
    assert nothing["rlimits"] == rlimits(LIMITS)


def test_limits_of_the_process_never_count_the_users_processes() -> None:
    assert rlimits(LIMITS) == [
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, 256, 256),
        (resource.RLIMIT_CPU, 20, 25),
        (resource.RLIMIT_FSIZE, 40, 40),
        (resource.RLIMIT_AS, 30, 30),
    ]
    assert (resource.RLIMIT_DATA, 20, 20) in rlimits(replace(LIMITS, data_bytes=20))


@pytest.mark.parametrize("abi", [1, 2, 3, 5, 7])
def test_only_the_jobs_directory_may_be_written(abi: int) -> None:
    allowed = rules(abi)
    assert {path for path, access in allowed.items() if access & (WRITE | MAKE_FILE)} == {"/jobs/1", "/dev/null"}
    assert allowed["/jobs/1"] & (READ | WRITE | LIST | MAKE_FILE) == READ | WRITE | LIST | MAKE_FILE
    assert not allowed["/jobs/1"] & (EXECUTE | MAKE_LINK | MAKE_FIFO)
    assert all(access & ~handled_rights(abi)[0] == 0 for access in allowed.values()), "a right that is not handled is an error"


def test_nothing_of_the_users_or_the_machines_state_may_be_read() -> None:
    private = ("/home", "/root", "/etc/passwd", "/etc/shadow", "/var", "/tmp", "/run", "/proc/self", "/dev/shm", "/opt")
    readable = rules(7).keys()
    assert not [(path, rule) for path in private for rule in readable if f"{path}/".startswith(f"{rule}/")]
    assert "/" not in readable


def test_a_program_elsewhere_and_what_is_named_may_be_read_and_run() -> None:
    allowed = rules(7, "/opt/ffmpeg/bin/ffmpeg", readable=("/opt/python",))
    for path in ("/opt/ffmpeg/bin/ffmpeg", "/opt/ffmpeg/lib", "/opt/python"):
        assert allowed[path] & (READ | EXECUTE | WRITE) == READ | EXECUTE
    assert "/opt/ffmpeg/bin" not in allowed


def test_a_program_in_a_home_does_not_open_the_home() -> None:
    assert program_paths(Path("/home/me/ffmpeg")) == ("/home/me/ffmpeg",)
    assert program_paths(Path("/opt/conda/bin/ffmpeg")) == ("/opt/conda/bin/ffmpeg", "/opt/conda/lib")


IOCTL = 1 << 15


@pytest.mark.parametrize(("abi", "driven"), [(4, READ | WRITE), (5, READ | WRITE | IOCTL)])
def test_a_device_may_be_driven_only_where_it_is_named(abi: int, driven: int) -> None:
    """And only as far as this Landlock can say: before ABI 5 it does not rule what is done to an open device."""
    without, allowed = rules(abi), rules(abi, devices=("/dev/dri/renderD128", "/dev/nvidia0"))
    assert {path for path in without if path.startswith("/dev/")} == {"/dev/urandom", "/dev/random", "/dev/zero", "/dev/null"}
    assert {allowed[node] & ~LIST for node in ("/dev/dri/renderD128", "/dev/nvidia0")} == {driven}
    assert {path for path, access in allowed.items() if access & WRITE} == {
        *("/jobs/1", "/dev/null", "/dev/dri/renderD128", "/dev/nvidia0")
    }
    assert all(allowed[path] == access for path, access in without.items())


@pytest.mark.parametrize(
    ("abi", "expected"),
    [
        (1, [0x1FFF]),
        (2, [0x3FFF]),
        (3, [0x7FFF]),
        (4, [0x7FFF, 3]),
        (5, [0xFFFF, 3]),
        (6, [0xFFFF, 3, 3]),
        (99, [0xFFFF, 3, 3]),
    ],
)
def test_landlock_is_asked_for_what_its_version_knows(abi: int, expected: list[int]) -> None:
    assert handled_rights(abi) == expected


def test_the_environment_is_four_variables() -> None:
    assert environment(Path("/j")) == {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/j", "TMPDIR": "/j"}


@pytest.mark.parametrize(
    ("returncode", "stderr"),
    [(0, "vproc-launcher n x: y"), (126, ""), (126, "vproc-launcher m landlock: y"), (1, "vproc-launcher n landlock: y")],
)
def test_only_the_launchers_own_words_are_a_refusal(returncode: int, stderr: str) -> None:
    assert raise_if_refused(returncode, stderr, "n") is None


def test_a_refusal_names_its_step() -> None:
    with pytest.raises(LayerRefusedError) as refusal:
        raise_if_refused(126, "vproc-launcher n landlock: OSError(22, 'Invalid: argument')\n", "n")
    assert (refusal.value.step, refusal.value.reason) == ("landlock", "OSError(22, 'Invalid: argument')")
    assert isinstance(refusal.value, UnavailableError)
    assert "landlock" in refusal.value.detail
