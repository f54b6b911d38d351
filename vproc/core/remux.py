"""Which container takes a source's streams as they are."""

from __future__ import annotations

from dataclasses import dataclass

from vproc.core.media import MediaInfo
from vproc.errors import ErrorCode, RejectedError


@dataclass(frozen=True, slots=True)
class Remux:
    """``muxer`` is ffmpeg's name."""

    muxer: str
    suffix: str


_MP4 = Remux("mp4", ".mp4")
_WEBM = Remux("webm", ".webm")
_MATROSKA = Remux("matroska", ".mkv")

_MP4_VIDEO = frozenset({"h264", "hevc", "av1", "vp9", "mpeg4"})
_MP4_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"})
_WEBM_CODECS = frozenset({"vp8", "vp9", "av1", "opus", "vorbis"})
_MATROSKA_VIDEO = _MP4_VIDEO | {
    "vp8", "mpeg1video", "mpeg2video", "theora", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "wmv3", "vc1",
    "mjpeg", "prores", "ffv1", "flv1", "h263",
}  # fmt: skip
_MATROSKA_AUDIO = _MP4_AUDIO | {
    "vorbis", "mp2", "dts", "truehd", "wmav1", "wmav2", "pcm_u8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be",
    "pcm_s32le", "pcm_f32le", "pcm_alaw", "pcm_mulaw", "adpcm_ms", "adpcm_ima_wav",
}  # fmt: skip


def choose_container(info: MediaInfo) -> Remux:
    """MP4 where every stream fits, else WebM, else Matroska. Raises `RejectedError` ``unsupported_media`` with the codecs."""
    video = [info.video.codec] if info.video else []
    audio = [track.codec for track in info.audio]
    if _MP4_VIDEO.issuperset(video) and _MP4_AUDIO.issuperset(audio):
        return _MP4
    if _WEBM_CODECS.issuperset([*video, *audio]):
        return _WEBM
    if _MATROSKA_VIDEO.issuperset(video) and _MATROSKA_AUDIO.issuperset(audio):
        return _MATROSKA
    refused = [codec for codec in video if codec not in _MATROSKA_VIDEO]
    refused += [codec for codec in audio if codec not in _MATROSKA_AUDIO]
    raise RejectedError(
        ErrorCode.UNSUPPORTED_MEDIA, f"the profile copy keeps streams as they are, and no container takes {', '.join(refused)}"
    )
