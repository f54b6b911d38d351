"""What a job needs of an ffmpeg, and which of the builds at hand does it. Pure: values in, a choice or a refusal out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vproc.core.capabilities import Capabilities
from vproc.core.hardware import SOFTWARE_ENCODERS
from vproc.core.media import MediaInfo
from vproc.core.profile import Packaging, Profile, VideoCodec
from vproc.errors import ErrorCode, RejectedError

_WITH_SOUND = frozenset({Packaging.CMAF, Packaging.PROGRESSIVE, Packaging.AUDIO})


@dataclass(frozen=True, slots=True)
class Needs:
    """``encoders`` by ffmpeg's name, ``decoded`` are the codecs to be decoded by ffprobe's name."""

    profile: str
    encoders: frozenset[str] = frozenset()
    decoded: frozenset[str] = frozenset()


def encoders_of(profile: Profile) -> frozenset[str]:
    """Every encoder that a profile may need, whatever the source."""
    codecs = {VideoCodec.H264, VideoCodec.HEVC} if profile.swap else {profile.codec} - {None}
    return _encoders(profile, frozenset(codec.value for codec in codecs if codec is not None))


def needs_of(info: MediaInfo, profile: Profile) -> Needs:
    """What this source by this profile needs. A stream that is copied or left out is not decoded."""
    video, audio = info.video, info.main_audio
    codec = profile.codec
    if profile.swap and video is not None:
        codec = VideoCodec.HEVC if video.codec == VideoCodec.H264 else VideoCodec.H264
    decoded = set()
    if video is not None and (codec is not None or profile.pictures):
        decoded.add(video.codec)
    if audio is not None and profile.packaging in _WITH_SOUND:
        decoded.add(audio.codec)
    made = frozenset({codec.value} if codec is not None and video is not None else ())
    return Needs(profile.name, _encoders(profile, made), frozenset(decoded))


def missing(needs: Needs, build: Capabilities) -> tuple[str, ...]:
    """What a build lacks of it, for people."""
    encoders = [f"the encoder {name}" for name in sorted(needs.encoders) if not build.has_encoder(name)]
    return (*encoders, *(f"a decoder of {codec}" for codec in sorted(needs.decoded) if not build.decodes(codec)))


def choose_build(needs: Needs, builds: Sequence[Capabilities]) -> int:
    """The place of the first of ``builds`` that does it all.

    Raises `RejectedError`: ``unsupported_profile`` where none has the encoders, ``unsupported_media`` where none decodes the
    source; both name what is missing.
    """
    for place, build in enumerate(builds):
        if not missing(needs, build):
            return place
    lacked = unavailable(needs, builds)
    if lacked:
        raise RejectedError(
            ErrorCode.UNSUPPORTED_PROFILE, f"the profile {needs.profile} takes {', '.join(lacked)}, which {_named(builds)} lacks"
        )
    lacked = missing(needs, builds[0])
    raise RejectedError(ErrorCode.UNSUPPORTED_MEDIA, f"reading this file takes {', '.join(lacked)}, which {_named(builds)} lacks")


def unavailable(needs: Needs, builds: Sequence[Capabilities]) -> tuple[str, ...]:
    """The encoders that no one build has together; empty where one has them all, else what the first lacks."""
    encoding = Needs(needs.profile, needs.encoders)
    lacked = [missing(encoding, build) for build in builds]
    return () if () in lacked else lacked[0]


def _named(builds: Sequence[Capabilities]) -> str:
    versions = " and ".join(build.version for build in builds)
    return f"the ffmpeg of this daemon ({versions})"


def _encoders(profile: Profile, codecs: frozenset[str]) -> frozenset[str]:
    found = {SOFTWARE_ENCODERS[codec] for codec in codecs}
    if profile.packaging in _WITH_SOUND:
        found.add("aac")
    if profile.pictures:
        found.add("mjpeg")
    return frozenset(found)
