"""The script at the head of the one file, with a folder of a few bytes behind it: it unpacks once, safely, or says why not.

The whole of it is built and run in tests/boots.
"""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.daemon import on_its_own_disk
from tests.support.scripts import script
from tests.support.source import ROOT

HEADER = ROOT / "scripts" / "one-file.sh"
WRONG_PLACE = 78
# Stands where the interpreter stands, and tells how it was called.
INTERPRETER = """#!/bin/sh
[ "$*" != "-I -S -c " ] || exit @CODE@
printf '%s\\n' "pid=$$" "path=$PATH" "umask=$(umask)" "certificates=${SSL_CERT_FILE-}" "words=$*"
"""


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    """`scripts/build-binary`, which is a program and no module."""
    return script("build-binary")


def build(builder: ModuleType, folder: Path, *, code: int = 0, version: str = "1.2.3") -> Path:
    """A program whose interpreter answers with ``code`` when it is asked whether it runs here."""
    tree = folder / "tree"
    (tree / "bin").mkdir(parents=True, exist_ok=True)
    (tree / "bin" / "python3").write_text(INTERPRETER.replace("@CODE@", str(code)))
    (tree / "bin" / "python3").chmod(0o700)
    (tree / "cacert.pem").write_text(version)
    builder.pack(tree, folder / "packed")
    program = folder / "dist" / "vproc"
    builder.write(folder / "packed", program, version=version, glibc="2.36", megabytes=1)
    return program


@pytest.fixture
def program(builder: ModuleType, tmp_path: Path) -> Path:
    return build(builder, tmp_path)


def start(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    environment.setdefault("PATH", "/nonexistent")
    return subprocess.run([*map(str, words)], env=environment, check=False, capture_output=True, text=True, timeout=60)


def told(done: subprocess.CompletedProcess[str]) -> Mapping[str, str]:
    assert (done.returncode, done.stderr) == (0, "")
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run(["shellcheck", HEADER], check=False, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)


def test_it_unpacks_once_and_becomes_the_program(program: Path, tmp_path: Path) -> None:
    """Under the same process number, with the caller's PATH and umask, and every word as it was given."""
    place = tmp_path / "place"
    told(start(program, "dev", VPROC_UNPACK_DIR=str(place)))
    [unpacked] = place.iterdir()
    made_at = unpacked.stat().st_mtime_ns, unpacked.stat().st_ino
    with subprocess.Popen(
        [program, "submit", "a b", "*"],
        env={"VPROC_UNPACK_DIR": str(place), "PATH": "/nowhere"},
        stdout=subprocess.PIPE,
        text=True,
        umask=0o077,
    ) as process:
        said = dict(line.split("=", 1) for line in process.communicate(timeout=60)[0].splitlines())
    assert said["pid"] == str(process.pid)
    assert said["path"] == "/nowhere"
    assert said["umask"] == "0077"
    assert said["words"] == "-I -B -m vproc submit a b *"
    assert list(place.iterdir()) == [unpacked]
    assert (unpacked.stat().st_mtime_ns, unpacked.stat().st_ino) == made_at


def test_each_build_has_a_folder_of_its_own(builder: ModuleType, program: Path, tmp_path: Path) -> None:
    """A newer file beside a running older one takes nothing from it."""
    place = str(tmp_path / "place")
    told(start(program, VPROC_UNPACK_DIR=place))
    told(start(build(builder, tmp_path / "newer", version="1.2.4"), VPROC_UNPACK_DIR=place))
    assert sorted(path.name[:11] for path in Path(place).iterdir()) == ["vproc-1.2.3", "vproc-1.2.4"]


def test_many_first_starts_at_once_agree(program: Path, tmp_path: Path) -> None:
    """One wins, all work, and nothing half done is left."""
    place = tmp_path / "place"
    running = [
        subprocess.Popen([program], env={"VPROC_UNPACK_DIR": str(place)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(8)
    ]
    ended = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * 8, ended
    assert [path.name[:5] for path in place.iterdir()] == ["vproc"]


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"CACHE_DIRECTORY": "{}/service:{}/other", "HOME": "{}"}, "service"),
        ({"XDG_CACHE_HOME": "{}/xdg", "HOME": "{}"}, "xdg/vproc"),
        ({"HOME": "{}"}, ".cache/vproc"),
    ],
)
def test_where_it_unpacks(program: Path, tmp_path: Path, variables: dict[str, str], folder: str) -> None:
    """A service's own cache, else the user's."""
    told(start(program, **{name: value.replace("{}", str(tmp_path)) for name, value in variables.items()}))
    assert [path.name[:5] for path in (tmp_path / folder).iterdir()] == ["vproc"]


def test_it_does_not_run_what_others_may_have_put_there(program: Path, tmp_path: Path) -> None:
    """A folder that others may write to is not taken, whatever lies in it."""
    place = tmp_path / "place"
    told(start(program, VPROC_UNPACK_DIR=str(place)))
    place.chmod(0o777)
    refused = start(program, VPROC_UNPACK_DIR=str(place))
    assert refused.returncode == WRONG_PLACE
    assert f"{place} belongs to somebody else, or others may write there" in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize(("option", "reason"), [("noexec", "is mounted noexec"), ("ro", "cannot be")])
def test_a_place_that_will_not_do_is_told(program: Path, tmp_path: Path, option: str, reason: str) -> None:
    """With the setting that helps; a wrong setting's exit code, so that no supervisor tries again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    refused = start(*on_its_own_disk(disk, option), program, PATH=os.environ["PATH"], VPROC_UNPACK_DIR=str(disk / "place"))
    assert refused.returncode == WRONG_PLACE
    assert reason in refused.stderr
    assert "VPROC_UNPACK_DIR" in refused.stderr


def test_the_next_place_is_taken_where_the_first_will_not_do(program: Path, tmp_path: Path) -> None:
    """A home on a disk where no program may run."""
    disk = tmp_path / "disk"
    disk.mkdir()
    within = on_its_own_disk(disk, "noexec")
    done = start(*within, program, PATH=os.environ["PATH"], XDG_CACHE_HOME=str(disk), HOME=str(tmp_path))
    told(done)
    assert [path.name[:5] for path in (tmp_path / ".cache" / "vproc").iterdir()] == ["vproc"]


def test_half_a_file_is_refused_and_leaves_nothing(program: Path, tmp_path: Path) -> None:
    """A download that broke off."""
    half = tmp_path / "half"
    half.write_bytes(program.read_bytes()[:-100])
    half.chmod(0o755)
    refused = start(half, VPROC_UNPACK_DIR=str(tmp_path / "place"))
    assert refused.returncode == WRONG_PLACE
    assert f"the whole of {half}" in refused.stderr
    assert list((tmp_path / "place").iterdir()) == []


def test_a_machine_that_cannot_run_it_is_told_what_it_takes(builder: ModuleType, tmp_path: Path) -> None:
    refused = start(build(builder, tmp_path, code=127), VPROC_UNPACK_DIR=str(tmp_path / "place"))
    assert refused.returncode == WRONG_PLACE
    assert f"it was built for {os.uname().machine} with glibc 2.36 or newer" in refused.stderr
    assert list((tmp_path / "place").iterdir()) == []


def test_certificates_are_the_machines_or_its_own(program: Path, tmp_path: Path) -> None:
    """Its OpenSSL was built to look elsewhere. Who says where keeps the word."""
    place = str(tmp_path / "place")
    certificates = told(start(program, VPROC_UNPACK_DIR=place))["certificates"]
    assert Path(certificates).read_text()
    assert told(start(program, VPROC_UNPACK_DIR=place, SSL_CERT_FILE="/mine"))["certificates"] == "/mine"
    assert told(start(program, VPROC_UNPACK_DIR=place, SSL_CERT_DIR="/mine"))["certificates"] == ""


def test_the_same_folder_makes_the_same_file(builder: ModuleType, program: Path, tmp_path: Path) -> None:
    """So that a digest says what is in it; and nothing in it tells who built it."""
    again = tmp_path / "again"
    builder.pack(tmp_path / "tree", again)
    assert again.read_bytes() == (tmp_path / "packed").read_bytes()
    with tarfile.open(again) as archive:
        entries = {entry.name: (entry.uid, entry.uname, entry.mode) for entry in archive}
    assert entries == {"bin": (0, "", 0o755), "bin/python3": (0, "", 0o755), "cacert.pem": (0, "", 0o644)}
