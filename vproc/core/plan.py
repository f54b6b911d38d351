"""From a probed source and a profile: what ffmpeg is to make, where, and what each file must turn out to be.

The command line itself is `core.command`, the filter graph `core.graph`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

from vproc.core.colour import VideoRange, has_base_layer, keeps_hdr, tone_map, video_range
from vproc.core.conform import CopyChoice, choose_copy
from vproc.core.encoders import kept_grid
from vproc.core.grid import KeyGrid
from vproc.core.hardware import HardwareTrial, choose_encoder, drives_hardware
from vproc.core.ladder import Rung, even_within, output_fps, rungs
from vproc.core.media import AudioStream, MediaInfo, VideoStream
from vproc.core.memory import Pictures
from vproc.core.movie import SampleTable
from vproc.core.profile import Packaging, Profile, VideoCodec
from vproc.core.remux import Remux, choose_container
from vproc.core.sound import kept_channels
from vproc.core.sprite import SpritePlan, plan_sprite
from vproc.core.tonemap import ToneMap
from vproc.errors import ErrorCode, RejectedError

OLDEST = 4
"""The oldest major version of ffmpeg that the command lines hold for."""
_POSTER_SHORT_SIDE_PX = 720
_POSTER_AT_S = 3.0
_PICTURE_BYTES = 2_000_000
"""A generous poster or sheet."""
_MOST_SOUNDS = 8
"""Every one is encoded and sent; a disc has as many."""
_MUX_OVERHEAD = 1.1
_UNKNOWN_DURATION_FACTOR = 3


class OutputKind(StrEnum):
    """What an output is."""

    CMAF_VIDEO = "cmaf_video"
    CMAF_AUDIO = "cmaf_audio"
    VIDEO = "video"
    """One file with picture and sound."""
    AUDIO = "audio"
    POSTER = "poster"
    SPRITE = "sprite"


@dataclass(frozen=True, slots=True)
class PlannedOutput:
    """One output and what it must turn out to be. ``rendition`` names it: ``v720``, ``audio``, ``poster``.

    ``paths`` is one file but for a sprite of several sheets. ``codec`` is ffprobe's name. ``duration_s`` is None where the
    source does not tell it. ``sounds`` are the source's tracks that are in it, in its order. ``copied``: the source's own stream.
    ``video_range`` is of pictures that move.
    """

    kind: OutputKind
    rendition: str
    paths: tuple[Path, ...]
    codec: str
    width: int | None = None
    height: int | None = None
    audio_codec: str | None = None
    duration_s: float | None = None
    sounds: tuple[AudioStream, ...] = ()
    copied: bool = False
    video_range: VideoRange = VideoRange.SDR

    @property
    def path(self) -> Path:
        """The file; the first sheet of a sprite."""
        return self.paths[0]

    @property
    def is_track(self) -> bool:
        """A fragmented track, which is published in segments."""
        return self.kind in {OutputKind.CMAF_VIDEO, OutputKind.CMAF_AUDIO}

    @property
    def is_media(self) -> bool:
        """Video or sound, not a picture."""
        return self.kind not in {OutputKind.POSTER, OutputKind.SPRITE}


@dataclass(frozen=True, slots=True)
class Encode:
    """What the command line is made of, decided. ``video_codec`` None: no picture is encoded. ``audio``: the main track first.

    ``copied``: the rung that is the source's own stream; ``copy_refused``: why there is none, where the profile wants one.
    ``tone_map`` brings the source to SDR, for the pictures alone where the rungs keep what they are (``keeps_hdr``).
    """

    profile: Profile
    video: VideoStream | None
    audio: tuple[AudioStream, ...]
    video_codec: VideoCodec | None
    rungs: tuple[Rung, ...]
    fps: Fraction
    poster_px: tuple[int, int] | None
    poster_at_s: float
    sprite: SpritePlan | None
    remux: Remux | None
    keyframes_only: bool
    grid: KeyGrid
    copied: Rung | None = None
    copy_refused: str | None = None
    encoder: str | None = None
    tone_map: ToneMap | None = None
    keeps_hdr: bool = False

    @property
    def encoded(self) -> tuple[Rung, ...]:
        """The rungs without the one that is copied."""
        return tuple(rung for rung in self.rungs if rung is not self.copied)


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file that has to stand before ffmpeg starts."""

    path: Path
    tone_map: ToneMap

    def content(self) -> bytes:
        """Its bytes; at first about 150 ms of work."""
        return self.tone_map.cube()


@dataclass(frozen=True, slots=True)
class Plan:
    """``argv`` is the whole command line: progress on standard output, errors on standard error.

    ``duration_s`` is how long the streams that are used last, as the source declares it (None: it does not); ``limit_s`` is where
    ffmpeg stops reading, which is no success. ``target_codec`` is None where only pictures are made. ``estimated_bytes`` bounds
    the files together. ``fps`` is the rate of the first video output, for `ProgressParser`. ``keyframes_only``: how far the
    output came is known no better than the source's key frames are apart.
    ``grid``: where the tracks are cut into segments. ``piped``: the source comes by standard input.
    ``copied`` names the rendition that is the source's own stream; ``copy_refused`` is as `Encode`'s.

    With a sprite ``argv`` leaves its thumbnails in ``thumbs``, and ``sheets_argv`` is the second command, which makes the
    sheets of them; ``thumbs`` is of no use after it. ``files`` are to be written before either. ``pictures`` are what memory is
    needed for; None where none is decoded, or where hardware holds them.
    """

    argv: tuple[str, ...]
    outputs: tuple[PlannedOutput, ...]
    target_codec: str | None
    estimated_bytes: int
    duration_s: float | None
    limit_s: float
    grid: KeyGrid = field(default_factory=lambda: KeyGrid(4, 4))
    piped: bool = False
    copied: str | None = None
    copy_refused: str | None = None
    fps: Fraction | None = None
    keyframes_only: bool = False
    sprite: SpritePlan | None = None
    thumbs: Path | None = None
    sheets_argv: tuple[str, ...] = ()
    files: tuple[PlannedFile, ...] = ()
    pictures: Pictures | None = None

    @property
    def daring(self) -> bool:
        """It takes a fast path, which a plain encode of the whole file does without."""
        return self.piped or self.copied is not None or drives_hardware(self.argv)


def decide(
    info: MediaInfo,
    profile: Profile,
    table: SampleTable | None = None,
    *,
    generation: int = OLDEST,
    trials: Sequence[HardwareTrial] = (),
) -> Encode:
    """What is made of this source. ``table``: its index of samples, where the top rung may be a copy. ``generation`` is ffmpeg's
    major version, ``trials`` are its test encodes by hardware.

    Raises `RejectedError` ``unsupported_media`` naming the profile and the stream it lacks.
    """
    video = info.video
    _require_streams(info, profile)
    decoded = video is not None and profile.packaging in {Packaging.CMAF, Packaging.PROGRESSIVE, Packaging.PICTURES}
    if video is not None and decoded and not has_base_layer(video):
        raise RejectedError(
            ErrorCode.UNSUPPORTED_MEDIA,
            "the video is Dolby Vision of a profile that has no compatible base layer: its colours are known to a licensed"
            " decoder alone; export it as HDR10, HLG or SDR",
        )
    video_codec = _video_codec(profile, video)
    encoded: tuple[Rung, ...] = ()
    if video is not None and video_codec is not None:
        encoded = rungs(video.display_width, video.display_height, profile, codec=video_codec)
    fps = output_fps(video) if video is not None else Fraction(1)
    # Only what is cut into segments gains by short ones at the start.
    first_s = profile.first_segment_s if profile.packaging is Packaging.CMAF else profile.segment_s
    grid, copy = KeyGrid(profile.segment_s, first_s), CopyChoice()
    encoder = None
    if video_codec is not None:
        encoder = choose_encoder(video_codec, trials if profile.hardware else ())
        grid = kept_grid(encoder, grid, generation=generation)
    if video is not None and encoded:
        copy = choose_copy(video, profile, encoded[0], fps, grid, table)
    duration_s = (video.end_s if video else None) or info.duration_s
    shown = video is not None and profile.pictures
    return Encode(
        profile=profile,
        video=video,
        audio=_sounds(info, profile),
        video_codec=video_codec,
        rungs=encoded,
        fps=fps,
        poster_px=_poster_px(video) if video is not None and shown else None,
        poster_at_s=_POSTER_AT_S if duration_s is None else min(_POSTER_AT_S, duration_s / 4),
        sprite=plan_sprite(video.display_width, video.display_height, duration_s) if video is not None and shown else None,
        remux=choose_container(info) if profile.packaging is Packaging.COPY else None,
        # Ten minutes: thumbnails are six seconds and more apart then, about as far as key frames are.
        keyframes_only=profile.packaging is Packaging.PICTURES and (duration_s or 0) >= 600,  # noqa: PLR2004
        grid=copy.grid or grid,
        copied=encoded[0] if copy.grid else None,
        copy_refused=copy.reason,
        encoder=encoder,
        tone_map=tone_map(video) if video is not None and (encoded or shown) else None,
        keeps_hdr=video is not None and video_codec is not None and keeps_hdr(video, profile, video_codec),
    )


def outputs_of(encode: Encode, info: MediaInfo, out_dir: Path) -> tuple[PlannedOutput, ...]:
    """The files in the order of the command line."""
    video_s = _length(info, encode.video)
    packaging, codec = encode.profile.packaging, encode.video_codec.value if encode.video_codec else ""
    shown = video_range(encode.video) if encode.video is not None and encode.keeps_hdr else VideoRange.SDR
    found: list[PlannedOutput] = []
    if packaging is Packaging.CMAF:
        found += [
            PlannedOutput(OutputKind.CMAF_VIDEO, rung.name, (out_dir / f"{rung.name}.mp4",), codec, rung.width, rung.height,
                          duration_s=video_s, copied=rung is encode.copied, video_range=shown)
            for rung in encode.rungs
        ]  # fmt: skip
        found += [
            PlannedOutput(OutputKind.CMAF_AUDIO, name, (out_dir / f"{name}.mp4",), "aac", duration_s=_length(info, track),
                          sounds=(track,))
            for name, track in _named(encode.audio)
        ]  # fmt: skip
    elif packaging is Packaging.PROGRESSIVE:
        found += [
            PlannedOutput(OutputKind.VIDEO, rung.name, (out_dir / f"{rung.name}.mp4",), codec, rung.width, rung.height,
                          "aac" if encode.audio else None, _longest(info, encode), encode.audio, video_range=shown)
            for rung in encode.rungs
        ]  # fmt: skip
    elif packaging is Packaging.AUDIO:
        found.append(
            PlannedOutput(OutputKind.AUDIO, "audio", (out_dir / "audio.m4a",), "aac", duration_s=_longest(info, encode),
                          sounds=encode.audio)
        )  # fmt: skip
    elif encode.remux is not None:
        found.append(_remuxed(encode, encode.remux, info, out_dir))
    if encode.poster_px is not None:
        found.append(PlannedOutput(OutputKind.POSTER, "poster", (out_dir / "poster.jpg",), "mjpeg", *encode.poster_px))
    if (sprite := encode.sprite) is not None:
        sheets = tuple(out_dir / f"sprite-{number + 1:03}.jpg" for number in range(sprite.sheets))
        size = (sprite.width * sprite.columns, sprite.height * sprite.rows)
        found.append(PlannedOutput(OutputKind.SPRITE, "sprite", sheets, "mjpeg", *size))
    return tuple(found)


def declared_s(encode: Encode, info: MediaInfo) -> float | None:
    """How long the streams that are used last together, as the source declares it; None where it does not. A stream whose own
    end nobody tells is taken to last as long as the file."""
    if not info.declares_duration:
        return None
    used = [*encode.audio, None if encode.profile.packaging is Packaging.AUDIO else encode.video]
    ends = [stream.end_s for stream in used if stream is not None]
    known = [end for end in ends if end is not None]
    return max(known) if known and len(known) == len(ends) else info.duration_s


def target_codec(encode: Encode, info: MediaInfo) -> str | None:
    """The codec of the largest rung, of the sound, or of the source where it is copied."""
    if encode.video_codec is not None:
        return encode.video_codec.value
    if encode.profile.packaging is Packaging.AUDIO:
        return "aac"
    return info.codec if encode.remux is not None else None


def estimated_bytes(encode: Encode, info: MediaInfo) -> int:
    """A bound of all files together, for the admission by free disk: the caps of the encode, or the source's own size."""
    pictures = _PICTURE_BYTES * bool(encode.poster_px)
    if (sprite := encode.sprite) is not None:
        pictures += _PICTURE_BYTES * sprite.sheets + sprite.raw_bytes
    if encode.remux is not None:
        return round(info.size_bytes * _MUX_OVERHEAD)
    wanted = encode.profile.audio_channels
    sound_bps = sum(encode.profile.audio_bitrate_bps * max(2, kept_channels(track, wanted)) // 2 for track in encode.audio)
    sounds = len(encode.rungs) if encode.profile.packaging is Packaging.PROGRESSIVE else 1
    total_bps = sum(rung.maxrate_bps for rung in encode.rungs) + sounds * sound_bps
    if info.duration_s is None:
        return info.size_bytes * _UNKNOWN_DURATION_FACTOR + pictures
    return round(total_bps / 8 * info.duration_s * _MUX_OVERHEAD) + pictures


def _sounds(info: MediaInfo, profile: Profile) -> tuple[AudioStream, ...]:
    main = info.main_audio
    match profile.packaging:
        case _ if main is None:
            return ()
        case Packaging.PICTURES:
            return ()
        case Packaging.AUDIO:
            return (main,)
        case Packaging.COPY:
            return info.audio
    return (main, *(track for track in info.audio if track.index != main.index))[:_MOST_SOUNDS]


def _named(tracks: tuple[AudioStream, ...]) -> list[tuple[str, AudioStream]]:
    return [("audio" if number == 1 else f"audio-{number}", track) for number, track in enumerate(tracks, 1)]


def _require_streams(info: MediaInfo, profile: Profile) -> None:
    if profile.packaging in {Packaging.CMAF, Packaging.PROGRESSIVE, Packaging.PICTURES} and info.video is None:
        raise _lacks(profile, "a video stream")
    if profile.packaging is Packaging.AUDIO and not info.audio:
        raise _lacks(profile, "a sound track")


def _lacks(profile: Profile, what: str) -> RejectedError:
    return RejectedError(ErrorCode.UNSUPPORTED_MEDIA, f"the profile {profile.name} takes {what}, and the file has none")


def _video_codec(profile: Profile, video: VideoStream | None) -> VideoCodec | None:
    if profile.swap and video is not None:
        return VideoCodec.HEVC if video.codec == VideoCodec.H264 else VideoCodec.H264
    return profile.codec


def _poster_px(video: VideoStream) -> tuple[int, int]:
    scale = Fraction(min(_POSTER_SHORT_SIDE_PX, video.short_side_px), video.short_side_px)
    width, height = video.display_width, video.display_height
    return even_within(width * scale, width), even_within(height * scale, height)


def _length(info: MediaInfo, stream: VideoStream | AudioStream | None) -> float | None:
    """How long an output of this one stream must be. The file's own duration says it only where the stream is alone."""
    if stream is None or not info.declares_duration:
        return None
    alone = len(info.audio) + (info.video is not None) == 1
    return stream.end_s or (info.duration_s if alone else None)


def _longest(info: MediaInfo, encode: Encode) -> float | None:
    lengths = [_length(info, track) for track in encode.audio]
    if encode.video is not None and encode.profile.packaging is not Packaging.AUDIO:
        lengths.append(_length(info, encode.video))
    known = [length for length in lengths if length is not None]
    return max(known) if len(known) == len(lengths) else None


def _remuxed(encode: Encode, remux: Remux, info: MediaInfo, out_dir: Path) -> PlannedOutput:
    video, audio, path = encode.video, info.main_audio, out_dir / f"copy{remux.suffix}"
    if video is None:
        return PlannedOutput(OutputKind.AUDIO, "copy", (path,), audio.codec if audio else "", duration_s=_longest(info, encode))
    return PlannedOutput(
        OutputKind.VIDEO, "copy", (path,), video.codec, video.display_width, video.display_height,
        audio.codec if audio else None, _longest(info, encode), video_range=video_range(video),
    )  # fmt: skip
