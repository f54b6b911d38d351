"""What a track of sound or of text tells about itself: language, title, purpose. In the words of HLS and DASH: `core.playlist`,
`core.dash`."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from vproc.core.languages import bcp47

_TITLE_CHARACTERS = 80


class TrackRole(StrEnum):
    """What a track is for, by ffmpeg's names of dispositions."""

    ORIGINAL = "original"
    DUB = "dub"
    COMMENT = "comment"
    FORCED = "forced"
    """Text for what is spoken in another language than the film's, to be shown to everybody."""
    HEARING_IMPAIRED = "hearing_impaired"
    VISUAL_IMPAIRED = "visual_impaired"
    """Sound that describes the pictures."""


@dataclass(frozen=True, slots=True)
class TrackLabel:
    """``language``: two or three lower-case letters, or None. ``title`` was given by the file's maker: any text of one line.
    ``default``: the file wants it to be chosen without being asked for."""

    language: str | None = None
    title: str | None = None
    default: bool = False
    roles: frozenset[TrackRole] = frozenset()

    @property
    def tag(self) -> str | None:
        """The language as players know it (BCP 47)."""
        return bcp47(self.language) if self.language else None

    def has(self, role: TrackRole) -> bool:
        """Whether that is what it is for."""
        return role in self.roles


def clean_title(value: object) -> str | None:
    """A maker's title as one short line without control and direction characters; None where nothing is left."""
    if not isinstance(value, str):
        return None
    kept = "".join(" " if letter.isspace() else letter for letter in value[: 8 * _TITLE_CHARACTERS])
    kept = "".join(letter for letter in kept if not unicodedata.category(letter).startswith("C"))
    return " ".join(kept.split())[:_TITLE_CHARACTERS].rstrip() or None


def track_names(labels: Sequence[TrackLabel], *, otherwise: str) -> tuple[str, ...]:
    """A name of each track in a player's menu, no two alike: its title, else its language, else ``otherwise``. Without quotation
    marks, which HLS has no way to write (RFC 8216, 4.2)."""
    names: list[str] = []
    for label in labels:
        wanted = (label.title or label.tag or otherwise).replace('"', "'")
        name, number = wanted, 1
        while name in names:
            number += 1
            name = f"{wanted} ({number})"
        names.append(name)
    return tuple(names)
