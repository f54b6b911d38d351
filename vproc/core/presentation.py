"""What a player is given to play: the packaged tracks of one file, that the HLS and the DASH manifest describe alike."""

from __future__ import annotations

from dataclasses import dataclass, field

from vproc.core.fmp4 import TrackIndex
from vproc.core.labels import TrackLabel

TRICK_RUNGS = 2
"""As many rungs, the smallest, are offered for scrubbing: a thumbnail needs no large picture."""


@dataclass(frozen=True, slots=True)
class Rendition:
    """A packaged track of picture or sound. The URIs are relative to the manifest that names them.

    ``media_template`` is DASH's: ``run/v720/seg-$Number%05d$.m4s``, numbers from 1. ``video_range``: ``SDR``, ``PQ`` or ``HLG``.
    ``iframes_uri``: its playlist of key frames, None where there is none.
    """

    name: str
    index: TrackIndex
    playlist_uri: str
    init_uri: str
    media_template: str
    label: TrackLabel = field(default_factory=TrackLabel)
    video_range: str = "SDR"
    iframes_uri: str | None = None


@dataclass(frozen=True, slots=True)
class CaptionRendition:
    """A WebVTT file with a playlist of its own for HLS; ``file_uri`` is the file itself, for DASH."""

    name: str
    playlist_uri: str
    file_uri: str
    size_bytes: int
    duration_s: float
    label: TrackLabel = field(default_factory=TrackLabel)

    @property
    def bps(self) -> int:
        """Its bits a second, rounded up."""
        return -(-self.size_bytes * 8_000 // max(1, round(self.duration_s * 1000)))


@dataclass(frozen=True, slots=True)
class Presentation:
    """All of it: one video at least, largest first; the main sound first."""

    videos: tuple[Rendition, ...]
    sounds: tuple[Rendition, ...] = ()
    captions: tuple[CaptionRendition, ...] = ()

    @property
    def duration_s(self) -> float:
        """How long the longest track of picture or sound is shown."""
        return max(track.index.shown_s for track in (*self.videos, *self.sounds))
