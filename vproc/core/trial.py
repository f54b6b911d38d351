"""What a container is asked at the start: a shell tells what the kernel says of it. Requests can be ignored; this is what came of
them.
"""

from __future__ import annotations

from dataclasses import dataclass

TRIAL = """while read -r line; do echo "status $line"; done </proc/self/status
while read -r line; do echo "network $line"; done </proc/net/dev
echo "files $(ulimit -n)"
( : >/vproc-trial ) 2>/dev/null && echo "root writable"
ln -s asked linked 2>/dev/null && echo "links made"
mkfifo piped 2>/dev/null && echo "links made"
read -r word <asked && echo "$word" >answered
"""
"""Of a POSIX shell, in a directory with a file ``asked``, whose line comes back in ``answered``."""

_FILTERED = "2"
_INTERFACE_MARK = ":"


@dataclass(frozen=True, slots=True)
class Trial:
    """What holds in a container. ``alone``: its root is read-only, and it has no network but its own loopback. ``seccomp``: calls
    are filtered, those that make links and pipes among them, as far as the image has programs to try it."""

    alone: bool
    rlimits: bool
    no_capabilities: bool
    no_new_privileges: bool
    seccomp: bool

    def missing(self) -> tuple[str, ...]:
        """What does not hold, in words."""
        words = {
            "a root and a network of its own": self.alone,
            "rlimits": self.rlimits,
            "no capabilities": self.no_capabilities,
            "no new privileges": self.no_new_privileges,
            "seccomp": self.seccomp,
        }
        return tuple(word for word, held in words.items() if not held)


def read_trial(said: str, *, open_files: int) -> Trial:
    """Read `TRIAL`'s words. What it does not say does not hold."""
    status: dict[str, str] = {}
    interfaces: set[str] = set()
    files, writable, links = "", False, False
    for line in said.splitlines():
        subject, _, told = line.partition(" ")
        name, mark, value = told.partition(_INTERFACE_MARK)
        if subject == "status":
            status[name] = value.strip()
        elif subject == "network" and mark:
            interfaces.add(name.strip())
        elif subject == "files":
            files = told
        elif subject == "root":
            writable = True
        elif subject == "links":
            links = True
    bounding, effective = status.get("CapBnd", "?"), status.get("CapEff", "?")
    return Trial(
        alone=not writable and interfaces <= {"lo"},
        rlimits=files == str(open_files),
        no_capabilities=not effective.strip("0") and not bounding.strip("0"),
        no_new_privileges=status.get("NoNewPrivs") == "1",
        seccomp=status.get("Seccomp") == _FILTERED and not links,
    )
