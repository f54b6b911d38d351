"""What a job needs of an ffmpeg, and which of the builds at hand does it. Pure: values in, a choice or a refusal out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from vproc.core.capabilities import Capabilities
from vproc.core.colour import keeps_hdr
from vproc.core.hardware import SOFTWARE_ENCODERS, choose_encoder
from vproc.core.media import MediaInfo
from vproc.core.profile import HdrMode, Packaging, Profile, VideoCodec
from vproc.errors import ErrorCode, RejectedError

_WITH_SOUND = frozenset({Packaging.CMAF, Packaging.PROGRESSIVE, Packaging.AUDIO})


@dataclass(frozen=True, slots=True)
class Needs:
    """``encoders`` by ffmpeg's name, those in ``ten_bit`` with ten bits a sample; ``decoded`` are the codecs to be decoded, by
    ffprobe's name; ``hardware`` is the codec that a hardware encoder is wanted for, where there is one."""

    profile: str
    encoders: frozenset[str] = frozenset()
    decoded: frozenset[str] = frozenset()
    ten_bit: frozenset[str] = frozenset()
    hardware: str | None = None


def needs_of_profile(profile: Profile) -> Needs:
    """What a profile may need whatever the source; what it decodes is the source's."""
    codecs = {VideoCodec.H264, VideoCodec.HEVC} if profile.swap else {profile.codec} if profile.codec else set()
    return _needs(profile, codecs)


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
    made = {codec} if codec is not None and video is not None else set()
    needs = replace(_needs(profile, made), decoded=frozenset(decoded))
    kept = video is not None and codec is not None and keeps_hdr(video, profile, codec)
    return needs if kept else replace(needs, ten_bit=frozenset())


def _needs(profile: Profile, codecs: Collection[VideoCodec]) -> Needs:
    encoders = {SOFTWARE_ENCODERS[codec.value] for codec in codecs}
    ten_bit = frozenset(encoders) if profile.hdr is HdrMode.KEEP else frozenset()
    if profile.packaging in _WITH_SOUND:
        encoders.add("aac")
    if profile.pictures:
        encoders.add("mjpeg")
    wanted = next((codec.value for codec in codecs if profile.hardware), None)
    return Needs(profile.name, frozenset(encoders), ten_bit=ten_bit, hardware=wanted)


def missing(needs: Needs, build: Capabilities) -> tuple[str, ...]:
    """What a build lacks of it, for people."""
    return (
        *(f"the encoder {name}" for name in sorted(needs.encoders) if not build.has_encoder(name)),
        *(
            f"the encoder {name} of ten bits"
            for name in sorted(needs.ten_bit)
            if build.has_encoder(name) and not build.takes_ten_bits(name)
        ),
        *(f"a decoder of {codec}" for codec in sorted(needs.decoded) if not build.decodes(codec)),
    )


def choose_build(needs: Needs, builds: Sequence[Capabilities]) -> int:
    """The place of the first of ``builds`` that does it all; of those, of the first that has the hardware where that is wanted.

    Raises `RejectedError`: ``unsupported_profile`` where none has the encoders, ``unsupported_media`` where none decodes the
    source; both name what is missing.
    """
    able = [place for place, build in enumerate(builds) if not missing(needs, build)]
    if able:
        return next((place for place in able if _has_hardware(needs, builds[place])), able[0])
    lacked = unavailable(needs, builds)
    if lacked:
        raise RejectedError(
            ErrorCode.UNSUPPORTED_PROFILE, f"the profile {needs.profile} takes {', '.join(lacked)}, which {_named(builds)} lacks"
        )
    lacked = missing(needs, builds[0])
    raise RejectedError(ErrorCode.UNSUPPORTED_MEDIA, f"reading this file takes {', '.join(lacked)}, which {_named(builds)} lacks")


def unavailable(needs: Needs, builds: Sequence[Capabilities]) -> tuple[str, ...]:
    """The encoders that no one build has together; empty where one has them all, else what the first lacks."""
    encoding = replace(needs, decoded=frozenset())
    lacked = [missing(encoding, build) for build in builds]
    return () if () in lacked else lacked[0]


def _named(builds: Sequence[Capabilities]) -> str:
    versions = " and ".join(build.version for build in builds)
    return f"the ffmpeg of this daemon ({versions})"


def _has_hardware(needs: Needs, build: Capabilities) -> bool:
    return needs.hardware is not None and choose_encoder(needs.hardware, build.trials) != SOFTWARE_ENCODERS[needs.hardware]
