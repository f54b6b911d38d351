"""Captions and chapters out of ffprobe's answer, and what tracks tell of themselves."""

from __future__ import annotations

from collections.abc import Sequence

from vproc.core.captions import MOST_CAPTIONS, TEXT_CODECS
from vproc.core.entries import Entry, codec, entries, entry, flag, integer, seconds
from vproc.core.labels import TrackLabel, TrackRole, clean_title
from vproc.core.languages import language_code
from vproc.core.media import CaptionStream, Chapter

LABEL_DISPOSITIONS = ",".join(TrackRole)
LABEL_TAGS = "language,title,name"
CHAPTERS = "chapter=start_time,end_time:chapter_tags=title"
"""What ffprobe is asked for, in its own words."""

MOST_CHAPTERS = 500


def read_label(stream: Entry) -> TrackLabel:
    """What a track tells of itself. Since version 7 ffmpeg calls the title of an MP4's track its name."""
    tags = entry(stream.get("tags"))
    return TrackLabel(
        language=language_code(tags.get("language")),
        title=clean_title(tags.get("title")) or clean_title(tags.get("name")),
        default=flag(stream, "default"),
        roles=frozenset(role for role in TrackRole if flag(stream, role.value)),
    )


def read_captions(streams: Sequence[Entry]) -> tuple[CaptionStream, ...]:
    """Subtitles made of text, in the file's order."""
    found = [
        CaptionStream(index, name, read_label(stream))
        for stream in streams
        if stream.get("codec_type") == "subtitle"
        if (index := integer(stream.get("index"))) is not None and (name := codec(stream)) in TEXT_CODECS
    ]
    return tuple(found[:MOST_CAPTIONS])


def read_chapters(listed: object, *, start_s: float, duration_s: float | None) -> tuple[Chapter, ...]:
    """The chapters in order, in seconds from the file's start and none beyond its end. One without an end goes on to the next."""
    found: list[Chapter] = []
    for each in entries(listed)[:MOST_CHAPTERS]:
        begin, end = seconds(each.get("start_time")), seconds(each.get("end_time"))
        if begin is None:
            continue
        begin = max(0.0, begin - start_s)
        end = begin if end is None else end - start_s
        found.append(Chapter(begin, end, clean_title(entry(each.get("tags")).get("title"))))
    found.sort(key=lambda chapter: chapter.start_s)
    found = [chapter for chapter in found if duration_s is None or chapter.start_s < duration_s]
    following = [*(chapter.start_s for chapter in found[1:]), duration_s]
    return tuple(_ended(chapter, after, duration_s) for chapter, after in zip(found, following, strict=False))


def _ended(chapter: Chapter, after_s: float | None, duration_s: float | None) -> Chapter:
    end_s = chapter.end_s
    if end_s <= chapter.start_s:
        end_s = after_s if after_s is not None and after_s > chapter.start_s else chapter.start_s
    return Chapter(chapter.start_s, end_s if duration_s is None else min(end_s, duration_s), chapter.title)
