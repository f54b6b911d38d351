"""Filter graphs taken apart: which labels are written and which are read."""

from __future__ import annotations

import re
from collections import Counter

_LABELS = re.compile(r"^((?:\[[^\]]+\])*)(.*?)((?:\[[^\]]+\])*)$", re.DOTALL)


def labels(graph: str) -> tuple[Counter[str], Counter[str]]:
    """How often each label is written, and how often it is read."""
    written: Counter[str] = Counter()
    read: Counter[str] = Counter()
    for chain in _split(graph):
        found = _LABELS.match(chain)
        assert found is not None
        read.update(re.findall(r"\[([^\]]+)\]", found[1]))
        written.update(re.findall(r"\[([^\]]+)\]", found[3]))
    return written, read


def _split(graph: str) -> list[str]:
    """The chains: semicolons outside quotes end them."""
    chains, quoted = [""], False
    for letter in graph:
        quoted ^= letter == "'"
        if letter == ";" and not quoted:
            chains.append("")
        else:
            chains[-1] += letter
    return chains
