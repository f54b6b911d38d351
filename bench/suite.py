"""The measurements that compare arms: which arms each takes, what must hold of them, and how its section of the results reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.arms import TEN, Arm, bare, job, peer, ten, transfer, usual
from bench.goals import Figure, Goal, arms_table, goal_lines, rounds_table
from bench.results import machine
from bench.rounds import Measured
from bench.usual import Packaging, system_version

LIMITS_MB_PER_S = (10, 50)

# In this order in a round: what is compared stands close together.
ARMS: Mapping[str, Arm] = {
    "peer": peer("mix"),
    "vproc": job("abr", "mix"),
    "bare": bare("mix"),
    "vproc-50": job("abr", "mix", mb_per_s=50),
    "down-50": transfer("down", mb_per_s=50),
    "up-50": transfer("up", mb_per_s=50),
    "down-10": transfer("down", mb_per_s=10),
    "up-10": transfer("up", mb_per_s=10),
    "vproc-10": job("abr", "mix", mb_per_s=10),
    "usual": usual(Packaging.COPY, "mix", mb_per_s=10),
    "usual-anew": usual(Packaging.REENCODE, "mix", mb_per_s=10),
    "usual-conforming": usual(Packaging.COPY, "conforming", mb_per_s=10),
    "conforming-10": job("abr", "conforming", mb_per_s=10),
    "conforming": job("abr", "conforming"),
    "peer-conforming": peer("conforming"),
    "mp4": job("mp4", "mix"),
    "copy": job("copy", "mix"),
    "ten": ten,
    "ten-bare": bare("short", times=TEN),
}

_ARM_TEXTS = {
    "peer": "shaka-streamer, local files",
    "vproc": "vproc, event to completed",
    "bare": "one bare ffmpeg, local files",
    "vproc-50": "vproc, store at 50 MB/s",
    "down-50": "download alone at 50 MB/s",
    "up-50": "upload alone at 50 MB/s",
    "down-10": "download alone at 10 MB/s",
    "up-10": "upload alone at 10 MB/s",
    "vproc-10": "vproc, store at 10 MB/s",
    "usual": "the usual way, packaging copies, store at 10 MB/s",
    "usual-anew": "the usual way, packaging re-encodes, store at 10 MB/s",
    "usual-conforming": "the usual way, packaging copies, conforming source, store at 10 MB/s",
    "conforming-10": "vproc, conforming source, store at 10 MB/s",
    "conforming": "vproc, conforming source",
    "peer-conforming": "shaka-streamer, conforming source, local files",
    "mp4": "profile `mp4`",
    "copy": "profile `copy`",
    "ten": "vproc with a job for each core, ten jobs in the queue",
    "ten-bare": "ten bare runs of ffmpeg, one after another",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measurement: its section's title, what is told of it, its goals."""

    title: str
    text: str
    goals: tuple[Goal, ...]

    @property
    def arms(self) -> list[str]:
        """The arms that its goals speak of, in a round's order."""
        used = {figure.arm for goal in self.goals for figure in (goal.figure, *goal.over)}
        return [name for name in ARMS if name in used]


_SAME = "The bare ffmpeg is the daemon's own command, seen in the table of processes: same program, arguments and priority."

COMPARISONS: Mapping[str, Comparison] = {
    "wall": Comparison(
        "Against one bare ffmpeg",
        f"Profile `abr`, the store without a limit. {_SAME}",
        (
            Goal("Wall, vproc over the bare ffmpeg", Figure("vproc"), (Figure("bare"),), bound=1.05, digits=3),
            Goal("CPU, likewise", Figure("vproc", "cpu_s"), (Figure("bare", "cpu_s"),), bound=1.03, digits=3),
        ),
    ),
    "naive": Comparison(
        "Against the usual way",
        "Profile `abr`; the usual way is `bench/usual.py`, with the system's ffmpeg {system}, the same rungs, preset and caps.",
        (
            Goal("The usual way over vproc, packaging copies", Figure("usual"), (Figure("vproc-10"),), 2, at_most=False),
            Goal("Likewise, packaging re-encodes", Figure("usual-anew"), (Figure("vproc-10"),), 4, at_most=False),
            Goal(
                "Likewise, packaging copies, conforming source",
                Figure("usual-conforming"),
                (Figure("conforming-10"),),
                bound=3,
                at_most=False,
            ),
        ),
    ),
    "shaka": Comparison(
        "Against shaka-streamer",
        "Profile `abr`, the store without a limit; the peer, from a local file to local files, with the daemon's ffmpeg, the "
        "same rungs, preset and caps (`bench/peer.py`); it makes no pictures. Its wall ends with its last file.",
        (
            Goal("shaka-streamer over vproc", Figure("peer"), (Figure("vproc"),), 1, at_most=False),
            Goal("Likewise, conforming source", Figure("peer-conforming"), (Figure("conforming"),), 1.8, at_most=False),
        ),
    ),
    "limits": Comparison(
        "Against the slowest of its parts",
        f"Profile `abr`, the store's line limited in each direction; the parts are download, encode, upload, each alone. {_SAME}",
        tuple(
            Goal(
                f"Wall over the greatest part at {limit} MB/s",
                Figure(f"vproc-{limit}"),
                (Figure("bare"), Figure(f"down-{limit}"), Figure(f"up-{limit}")),
                bound=1.1,
                digits=3,
            )
            for limit in LIMITS_MB_PER_S
        ),
    ),
    "first": Comparison(
        "The first segment",
        "Profile `abr`, the store without a limit: until the first media segment of the lowest rung stands in the bucket.",
        (Goal("From the event", Figure("vproc", "first_s"), bound=3, unit="s"),),
    ),
    "own_cpu": Comparison(
        "The daemon's own processor time",
        "Profile `abr`, the store without a limit: the daemon's process without its children, of all that the job took.",
        (Goal("Its share", Figure("vproc", "own_cpu_s"), (Figure("vproc", "cpu_s"),), bound=3, unit="%"),),
    ),
    "copy": Comparison(
        "Repackaging",
        "The encode stage of the same file, as the daemon tells it of both profiles.",
        (Goal("`mp4` over `copy`", Figure("mp4", "encode_s"), (Figure("copy", "encode_s"),), 80, at_most=False, digits=0),),
    ),
    "ten": Comparison(
        "Ten jobs",
        f"Profile `abr`, a clip of a fifth of the length ten times: from the first event to the last `completed`. {_SAME}",
        (Goal("Throughput, over ten bare runs in a row", Figure("ten-bare"), (Figure("ten"),), 1, at_most=False, digits=3),),
    ),
}


def comparison_lines(comparison: Comparison, measured: Measured, *, seconds: float) -> list[str]:
    """The section of one comparison."""
    text = comparison.text.replace("{system}", system_version())
    return [
        *machine(measured.ffmpeg),
        f"{text} 1080p30 of {seconds:g} s with sound, {len(measured.rounds)} rounds.",
        "",
        *goal_lines(comparison.goals, measured.rounds),
        *arms_table(measured.rounds, {name: _ARM_TEXTS[name] for name in comparison.arms}),
        "",
        *rounds_table(measured.conditions),
    ]


def arms_of(names: Sequence[str]) -> dict[str, Arm]:
    """The arms of all these comparisons, each once, in a round's order."""
    used = {arm for name in names for arm in COMPARISONS[name].arms}
    return {name: arm for name, arm in ARMS.items() if name in used}
