"""SECURITY.md: what it says holds an attempt is there under that name."""

from __future__ import annotations

import re

from tests.support.source import ROOT
from vproc.settings import Settings, variable_of

PAGE = (ROOT / "SECURITY.md").read_text()


def test_every_file_that_it_names_stands() -> None:
    named = set(re.findall(r"`((?:vproc|scripts|systemd)/[\w./-]+)`", PAGE))
    assert len(named) > 20
    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []


def test_every_setting_that_it_names_is_one() -> None:
    named = set(re.findall(r"\bVPROC_[A-Z_]+\b", PAGE))
    assert len(named) > 10
    assert named <= {variable_of(name) for name in Settings.model_fields}


def test_every_attempt_has_an_answer_and_its_place() -> None:
    """No row is without the words that say what holds; and each says where, but the one that points to a section of its own."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| ")]
    attempts = [row for row in rows if len(row) == 3 and row[0] not in {"attempt", "stolen"}]
    assert len(attempts) > 25
    assert all(attempt and answer for attempt, answer, _ in attempts)
    assert [attempt for attempt, answer, place in attempts if not place and "(#" not in answer] == []
