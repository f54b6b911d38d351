"""The generations of ffmpeg that the tests run over: the system's (Debian's 5.1), the static pair of one Python package (8.1),
and the ffmpeg of another one that has no ffprobe beside it (9.0). A test of `tests/ffmpeg` runs once with each; which one it is
with, `in_use` tells.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from vproc.core.capabilities import QUERIES, TEN_BIT_QUERIES, Capabilities, read_capabilities
from vproc.workers import ffmpeg as chooser
from vproc.workers.ffmpeg import PairSource, ToolPair


@dataclass(frozen=True, slots=True)
class Tools:
    """An ffmpeg with its ffprobe, by their paths."""

    ffmpeg: str
    ffprobe: str

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, as the daemon would know it."""
        return _capabilities(self.ffmpeg)

    @property
    def name(self) -> str:
        """``ffmpeg5``, ``ffmpeg8``: by what it says itself."""
        return f"ffmpeg{self.capabilities.generation}"

    @property
    def pair(self) -> ToolPair:
        """As the daemon holds it."""
        return ToolPair(self.ffmpeg, self.ffprobe, PairSource.SETTING, self.capabilities)


@cache
def _capabilities(ffmpeg: str) -> Capabilities:
    queries = [(query, [query]) for query in QUERIES] + [(name, ["-h", f"encoder={name}"]) for name in TEN_BIT_QUERIES]
    told = {
        key: subprocess.run([ffmpeg, "-hide_banner", *words], check=True, capture_output=True, text=True).stdout
        for key, words in queries
    }
    found = read_capabilities(told)
    assert found is not None, f"{ffmpeg} is no ffmpeg"
    return found


def _packaged() -> Tools:
    carried = chooser._carried()
    assert carried is not None, f"{chooser.PACKAGE} is not installed: make setup"
    return Tools(*carried)


def _lone() -> Tools:
    lone = chooser._lone()
    assert lone is not None, f"{chooser.LONE_PACKAGE} is not installed: make setup"
    return Tools(lone, PACKAGED.ffprobe)


SYSTEM = Tools(shutil.which("ffmpeg") or "/usr/bin/ffmpeg", shutil.which("ffprobe") or "/usr/bin/ffprobe")
PACKAGED = _packaged()
LONE = _lone()
GENERATIONS = (SYSTEM, PACKAGED, LONE)
"""All are tested. One that is missing is a failure of every test that it should run."""

_in_use = [SYSTEM]


def in_use() -> Tools:
    """The pair that this test is about; the system's where it is about none."""
    return _in_use[-1]


@contextmanager
def using(tools: Tools) -> Iterator[Tools]:
    """Within the block `in_use` is ``tools``."""
    _in_use.append(tools)
    try:
        yield tools
    finally:
        _in_use.pop()
