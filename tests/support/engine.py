"""A container engine that only the test knows: its socket, its images and its containers lie in one folder, its bridge and its
rules in a network of their own, and all of it ends with it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from tests.support.cluster import until
from tests.support.documents import script_of
from tests.support.network import RESOLVER, Network
from tests.support.source import ROOT
from tests.support.tree import make_tree, run

IMAGE = "vproc"
BASE = re.compile(r"^FROM (debian:(\w+)-slim)", re.MULTILINE)
GATEWAY = "172.17.0.1"
"""Where a container on the bridge finds what listens in the network."""
BUILT_WITHIN_S = 900


@dataclass
class Container:
    """A container that was started detached."""

    engine: Engine
    name: str

    def told(self, template: str) -> Any:
        """What the engine knows of it, by a template of its own."""
        return json.loads(self.engine.docker("inspect", "--format", "{{json " + template + "}}", self.name))

    def logs(self) -> str:
        """Both outputs so far."""
        done = subprocess.run(self.engine.command("logs", self.name), check=True, capture_output=True, text=True)
        return done.stdout + done.stderr

    def stop(self) -> float:
        """As `docker stop` does it; the seconds that it took. What does not end in ten is killed."""
        begun = monotonic()
        self.engine.docker("stop", self.name)
        return monotonic() - begun


@dataclass(frozen=True)
class Engine:
    """The engine's client. What it starts is in ``network``, or on a bridge in there."""

    folder: Path
    network: Network

    @property
    def address(self) -> str:
        """Where the client finds it, whatever network that is in."""
        return f"unix://{self.folder}/docker.sock"

    def command(self, *words: object) -> list[str]:
        """The words of a client's command."""
        return ["docker", "-H", self.address, *map(str, words)]

    def typed(self, script: str, folder: Path) -> subprocess.Popen[str]:
        """Begin to type a page's commands in a folder, as they stand there."""
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=os.environ | {"DOCKER_HOST": self.address},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def type(self, script: str, folder: Path, *, within_s: float = 120) -> str:
        """Type a page's commands, which must succeed; what they print."""
        with self.typed(script, folder) as shell:
            out, err = shell.communicate(timeout=within_s)
        assert shell.returncode == 0, f"{script}\n{out[-3000:]}\n{err[-3000:]}"
        return out

    def docker(self, *words: object, within_s: float = 120) -> str:
        """Run one that must succeed; what it prints."""
        return run(*self.command(*words), within_s=within_s)

    def build(self) -> None:
        """The image, as its page says, over a base of Debian's packages under the very name that the Dockerfile asks for."""
        found = BASE.search((ROOT / "Dockerfile").read_text())
        assert found is not None
        base, suite = found.groups()
        tree = make_tree(self.folder / "tree", suite)
        with subprocess.Popen(["tar", "-C", str(tree), "-c", "."], stdout=subprocess.PIPE) as packed:
            subprocess.run(self.command("import", "-", base), stdin=packed.stdout, check=True, capture_output=True)
        self.type(script_of("docs/how-to/run-in-a-container.md#run-it-in-a-container"), ROOT, within_s=BUILT_WITHIN_S)

    @contextmanager
    def running(self, *words: object, options: tuple[object, ...] = (), **environment: str) -> Iterator[Container]:
        """A container of the image in the network itself, removed at the end."""
        settings = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        name = self.docker("run", "--detach", "--network=host", *settings, *options, IMAGE, *words).strip()
        try:
            yield Container(self, name)
        finally:
            self.docker("rm", "--force", "--volumes", name)


@contextmanager
def running_engine(folder: Path, network: Network) -> Iterator[Engine]:
    """Start one in that folder and that network; ended with the block."""
    engine = Engine(folder, network)
    with (folder / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(
            network.command(
                # What it mounts goes with it.
                *("unshare", "--mount"),
                *("dockerd", "-H", engine.address, "--data-root", f"{folder}/data", "--dns", RESOLVER),
                f"--bip={GATEWAY}/16",
                *("--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/dockerd.pid"),
            ),
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: subprocess.run(engine.command("version"), check=False, capture_output=True).returncode == 0,
              within_s=60, what="the engine")  # fmt: skip
        yield engine
    finally:
        process.terminate()
        process.wait(60)
