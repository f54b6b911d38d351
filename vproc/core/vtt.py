"""WebVTT (W3C): reading what ffmpeg makes of any subtitles, and writing what may be published.

The text is a stranger's. Italics, bold and underline stay; every other mark-up that players know is taken off, and whatever else
looks like mark-up is shown as the text that it is. There are no settings, styles, regions or notes in what is written.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vproc.core.media import Chapter

MOST_CUES = 50_000
_MOST_CHARACTERS = 2000
"""Of one cue; a screen holds some two hundred."""

_TIME = r"(?:(\d{1,6}):)?([0-5]?\d):([0-5]?\d)[.,](\d{3})"
_TIMING = re.compile(rf"\s*{_TIME}[ \t]+-->[ \t]+{_TIME}(?:[ \t].*)?", re.ASCII)
_MARKUP = re.compile(r"<(/?)([A-Za-z]{1,10})?([^<>]{0,200})>")
_KEPT = frozenset({"i", "b", "u"})
_DROPPED = frozenset({"c", "v", "lang", "ruby", "rt", "font", "span", "br", "s"})
_CLOCK_TAG = re.compile(r"[\d:.]{5,}")
# What is left of a drawing in SSA: m 0 0 l 10 0 b 1 2 3 4 5 6
_DRAWING = re.compile(r"m(?: -?\d+(?:\.\d+)?){2}(?: [mnlbspc]| -?\d+(?:\.\d+)?)*")


@dataclass(frozen=True, slots=True)
class Cue:
    """A text and when it is shown, in milliseconds. ``text`` is WebVTT's cue text, of one line or several."""

    start_ms: int
    end_ms: int
    text: str


def parse_vtt(text: str) -> tuple[Cue, ...]:
    """The cues as they stand, texts not cleaned; at most `MOST_CUES`. Never raises: what is no cue is passed over.

    A block without a time goes on with the cue before it, whose text had an empty line.
    """
    cues: list[Cue] = []
    for block in re.split(r"\n{2,}", text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.split("\n")
        at = next((number for number, line in enumerate(lines[:2]) if _TIMING.fullmatch(line)), None)
        if at is not None and (match := _TIMING.fullmatch(lines[at])) is not None:
            if len(cues) == MOST_CUES:
                break
            times = match.groups()
            cues.append(Cue(_milliseconds(times[:4]), _milliseconds(times[4:]), "\n".join(lines[at + 1 :])))
        elif cues:
            last = cues[-1]
            cues[-1] = Cue(last.start_ms, last.end_ms, f"{last.text}\n{block}"[: 2 * _MOST_CHARACTERS])
    return tuple(cues)


def clean_cues(cues: Iterable[Cue], *, duration_s: float | None, shift_s: float = 0.0) -> tuple[Cue, ...]:
    """What may be published: in order, within the film, each with a text, none twice. ``shift_s`` is added to every time."""
    shift_ms = round(shift_s * 1000)
    last_ms = None if duration_s is None else int(duration_s * 1000)
    found: set[tuple[int, int, str]] = set()
    for cue in cues:
        start_ms, end_ms = max(0, cue.start_ms + shift_ms), cue.end_ms + shift_ms
        if last_ms is not None:
            end_ms = min(end_ms, last_ms)
        if start_ms < end_ms and (text := clean_text(cue.text)):
            found.add((start_ms, end_ms, text))
    return tuple(Cue(*each) for each in sorted(found))


def clean_text(text: str) -> str:
    """Cue text that any player shows as its author meant it, and nothing else."""
    parts, at = [], 0
    text = "".join(letter for letter in text[: 2 * _MOST_CHARACTERS] if letter >= " " or letter in "\n\t")
    for tag in _MARKUP.finditer(text):
        parts += [_escaped(text[at : tag.start()]), _tag(tag)]
        at = tag.end()
    parts.append(_escaped(text[at:]))
    lines = (" ".join(line.split()) for line in "".join(parts).split("\n"))
    kept = "\n".join(line for line in lines if line and not _DRAWING.fullmatch(line))
    return "" if not _bare(kept) else kept


def _tag(tag: re.Match[str]) -> str:
    closing, name, rest = tag[1], (tag[2] or "").lower(), tag[3]
    is_tag = not rest or rest[0] in "./ \t\n"
    if name in _KEPT and is_tag:
        return f"<{closing}{name}>"
    known = (name in _DROPPED and is_tag) or (not name and _CLOCK_TAG.fullmatch(rest))
    return "" if known else _escaped(tag[0])


def write_vtt(cues: Sequence[Cue]) -> str:
    """A whole file of these cues, whose texts are clean."""
    blocks = [f"{clock(cue.start_ms)} --> {clock(cue.end_ms)}\n{cue.text}\n" for cue in cues]
    return "\n".join(["WEBVTT\n", *blocks])


def clock(milliseconds: int) -> str:
    """``01:02:03.004``."""
    seconds, millis = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{millis:03}"


def chapters_vtt(chapters: Iterable[Chapter]) -> str:
    """A file of kind ``chapters``: a cue for each, with its title or its number; its mark-up is text."""
    cues = []
    for number, chapter in enumerate(chapters, 1):
        start_ms, end_ms = round(chapter.start_s * 1000), round(chapter.end_s * 1000)
        if start_ms < end_ms:
            cues.append(Cue(start_ms, end_ms, _escaped(" ".join((chapter.title or f"Chapter {number}").split()))))
    return write_vtt(cues)


def _escaped(text: str) -> str:
    return html.escape(html.unescape(text), quote=False)


def _bare(text: str) -> str:
    """What is seen of it."""
    return re.sub(r"</?[ibu]>|\s|&nbsp;", "", text)


def _milliseconds(parts: Sequence[str | None]) -> int:
    hours, minutes, seconds, millis = (int(part or 0) for part in parts)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis
