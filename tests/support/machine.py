"""A machine with a systemd of its own, booted from a tree. It shares this machine's network, and ends with its block."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster import until
from tests.support.source import ROOT, committed
from tests.support.tree import run

PACKAGES = ("curl", "dbus", "procps", "python3", "python3-venv", "sudo", "systemd", "systemd-sysv")
BOOTS_WITHIN_S = 60
# nspawn's own list of system calls is older than Landlock.
_LANDLOCK = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Machine:
    """``leader`` is the process of its systemd, as this machine counts."""

    tree: Path
    leader: int

    def command(self, *words: object) -> list[str]:
        """The words of a command within it, as root."""
        enter = ("nsenter", "-t", self.leader, "-m", "-u", "-i", "-p", "-r", "-w", "env", "-i", f"PATH={_PATH}")
        return [str(word) for word in (*enter, *words)]

    def run(self, *words: object, within_s: float = 300) -> str:
        """Run one that must succeed; what it prints."""
        return run(*self.command(*words), within_s=within_s)

    def type(self, script: str, *, folder: str = "/root", within_s: float = 300) -> str:
        """Type a page's commands in a folder, as they stand there; they must succeed. What they print."""
        return self.run("bash", "-euo", "pipefail", "-c", f"cd {folder}\n{script}", within_s=within_s)

    def tried(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run one that may fail."""
        return subprocess.run(self.command(*words), check=False, capture_output=True, text=True, timeout=300)

    def shown(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit."""
        lines = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names)).splitlines()
        return dict(line.split("=", 1) for line in lines)

    def write(self, path: str, text: str, mode: int = 0o640) -> None:
        """A file within it."""
        file = self.tree / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)


def put_checkout(tree: Path, at: str) -> None:
    """The files of this tree that are committed, as a clone has them."""
    for file in committed():
        target = tree / at.lstrip("/") / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)


@contextmanager
def booted(tree: Path, log: Path) -> Iterator[Machine]:
    """Boot it, until its systemd has nothing left to start."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *("systemd-nspawn", "-D", str(tree), "--register=no", "--keep-unit", "--console=pipe"),
                "--resolv-conf=off",
                *(f"--system-call-filter={_LANDLOCK}", "-b"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        leader, _ = until(lambda: int((children.read_text().split() or ["0"])[0]), within_s=BOOTS_WITHIN_S, what="the boot")
        machine = Machine(tree, leader)
        until(
            lambda: machine.tried("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"},
            within_s=BOOTS_WITHIN_S,
            what="all units",
        )
        yield machine
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
