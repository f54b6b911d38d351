"""Children in containers: the guard that ends one with its daemon, what its end says, whose it is, where its directory lies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

LABEL = "vproc.daemon"
"""The label of every container of ours: the daemon that made it."""
RUN_LABEL = "vproc.run"
_BOOT, _PID, _CONTAINER = "vproc.boot", "vproc.pid", "vproc.container"
NOT_FOUND_CODE = 127
"""The shell's, for a program that there is not."""
_SHELL_SIGNAL = 128
_SIGNALS = range(1, 32)
_MARK = "vproc-guard"

# The engine goes on with a container whose daemon has died, and ffmpeg reads nothing that would tell it. So a shell stands
# between, and reads what ends with the daemon, however it does: the connection that is its standard input; or, where that is
# the child's, a pipe whose other end the daemon holds. TERM is for the child, and the code is the child's. Last comes what it
# used, as only a parent can tell.
_HEAD = """nonce=$1; lifeline=$2; shift 2
command -v "$1" >/dev/null || { echo "$1: not found" >&2; exit 127; }
exec 3<&0 </dev/null
trap 'kill -TERM $child 2>/dev/null' TERM
"""
_ALONE = """"$@" 3<&- &
child=$!
{ read -r _; kill -KILL $child 2>/dev/null; } <&3 >/dev/null 2>&1 &
"""
_FED = """"$@" <&3 3<&- &
child=$!
{ read -r _; kill -KILL $child 2>/dev/null; } 3<&- >/dev/null 2>&1 <"$lifeline" &
"""
_TAIL = """exec 3<&-
while :; do wait $child 2>/dev/null; code=$?; kill -0 $child 2>/dev/null || break; done
printf '\\nvproc-guard %s ' "$nonce" >&2
times >&2
exit $code
"""
_TIMES = re.compile(r"(\d+)m(\d+(?:[.,]\d+)?)s")


def guarded(argv: Sequence[str], *, nonce: str, lifeline: str | None) -> tuple[str, ...]:
    """The command line of a container that runs ``argv`` and ends with whoever holds the other end of its standard input. Where
    that input is the child's own, ``lifeline`` is a named pipe in its directory that ends likewise. It takes a POSIX shell as
    ``/bin/sh``."""
    script = _HEAD + (_ALONE if lifeline is None else _FED) + _TAIL
    return ("/bin/sh", "-c", script, "vproc", nonce, lifeline or "", *argv)


@dataclass(frozen=True, slots=True)
class GuardedEnd:
    """How a guarded child ended. ``returncode`` is negative for a signal; ``cpu_s`` None where the guard told nothing, since it
    was killed itself or never started the child."""

    returncode: int
    stderr: str
    cpu_s: float | None


def read_end(code: int, stderr: str, *, nonce: str) -> GuardedEnd:
    """Tell the child's own words from the guard's."""
    said, mark, told = stderr.rpartition(f"\n{_MARK} {nonce} ")
    signal = code - _SHELL_SIGNAL
    returncode = -signal if signal in _SIGNALS else code
    if not mark:
        return GuardedEnd(returncode, stderr, None)
    # Of the shell itself, and of its children: user and system each.
    times = [int(minutes) * 60 + float(seconds.replace(",", ".")) for minutes, seconds in _TIMES.findall(told)]
    return GuardedEnd(returncode, said, sum(times[2:4]))


class Fate(Enum):
    """What can be told of a daemon by its containers' labels."""

    LIVES = "lives"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Owner:
    """A daemon, as its containers' labels name it. ``boot``: of the kernel. ``pid`` is its number and its start in clock ticks,
    in the namespace ``pids``; ``container``: the id of the container that it runs in, empty outside of any."""

    daemon: str
    boot: str
    pids: str
    pid: str
    container: str

    def labels(self) -> dict[str, str]:
        """What its containers say of it."""
        return {LABEL: self.daemon, _BOOT: self.boot, _PID: f"{self.pids} {self.pid}", _CONTAINER: self.container}

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Owner:
        """Whose a container is."""
        pids, _, pid = labels.get(_PID, "").partition(" ")
        return cls(labels.get(LABEL, ""), labels.get(_BOOT, ""), pids, pid, labels.get(_CONTAINER, ""))


def judge(owner: Owner, own: Owner, *, pid_lives: bool, container_runs: bool) -> Fate:
    """Whether a container's daemon still lives, seen from another daemon of the same engine. ``pid_lives``: the process of that
    number and start runs here; ``container_runs``: so does the container that it ran in. Neither proves anything where the
    namespaces differ."""
    if owner.daemon == own.daemon:
        return Fate.LIVES
    if not owner.boot or not owner.pids:
        return Fate.UNKNOWN
    if owner.boot != own.boot:
        return Fate.DEAD
    if owner.pids == own.pids:
        return Fate.LIVES if pid_lives else Fate.DEAD
    if not owner.container:
        return Fate.UNKNOWN
    # A container that was started again has new namespaces: ours has, so whoever was in it before us is dead.
    return Fate.LIVES if container_runs and owner.container != own.container else Fate.DEAD


_IN_MOUNTS = re.compile(r"/(?:overlay-)?containers/([0-9a-f]{64})/")


def own_container_id(mountinfo: str) -> str | None:
    """The id of the container that a process runs in, by ``/proc/self/mountinfo``: an engine mounts files from the folder that it
    keeps for it (``/etc/hostname``). None outside of containers, and in those of other makers."""
    for line in mountinfo.splitlines():
        fields = line.split()
        if len(fields) > 4 and fields[4] in {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}:  # noqa: PLR2004 - proc(5): the mount point
            found = _IN_MOUNTS.search(fields[3])
            if found:
                return found.group(1)
    return None


def outside_path(path: str, mounts: Iterable[tuple[str, str]]) -> str | None:
    """Where the engine has what a container sees at ``path``, by its mounts (source, target); None where that lies in none."""
    inside = PurePosixPath(path)
    around = [(PurePosixPath(target), source) for source, target in mounts if inside.is_relative_to(target)]
    if not around:
        return None
    target, source = max(around, key=lambda mount: len(mount[0].parts))
    return str(PurePosixPath(source) / inside.relative_to(target))
