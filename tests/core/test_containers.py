"""The guard of a container, run by a shell of this machine, and what is told by labels, mounts and the trial."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from vproc.core.containers import Fate, Owner, guarded, judge, outside_path, own_container_id, read_end
from vproc.core.trial import TRIAL, Trial, read_trial

NONCE = "0123456789abcdef"
CONTAINER = "c" * 64


def start(*argv: str, lifeline: str | None = None) -> subprocess.Popen[bytes]:
    pipe, command = subprocess.PIPE, guarded(argv, nonce=NONCE, lifeline=lifeline)
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, bool]:
    """Its code and words as they are read, and whether the guard told of its times."""
    assert process.stderr is not None
    assert process.stdin is not None
    assert process.stdout is not None
    code = process.wait(20)
    end = read_end(code, process.stderr.read().decode(), nonce=NONCE)
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()
    return end.returncode, end.stderr, end.cpu_s is not None


# --- the guard -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lifeline", [None, "/dev/tty"])
@pytest.mark.parametrize(
    ("script", "returncode", "stderr"),
    [
        ("exit 0", 0, ""),
        ("echo words >&2; exit 3", 3, "words\n"),
        ("printf unfinished >&2; exit 244", 244, "unfinished"),
        ("exit 126", 126, ""),
        ("exit 127", 127, ""),
        ("kill -SEGV $$", -11, ""),
        ("kill -KILL $$", -9, ""),
    ],
)
def test_the_childs_end_is_told_as_its_own(script: str, returncode: int, stderr: str, lifeline: str | None) -> None:
    assert ended(start("sh", "-c", script, lifeline=lifeline)) == (returncode, stderr, True)


def test_a_program_that_is_not_there_has_no_times() -> None:
    assert ended(start("no-such-program")) == (127, "no-such-program: not found\n", False)


def test_the_child_dies_when_its_input_ends() -> None:
    """As it does when the daemon is killed, whatever the child does with signals."""
    process = start("sh", "-c", "trap '' TERM HUP INT; echo up; while :; do sleep 60; done")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.stdin.close()
    assert process.wait(10) == 128 + 9
    process.stdout.close()
    assert process.stderr is not None
    process.stderr.close()


def test_term_is_for_the_child() -> None:
    process = start("sh", "-c", "trap 'echo heard >&2; exit 7' TERM; echo up; while :; do sleep 0.05; done")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.terminate()
    assert ended(process) == (7, "heard\n", True)


def test_a_fed_child_has_the_input_and_its_end_and_goes_on_until_its_lifeline_ends(tmp_path: Path) -> None:
    """The input may be at its end long before the child is."""
    os.mkfifo(tmp_path / "line")
    held = os.open(tmp_path / "line", os.O_RDWR)
    process = start("sh", "-c", "cat; echo .; trap '' TERM; while :; do sleep 60; done", lifeline=str(tmp_path / "line"))
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"word")
    process.stdin.close()
    assert process.stdout.readline() == b"word.\n"
    assert process.poll() is None
    os.close(held)
    assert process.wait(10) == 128 + 9
    process.stdout.close()
    assert process.stderr is not None
    process.stderr.close()


def test_a_child_cannot_speak_for_the_guard() -> None:
    """Only the last words count, and those are the guard's."""
    script = "echo; echo vproc-guard $0 9m9.0s 9m9.0s 9m9.0s 9m9.0s >&2; exit 5"
    process = start("sh", "-c", script, NONCE)
    assert process.stderr is not None
    code, said = process.wait(20), process.stderr.read().decode()
    end = read_end(code, said, nonce=NONCE)
    assert (end.returncode, end.cpu_s is not None and end.cpu_s < 5) == (5, True)
    assert "9m9.0s" in end.stderr
    for pipe in (process.stdin, process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()


@pytest.mark.parametrize(
    ("told", "cpu_s"),
    [
        ("0m0.010000s 0m0.000000s\n1m2.500000s 0m0.250000s\n", 62.75),  # dash
        ("0m0.001s 0m0.000s\n0m0.213s 0m0.002s\n", 0.215),  # bash
        ("0m0,01s 0m0,00s\n0m1,50s 0m0,50s\n", 2.0),  # with another locale's comma
        ("nothing\n", 0),
    ],
)
def test_times_of_several_shells(told: str, cpu_s: float) -> None:
    end = read_end(0, f"said\n\nvproc-guard {NONCE} {told}", nonce=NONCE)
    assert (end.stderr, end.cpu_s) == ("said\n", pytest.approx(cpu_s))


def test_another_nonce_is_another_guard() -> None:
    said = f"said\n\nvproc-guard {'f' * 16} 0m1.0s 0m1.0s\n0m1.0s 0m1.0s\n"
    assert read_end(137, said, nonce=NONCE).stderr == said
    assert read_end(137, said, nonce=NONCE).cpu_s is None


# --- whose it is ---------------------------------------------------------------------------------------------------------

OWN = Owner(daemon="a", boot="today", pids="4026531836", pid="10:500", container="")
INSIDE = replace(OWN, pids="7", container=CONTAINER)


def test_labels_come_back_as_their_owner() -> None:
    assert Owner.of(INSIDE.labels()) == INSIDE
    assert Owner.of({}) == Owner("", "", "", "", "")


@pytest.mark.parametrize(
    ("owner", "own", "pid_lives", "container_runs", "fate"),
    [
        pytest.param(OWN, OWN, False, False, Fate.LIVES, id="itself"),
        pytest.param(replace(OWN, daemon="b"), OWN, True, False, Fate.LIVES, id="a neighbour"),
        pytest.param(replace(OWN, daemon="b"), OWN, False, False, Fate.DEAD, id="a dead neighbour"),
        pytest.param(replace(OWN, daemon="b", boot="before"), OWN, True, True, Fate.DEAD, id="of another boot"),
        pytest.param(replace(INSIDE, daemon="b"), OWN, False, True, Fate.LIVES, id="in a container that runs"),
        pytest.param(replace(INSIDE, daemon="b"), OWN, False, False, Fate.DEAD, id="in a container that has ended"),
        pytest.param(replace(INSIDE, daemon="b", pids="8"), INSIDE, False, True, Fate.DEAD, id="before us in this container"),
        pytest.param(replace(INSIDE, daemon="b"), INSIDE, True, True, Fate.LIVES, id="beside us in this container"),
        pytest.param(replace(OWN, daemon="b", pids="9"), OWN, False, False, Fate.UNKNOWN, id="in processes that we do not see"),
        pytest.param(replace(OWN, daemon="b"), INSIDE, False, False, Fate.UNKNOWN, id="on the machine, seen from a container"),
        pytest.param(Owner("b", "", "", "", ""), OWN, False, False, Fate.UNKNOWN, id="of a version that told less"),
    ],
)
def test_a_daemon_is_dead_only_for_certain(owner: Owner, own: Owner, pid_lives: bool, container_runs: bool, fate: Fate) -> None:
    assert judge(owner, own, pid_lives=pid_lives, container_runs=container_runs) is fate


# --- where it is ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "found"),
    [
        (f"/var/lib/docker/containers/{CONTAINER}/hostname", CONTAINER),
        (f"/docker/containers/{CONTAINER}/hostname", CONTAINER),
        (f"/var/lib/containers/storage/overlay-containers/{CONTAINER}/userdata/hostname", CONTAINER),
        ("/etc/hostname", None),
        ("/var/lib/docker/containers/short/hostname", None),
    ],
)
def test_the_own_container_is_named_by_its_mounts(root: str, found: str | None) -> None:
    """One line as proc(5) has it; that somebody mounts another container's folder elsewhere tells nothing."""
    other = f"1 2 8:1 /var/lib/docker/containers/{'d' * 64}/x /mnt/x rw - ext4 /dev/sda rw"
    lines = f"{other}\n600 500 8:1 {root} /etc/hostname rw,relatime - ext4 /dev/sda1 rw\nshort line\n"
    assert own_container_id(lines) == found


@pytest.mark.parametrize(
    ("path", "outside"),
    [
        ("/scratch/run/job", "/var/lib/docker/volumes/scratch/_data/run/job"),
        ("/scratch", "/var/lib/docker/volumes/scratch/_data"),
        ("/scratch/fast/job", "/mnt/nvme/job"),
        ("/scratchy/job", None),
        ("/tmp/job", None),
    ],
)
def test_a_directory_outside_is_that_of_the_nearest_mount(path: str, outside: str | None) -> None:
    mounts = (("/var/lib/docker/volumes/scratch/_data", "/scratch"), ("/mnt/nvme", "/scratch/fast"))
    assert outside_path(path, mounts) == outside


# --- the trial -----------------------------------------------------------------------------------------------------------

SAID = """status Name:\tsh
status CapBnd:\t0000000000000000
status CapEff:\t0000000000000000
status NoNewPrivs:\t1
status Seccomp:\t2
network Inter-|   Receive
network face |bytes packets
network lo:       0       0
files 256
"""


def test_a_container_as_it_should_be() -> None:
    trial = read_trial(SAID, open_files=256)
    assert trial == Trial(alone=True, rlimits=True, no_capabilities=True, no_new_privileges=True, seccomp=True)
    assert trial.missing() == ()


@pytest.mark.parametrize(
    ("told", "instead", "missing"),
    [
        ("CapEff:\t0000000000000000", "CapEff:\t00000000a80425fb", "no capabilities"),
        ("CapBnd:\t0000000000000000", "CapBnd:\t00000000a80425fb", "no capabilities"),
        ("NoNewPrivs:\t1", "NoNewPrivs:\t0", "no new privileges"),
        ("Seccomp:\t2", "Seccomp:\t0", "seccomp"),
        ("files 256", "files 256\nlinks made", "seccomp"),
        ("files 256", "files 1048576", "rlimits"),
        ("files 256", "files 256\nroot writable", "a root and a network of its own"),
        ("network lo:       0", "network eth0:     0", "a root and a network of its own"),
    ],
)
def test_what_does_not_hold_is_named(told: str, instead: str, missing: str) -> None:
    assert told in SAID
    assert read_trial(SAID.replace(told, instead), open_files=256).missing() == (missing,)


def test_what_says_nothing_holds_nothing_but_its_silence() -> None:
    assert len(read_trial("", open_files=256).missing()) == 4


def test_a_shell_reads_the_trial() -> None:
    done = subprocess.run(["sh", "-n", "-c", TRIAL], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
