"""What a media file holds, as values, and whether that is within the limits. Nothing here reads or parses: see `core.probe`."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from vproc.core.container import Container
from vproc.core.labels import TrackLabel
from vproc.errors import ErrorCode, RejectedError

_MIN_SIDE_PX = 16
"""A macroblock: encoders refuse less."""
_MAX_SIDE_PX = 16384
"""x264's own bound."""


@dataclass(frozen=True, slots=True)
class MasteringDisplay:
    """The display that HDR was graded on (SMPTE ST 2086): x and y of red, green, blue and white, and its light in cd/m²."""

    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]
    white: tuple[float, float]
    most_nits: float
    least_nits: float


@dataclass(frozen=True, slots=True)
class DolbyVision:
    """Its configuration record. ``compatible``: what the base layer is by itself: 0 nothing, 1 HDR10, 2 SDR, 4 HLG, 6 Blu-ray.
    ``has_base``: the stream holds the base layer; without, it is an enhancement of another."""

    profile: int
    compatible: int
    has_base: bool = True


@dataclass(frozen=True, slots=True)
class VideoStream:
    """The video that is processed.

    ``width`` x ``height`` are coded; ``display_width`` x ``display_height`` are what a viewer sees, in square pixels and
    after rotation. ``rotation`` in degrees counter-clockwise as ffprobe tells it, of no sense where ``mirrored``.
    ``end_s`` counts from the file's own start. ``fps`` is the average rate, ``base_fps`` the finest grid that the timestamps
    fall on; None where unknown. ``max_cll_nits`` and ``max_fall_nits``: the brightest sample and the brightest picture's mean.
    """

    index: int
    codec: str
    width: int
    height: int
    display_width: int
    display_height: int
    profile: str | None = None
    rotation: int = 0
    mirrored: bool = False
    sar: Fraction = Fraction(1)
    pix_fmt: str | None = None
    bit_depth: int = 8
    fps: Fraction | None = None
    base_fps: Fraction | None = None
    nb_frames: int | None = None
    field_order: str | None = None
    color_range: str | None = None
    color_space: str | None = None
    color_transfer: str | None = None
    color_primaries: str | None = None
    mastering: MasteringDisplay | None = None
    max_cll_nits: int | None = None
    max_fall_nits: int | None = None
    dolby_vision: DolbyVision | None = None
    bitrate_bps: int | None = None
    start_s: float = 0.0
    end_s: float | None = None

    @property
    def interlaced(self) -> bool:
        """The container or codec says so."""
        return self.field_order in {"tt", "bb", "tb", "bt"}

    @property
    def short_side_px(self) -> int:
        """The ``p`` of "1080p": the shorter displayed side."""
        return min(self.display_width, self.display_height)


@dataclass(frozen=True, slots=True)
class AudioStream:
    """A sound track. ``end_s`` counts from the file's own start."""

    index: int
    codec: str
    channels: int
    sample_rate: int
    label: TrackLabel = field(default_factory=TrackLabel)
    profile: str | None = None
    bitrate_bps: int | None = None
    start_s: float = 0.0
    end_s: float | None = None

    @property
    def language(self) -> str | None:
        """Two or three lower-case letters, or None."""
        return self.label.language

    @property
    def default(self) -> bool:
        """The file wants it to be played unasked."""
        return self.label.default


@dataclass(frozen=True, slots=True)
class CaptionStream:
    """Subtitles made of text. ``index`` None: they stand in the pictures of the video (CEA-608)."""

    index: int | None
    codec: str
    label: TrackLabel = field(default_factory=TrackLabel)


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of the film, in seconds from its start. ``title`` was given by the file's maker."""

    start_s: float
    end_s: float
    title: str | None = None


@dataclass(frozen=True, slots=True)
class OtherStream:
    """A stream that is not processed: cover art, subtitles made of pictures, data, a second video."""

    index: int
    kind: str
    codec: str | None


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A probed file. ``duration_s`` is None where the container declares none, as browsers' recordings do.

    ``unseen``: streams of which none of the first packets was, so that they may be empty (see `core.look`); none where nobody
    looked.
    """

    container: Container
    duration_s: float | None
    start_s: float
    size_bytes: int
    bitrate_bps: int | None
    video: VideoStream | None
    audio: tuple[AudioStream, ...]
    others: tuple[OtherStream, ...] = ()
    unseen: tuple[int, ...] = ()
    captions: tuple[CaptionStream, ...] = ()
    chapters: tuple[Chapter, ...] = ()

    @property
    def main_audio(self) -> AudioStream | None:
        """The track that is encoded: the first that is flagged as default, else the first."""
        return next((track for track in self.audio if track.default), self.audio[0] if self.audio else None)

    @property
    def declares_duration(self) -> bool:
        """The duration is the container's word. Bare MP3, AAC and program streams have none: it is guessed from the bitrate."""
        return self.duration_s is not None and self.container not in {Container.MP3, Container.AAC, Container.MPEG}

    @property
    def codec(self) -> str | None:
        """The codec of the video, or of the sound where there is no video: the ``original_codec`` of the API."""
        if self.video is not None:
            return self.video.codec
        return self.main_audio.codec if self.main_audio else None


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """``max_pixels`` counts one coded frame."""

    max_duration_s: float
    max_pixels: int


def check_limits(info: MediaInfo, limits: MediaLimits) -> None:
    """Raise `RejectedError` ``too_large`` (``unsupported_media`` for a picture too small to encode), both numbers in words."""
    if info.duration_s is not None and info.duration_s > limits.max_duration_s:
        raise RejectedError(
            ErrorCode.TOO_LARGE, f"lasts {info.duration_s:.0f} s; at most {limits.max_duration_s:.0f} s are taken"
        )
    video = info.video
    if video is None:
        return
    size = f"{video.width}x{video.height}"
    pixels = video.width * video.height
    if pixels > limits.max_pixels:
        raise RejectedError(ErrorCode.TOO_LARGE, f"has {pixels} pixels a frame ({size}); at most {limits.max_pixels} are taken")
    longest = max(video.display_width, video.display_height)
    if longest > _MAX_SIDE_PX:
        raise RejectedError(ErrorCode.TOO_LARGE, f"is {longest} pixels long on a side; at most {_MAX_SIDE_PX} are taken")
    if video.short_side_px < _MIN_SIDE_PX:
        raise RejectedError(
            ErrorCode.UNSUPPORTED_MEDIA,
            f"is {video.display_width}x{video.display_height} pixels; each side takes at least {_MIN_SIDE_PX}",
        )
