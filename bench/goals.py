"""Goals: ratios within one round of interleaved runs, judged by their median. Pure.

A round is what every arm took, one after another: ``{"bare": {"wall_s": 20.1, "cpu_s": 39.0}, "vproc": {...}}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.figures import Conditions, spread

Figures = Mapping[str, float]
Round = Mapping[str, Figures]
_PER_CENT = 100
TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one arm. With ``times`` it is multiplied by a constant."""

    arm: str
    name: str = "wall_s"
    times: float = 1.0

    def of(self, measured: Round) -> float:
        """Its value in a round."""
        return measured[self.arm][self.name] * self.times


@dataclass(frozen=True, slots=True)
class Goal:
    """What must hold of a figure, or of a figure over the greatest of several others.

    ``unit`` is how it reads: `TIMES`, ``%`` (of the ratio), ``s``.
    """

    text: str
    figure: Figure
    over: tuple[Figure, ...] = ()
    bound: float = 1.0
    at_most: bool = True
    unit: str = TIMES
    digits: int = 2

    def values(self, rounds: Sequence[Round]) -> list[float]:
        """One for each round: what is divided was measured in the same round."""
        scale = _PER_CENT if self.unit == "%" else 1
        return [
            scale * self.figure.of(measured) / (max(other.of(measured) for other in self.over) if self.over else 1)
            for measured in rounds
        ]

    def held(self, rounds: Sequence[Round]) -> bool:
        """Whether the median of the rounds is within the bound."""
        value = median(self.values(rounds))
        return value <= self.bound if self.at_most else value >= self.bound

    def line(self, rounds: Sequence[Round]) -> str:
        """The verdict, with every round's value."""
        values = self.values(rounds)
        wanted = f"{'≤' if self.at_most else '≥'} {self.bound:g} {self.unit}".rstrip()
        each = ", ".join(f"{value:.{self.digits}f}" for value in values)
        verdict = "held" if self.held(rounds) else "NOT held"
        return (
            f"**{self.text}: {spread(values, self.unit, digits=self.digits)}; goal {wanted}: {verdict}.** Round by round: {each}."
        )


_SECONDS = {"wall_s": "wall", "cpu_s": "CPU"}


def arms_table(rounds: Sequence[Round], arms: Mapping[str, str]) -> list[str]:
    """What each arm took; ``arms`` maps its name to how it reads."""
    lines = ["| | wall | CPU, with all children |", "|---|---|---|"]
    for arm, text in arms.items():
        cells = [
            spread([measured[arm][name] for measured in rounds], "s", digits=2) if name in rounds[0][arm] else ""
            for name in _SECONDS
        ]
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return lines


def rounds_table(conditions: Sequence[Conditions]) -> list[str]:
    """What went on beside each round."""
    return [
        "| round | load average before | taken by others | stolen by the host |",
        "|---|---|---|---|",
        *(
            f"| {number} | {beside.load:.1f} | {beside.others:.0%} | {beside.stolen:.1%} |"
            for number, beside in enumerate(conditions, 1)
        ),
    ]


def goal_lines(goals: Sequence[Goal], rounds: Sequence[Round]) -> list[str]:
    """The verdicts, each a paragraph."""
    return [line for goal in goals for line in (goal.line(rounds), "")]
