"""Single values out of ffprobe's JSON, which a hostile file may shape: each is None where it makes no sense."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

_MAX_S = 10**8
_MAX_INT = 2**53
_WORD = re.compile(r"[A-Za-z0-9_.() :+/-]{1,64}")

Entry = Mapping[str, Any]


def entry(value: object) -> Entry:
    """A JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def entries(value: object) -> list[Entry]:
    """The objects of a JSON list; none for anything else."""
    return [entry(item) for item in value] if isinstance(value, list) else []


def flag(stream: Entry, name: str) -> bool:
    """A disposition of a stream."""
    return entry(stream.get("disposition")).get(name) == 1


def word(value: object) -> str | None:
    """A short text of harmless characters."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def tag(stream: Entry, name: str) -> str | None:
    """A word that is not ffprobe's way to say that nobody knows."""
    value = word(stream.get(name))
    return None if value in {"unknown", "unspecified", "reserved"} else value


def codec(stream: Entry) -> str | None:
    """The codec that ffprobe recognised."""
    name = word(stream.get("codec_name"))
    return None if name in {None, "unknown", "none"} else name


def number(value: object) -> float | None:
    """A finite number, also out of a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def integer(value: object) -> int | None:
    """A number from 0 on, without its fraction, that JSON carries exactly."""
    found = number(value)
    return int(found) if found is not None and 0 <= found <= _MAX_INT else None


def seconds(value: object) -> float | None:
    """A time within three years of zero."""
    found = number(value)
    return found if found is not None and abs(found) <= _MAX_S else None


def duration(value: object) -> float | None:
    """A time above zero."""
    found = seconds(value)
    return found if found is not None and found > 0 else None


def fraction(value: object, *, separator: str = "/") -> Fraction | None:
    """A positive fraction as ffprobe writes it; None for ``0/0``, ``N/A`` and nonsense."""
    if not isinstance(value, str):
        return None
    match = re.fullmatch(rf"(\d{{1,10}}){separator}(\d{{1,10}})", value, re.ASCII)
    if match is None or not int(match[1]) or not int(match[2]):
        return None
    return Fraction(int(match[1]), int(match[2]))
