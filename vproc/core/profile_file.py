"""Profiles as TOML: what a file may say. Checked at load: each fault names the profile, the field and what it takes.

[profiles.web]
packaging = "cmaf"
codec = "h264"
quality = "balanced"
rungs = [{ short_side_px = 720, crf = 23, maxrate_kbps = 2500 }, { short_side_px = 360, crf = 24, maxrate_kbps = 700 }]
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from vproc.core.encoders import PRESETS
from vproc.core.profile import (
    WORST_CRF,
    HdrMode,
    Measure,
    Packaging,
    Profile,
    Quality,
    RungSpec,
    VideoCodec,
    default_crf,
)
from vproc.core.runners import RunnerKind
from vproc.errors import ConfigError

VARIABLE: Final = "VPROC_PROFILES_FILE"

SWAP: Final = "swap"
"""For a codec: H.264 becomes HEVC, everything else H.264."""

_MOST_RUNGS = 8
_BITRATE_CAP = 1.5
"""Of a fixed rate, where no cap is told: room for a hard scene."""

_ENCODED = (Packaging.CMAF, Packaging.PROGRESSIVE)
_SOUNDING = (*_ENCODED, Packaging.AUDIO)
_TAKEN_BY = {
    **dict.fromkeys(("codec", "rungs", "quality", "preset", "hardware", "hdr", "target_vmaf", "measure", "segment_s"), _ENCODED),
    **dict.fromkeys(("copy_top_rung", "captions", "first_segment_s"), (Packaging.CMAF,)),
    "pictures": (Packaging.CMAF, Packaging.PICTURES),
    **dict.fromkeys(("audio_bitrate_kbps", "audio_channels"), _SOUNDING),
}
"""Which packagings a field means something to; elsewhere it is refused."""


def _text_of_number(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Rung(_Model):
    """A rung as a file describes it."""

    short_side_px: Annotated[int, Field(ge=64, le=4320, multiple_of=2)]
    crf: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    bitrate_kbps: Annotated[int | None, Field(ge=50, le=200_000)] = None
    maxrate_kbps: Annotated[int | None, Field(ge=50, le=400_000)] = None
    bufsize_kbits: Annotated[int | None, Field(ge=50, le=800_000)] = None

    def faults(self, codecs: Collection[VideoCodec]) -> Iterator[str]:
        """What does not go together, each with the field in front."""
        if self.crf is not None and self.bitrate_kbps is not None:
            yield "crf: takes no bitrate_kbps beside it: a rung is of constant quality or of a fixed rate"
        worst = min((WORST_CRF[codec] for codec in codecs), default=63)
        if self.crf is not None and self.crf > worst:
            yield f"crf: takes {worst} or less{' with codec ' + ' and '.join(codecs) if codecs else ''}"
        if self.maxrate_kbps is None and self.bitrate_kbps is None:
            yield "maxrate_kbps: takes the cap of the rate, unless bitrate_kbps fixes it"
        if self.maxrate_kbps is not None and self.maxrate_kbps < (self.bitrate_kbps or 0):
            yield f"maxrate_kbps: takes {self.bitrate_kbps} (bitrate_kbps) or more"

    def spec(self, codec: VideoCodec) -> RungSpec:
        """The rung as the planner takes it."""
        crf = default_crf(codec) if self.crf is None else self.crf
        fixed = self.bitrate_kbps
        cap = self.maxrate_kbps or round((fixed or 0) * _BITRATE_CAP)
        # Two seconds of the cap where nothing is said: half a segment, so that no segment is far above it.
        bufsize = self.bufsize_kbits or 2 * cap
        return RungSpec(self.short_side_px, crf, cap * 1000, bufsize * 1000, fixed * 1000 if fixed else None)


class Described(_Model):
    """A profile as a file describes it."""

    packaging: Packaging
    codec: Literal["h264", "hevc", "av1", "vp9", "swap"] | None = None
    rungs: Annotated[tuple[Rung, ...], Field(max_length=_MOST_RUNGS)] = ()
    quality: Quality = Quality.FAST
    preset: Annotated[str | None, BeforeValidator(_text_of_number)] = None
    target_vmaf: Annotated[float, Field(ge=60, le=99, allow_inf_nan=False)] = 93
    measure: Measure | None = None
    hardware: bool = False
    hdr: HdrMode = HdrMode.TONE_MAP
    copy_top_rung: bool = False
    segment_s: Annotated[int, Field(ge=1, le=10)] = 4
    first_segment_s: Annotated[int | None, Field(ge=1, le=10)] = None
    captions: bool = True
    pictures: bool | None = None
    audio_bitrate_kbps: Annotated[int, Field(ge=16, le=512)] = 128
    audio_channels: Literal[1, 2, 6] = 2
    runner: RunnerKind | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if faults := [*self._misplaced(), *self._encoding(), *self._ladder()]:
            raise ValueError("\n".join(faults))
        return self

    @property
    def _codecs(self) -> tuple[VideoCodec, ...]:
        if self.codec == SWAP:
            return (VideoCodec.H264, VideoCodec.HEVC)
        return (VideoCodec(self.codec),) if self.codec is not None else ()

    def _misplaced(self) -> Iterator[str]:
        for field in sorted(self.model_fields_set & _TAKEN_BY.keys()):
            if self.packaging not in _TAKEN_BY[field]:
                yield f"{field}: only taken with packaging {' or '.join(_TAKEN_BY[field])}"
        if self.packaging in _ENCODED and self.codec is None:
            yield f"codec: packaging {self.packaging.value} takes one of {', '.join((*VideoCodec, SWAP))}"
        if self.packaging is Packaging.CMAF and self.codec == SWAP:
            yield f"codec: packaging cmaf takes one of {', '.join(VideoCodec)}"

    def _encoding(self) -> Iterator[str]:
        codecs = self._codecs
        allowed = PRESETS[codecs[0]] if codecs else ()
        if codecs and self.preset is not None and self.preset not in allowed:
            yield f"preset: takes one of {', '.join(allowed)} with codec {self.codec}"
        if self.preset is not None and "quality" in self.model_fields_set and self.quality is not Quality.AUTO:
            yield "preset: takes no quality beside it but auto: it is the encoder's own word for the same"
        if "target_vmaf" in self.model_fields_set and self.quality is not Quality.AUTO:
            yield "target_vmaf: takes quality = 'auto' beside it"
        if self.hdr is HdrMode.KEEP and not {VideoCodec.HEVC, VideoCodec.AV1}.issuperset(codecs):
            yield "hdr: takes 'keep' only with codec hevc or av1"
        if self.hdr is HdrMode.KEEP and self.hardware:
            yield "hardware: takes no hdr = 'keep' beside it: ten bits are encoded in software"
        if self.copy_top_rung and codecs and codecs != (VideoCodec.H264,):
            yield "copy_top_rung: takes codec h264"
        if self.first_segment_s is not None and self.segment_s % self.first_segment_s:
            yield f"first_segment_s: takes what segment_s ({self.segment_s}) is a multiple of"

    def _ladder(self) -> Iterator[str]:
        if self.packaging is Packaging.CMAF and not self.rungs:
            yield "rungs: packaging cmaf takes one at least"
        sides = [rung.short_side_px for rung in self.rungs]
        if sides != sorted(set(sides), reverse=True):
            yield "rungs: takes each short_side_px once, the largest first"
        if self.codec == SWAP and self.rungs:
            yield "rungs: codec swap takes none: the source's size is kept"
        for number, rung in enumerate(self.rungs):
            yield from (f"rungs.{number}.{fault}" for fault in rung.faults(self._codecs))
            if rung.bitrate_kbps is not None and self.quality is Quality.AUTO:
                yield f"rungs.{number}.bitrate_kbps: quality auto chooses the rates and takes none"

    def profile(self, name: str) -> Profile:
        """The profile as the planner takes it."""
        pictures = self.packaging in _TAKEN_BY["pictures"] if self.pictures is None else self.pictures
        codecs = self._codecs
        return Profile(
            name=name,
            packaging=self.packaging,
            codec=codecs[0] if len(codecs) == 1 else None,
            swap=self.codec == SWAP,
            rungs=tuple(rung.spec(codecs[0]) for rung in self.rungs),
            quality=self.quality,
            preset=self.preset,
            hardware=self.hardware,
            hdr=self.hdr,
            copy_top_rung=self.copy_top_rung,
            pictures=pictures,
            captions=self.captions,
            audio_bitrate_bps=self.audio_bitrate_kbps * 1000,
            audio_channels=self.audio_channels,
            first_segment_s=self.first_segment_s or 1,
            segment_s=self.segment_s,
            target_vmaf=self.target_vmaf,
            measure=self.measure,
            runner=self.runner,
        )


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class _File(_Model):
    profiles: dict[Name, Described]


def parse_profiles(text: str, *, source: str = VARIABLE, taken: Collection[str] = ()) -> dict[str, Profile]:
    """The profiles of a TOML file, by name. Raises `ConfigError` with a line for each fault, each beginning with ``source``.

    A name that is ``taken`` (by a built-in profile) is refused: an upload that names it must mean the same everywhere.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not TOML: {error}") from None
    try:
        file = _File.model_validate(document)
    except ValidationError as error:
        faults = dict.fromkeys(fault for entry in error.errors(include_url=False) for fault in _faults({**entry}))
        raise ConfigError(*(f"{source}: {fault}" for fault in faults)) from None
    if refused := sorted(file.profiles.keys() & set(taken)):
        raise ConfigError(*(f"{source}: profiles.{name}: the name of a built-in profile; takes another" for name in refused))
    return {name: described.profile(name) for name, described in file.profiles.items()}


def _faults(entry: Mapping[str, Any]) -> Iterator[str]:
    """The lines of one of pydantic's errors. Ours begin with the field; several may have come of one profile."""
    where, message = ".".join(str(part) for part in entry["loc"] if part != "[key]"), entry["msg"]
    if entry["type"] == "value_error":
        yield from (f"{where}.{line}" for line in message.removeprefix("Value error, ").splitlines())
    else:
        text = message.replace("Input should be", "takes").replace("Extra inputs are not permitted", "unknown")
        yield f"{where}: {text}"
