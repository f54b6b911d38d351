"""A network beside this machine's own: every port of it is free, nobody else reaches what listens there, and what is asked of
the world outside goes out through slirp4netns, as from a container without root."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RESOLVER = "10.0.2.3"
"""Answers as this machine's own resolver does (slirp4netns(1))."""
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Network:
    """``holder`` is a process that does nothing but live in it."""

    holder: int

    @property
    def path(self) -> str:
        """The namespace, as a file."""
        return f"/proc/{self.holder}/ns/net"

    def command(self, *words: object) -> list[str]:
        """The words of a command within it."""
        return ["nsenter", f"--net={self.path}", *map(str, words)]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in it, and every thread and process that it starts meanwhile."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _enter(self.path)
            yield
        finally:
            _set_namespace(before)
            os.close(before)


def _enter(path: str) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        _set_namespace(file)
    finally:
        os.close(file)


def _set_namespace(file: int) -> None:
    # Python has os.setns from 3.12 on only.
    if ctypes.CDLL(None, use_errno=True).setns(file, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def own_network(folder: Path) -> Iterator[Network]:
    """Make one, as root; it ends with the block."""
    script = "ip link set lo up && echo up && exec sleep infinity"
    with subprocess.Popen(["unshare", "--net", "sh", "-euc", script], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"up\n"
            network = Network(holder.pid)
            with _reaching_out(network, folder / "slirp4netns.log"):
                yield network
        finally:
            holder.terminate()


@contextmanager
def _reaching_out(network: Network, log: Path) -> Iterator[None]:
    reads, writes = os.pipe()
    command = ["slirp4netns", "--configure", "--disable-host-loopback", f"--ready-fd={writes}", "--netns-type=path"]
    with log.open("wb") as told, os.fdopen(reads, "rb") as ready:
        process = subprocess.Popen([*command, network.path, "tap0"], stdout=told, stderr=told, pass_fds=[writes])
        os.close(writes)
        try:
            assert ready.read(1) == b"1", log.read_text()
            yield
        finally:
            process.terminate()
            process.wait(30)
