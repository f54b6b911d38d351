"""The user's own profiles, from TOML. Checked at load: each fault names the profile, the field and what it takes.

[profiles.web]
packaging = "cmaf"
codec = "h264"
preset = "fast"
rungs = [{ short_side_px = 720, crf = 23, maxrate_kbps = 2500 }, { short_side_px = 360, crf = 24, maxrate_kbps = 700 }]
"""

from __future__ import annotations

import tomllib
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vproc.core.profile import BUILTIN_PROFILES, Packaging, Profile, RungSpec, VideoCodec
from vproc.errors import ConfigError

VARIABLE = "VPROC_PROFILES_FILE"

Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]

_ENCODED = frozenset({Packaging.CMAF, Packaging.PROGRESSIVE})
_MOST_RUNGS = 8


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class _Rung(_Model):
    short_side_px: Annotated[int, Field(ge=64, le=4320, multiple_of=2)]
    crf: Annotated[int, Field(ge=0, le=51)] = 23
    maxrate_kbps: Annotated[int, Field(ge=50, le=200_000)]
    bufsize_kbits: Annotated[int | None, Field(ge=50, le=400_000)] = None

    def spec(self) -> RungSpec:
        # Two seconds of the cap where nothing is said: half a segment, so that no segment is far above it.
        bufsize = self.bufsize_kbits or 2 * self.maxrate_kbps
        return RungSpec(self.short_side_px, self.crf, self.maxrate_kbps * 1000, bufsize * 1000)


class _Profile(_Model):
    packaging: Packaging
    codec: VideoCodec | None = None
    preset: Preset | None = None
    rungs: Annotated[tuple[_Rung, ...], Field(max_length=_MOST_RUNGS)] = ()
    pictures: bool | None = None
    audio_bitrate_kbps: Annotated[int, Field(ge=16, le=512)] = 128
    segment_s: Annotated[int, Field(ge=1, le=10)] = 4

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        encoded = self.packaging in _ENCODED
        if self.codec not in {None, VideoCodec.H264, VideoCodec.HEVC}:
            raise ValueError(f"codec: takes 'h264' or 'hevc' (got {self.codec!r})")
        if encoded and self.codec is None:
            raise ValueError(f"codec: packaging {self.packaging.value} takes one of {', '.join(VideoCodec)}")
        if not encoded and (self.codec is not None or self.rungs):
            raise ValueError(f"codec, rungs: packaging {self.packaging.value} encodes no picture and takes neither")
        if self.packaging is Packaging.CMAF and not self.rungs:
            raise ValueError("rungs: packaging cmaf takes one at least")
        if self.pictures and self.packaging not in {Packaging.CMAF, Packaging.PICTURES}:
            raise ValueError("pictures: only packaging cmaf and pictures make a poster and thumbnails")
        sides = [rung.short_side_px for rung in self.rungs]
        if sides != sorted(set(sides), reverse=True):
            raise ValueError("rungs: takes each short_side_px once, the largest first")
        return self

    def profile(self, name: str) -> Profile:
        pictures = self.packaging in {Packaging.CMAF, Packaging.PICTURES} if self.pictures is None else self.pictures
        return Profile(
            name=name,
            packaging=self.packaging,
            codec=self.codec,
            rungs=tuple(rung.spec() for rung in self.rungs),
            pictures=pictures,
            preset=self.preset,
            audio_bitrate_bps=self.audio_bitrate_kbps * 1000,
            first_segment_s=2 if self.segment_s % 2 == 0 else self.segment_s,
            segment_s=self.segment_s,
        )


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class _File(_Model):
    profiles: dict[Name, _Profile]


def parse_profiles(text: str) -> dict[str, Profile]:
    """The profiles of a TOML file, by name. Raises `ConfigError` with a line for each fault.

    A name of a built-in profile is refused: an upload that names it must mean the same everywhere.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{VARIABLE}: not TOML: {error}") from None
    try:
        file = _File.model_validate(document)
    except ValidationError as error:
        raise ConfigError(*(_fault(entry["loc"], entry["msg"]) for entry in error.errors(include_url=False))) from None
    taken = sorted(file.profiles.keys() & BUILTIN_PROFILES.keys())
    if taken:
        raise ConfigError(*(f"{VARIABLE}: profiles.{name}: the name of a built-in profile; takes another" for name in taken))
    return {name: described.profile(name) for name, described in file.profiles.items()}


def _fault(place: tuple[int | str, ...], message: str) -> str:
    where = ".".join(str(part) for part in place if part != "[key]")
    text = (
        message.removeprefix("Value error, ")
        .replace("Input should be", "takes")
        .replace("Extra inputs are not permitted", "unknown")
    )
    return f"{VARIABLE}: {where}: {text}"
