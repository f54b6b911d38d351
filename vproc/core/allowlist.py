"""What ffmpeg and ffprobe may open: the demuxer, the protocols and the decoders. The same options stand before each input.

A seat belt, since lists have been got round before: the wall is the jail. No argument here comes from a user's text.
"""

from __future__ import annotations

from pathlib import PurePath

from vproc.core.container import Container

_DEMUXERS = {
    Container.MOV: "mov,mp4,m4a,3gp,3g2,mj2",
    Container.MATROSKA: "matroska,webm",
}
"""ffmpeg's own names of a demuxer, where they are more than its first one."""

# Decoders, not codecs: ffmpeg looks for the decoder's name. In are what phones, cameras, editors, browsers and the
# containers of `Container` carry; out is everything that a stranger's file may name and nobody uploads (game and
# screen-capture codecs, MagicYUV of CVE-2026-8461, text-mode decoders), since each is a parser of hostile bytes.
VIDEO_DECODERS = (
    "h264", "hevc", "av1", "libdav1d", "libaom-av1", "vp8", "libvpx", "vp9", "libvpx-vp9",  # phones, browsers, the web
    "mpeg4", "msmpeg4", "msmpeg4v1", "msmpeg4v2", "h263", "flv", "wmv1", "wmv2", "wmv3", "vc1", "theora",  # older web
    "mpeg1video", "mpeg2video", "dvvideo",  # broadcast, discs, tape
    "prores", "dnxhd", "mjpeg", "ffv1", "rawvideo", "v210",  # cameras and editors; mjpeg is also cover art
    "png", "bmp",  # cover art
)  # fmt: skip
AUDIO_DECODERS = (
    "aac", "aac_latm", "mp3float", "mp3", "mp2float", "mp2", "mp1float", "mp1", "ac3", "eac3", "dca", "truehd", "mlp",
    "opus", "libopus", "vorbis", "libvorbis", "flac", "alac", "amrnb", "amrwb", "wmav1", "wmav2", "wmapro", "nellymoser",
    "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_u8", "pcm_s8",
    "pcm_alaw", "pcm_mulaw", "pcm_bluray", "pcm_dvd", "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt", "adpcm_swf",
)  # fmt: skip
# ffprobe opens a decoder for every stream and gives up on the whole file when one is refused.
SUBTITLE_DECODERS = (
    "mov_text", "srt", "subrip", "ass", "ssa", "webvtt", "text", "dvdsub", "dvbsub", "pgssub", "xsub", "cc_dec",
)  # fmt: skip

_MAX_STREAMS = 100
"""ffmpeg's own default is 1000; a camera file has under ten."""


PIPE_URL = "pipe:0"
"""Standard input as ffmpeg takes it."""


def input_options(container: Container, *, max_pixels: int, piped: bool = False) -> tuple[str, ...]:
    """Options of one untrusted input, to stand before its ``-i``. ``max_pixels``: a larger frame is an error, not memory.
    ``piped``: it is `PIPE_URL`, and no file at all may be opened."""
    return (
        # The demuxer is ours to choose: left to itself ffmpeg opens a text file named .mp4 as a playlist that reads others.
        "-f", container.value,
        "-format_whitelist", demuxers(container),
        "-protocol_whitelist", "pipe" if piped else "file",
        "-codec_whitelist", ",".join((*VIDEO_DECODERS, *AUDIO_DECODERS, *SUBTITLE_DECODERS)),
        "-max_streams", str(_MAX_STREAMS),
        "-max_pixels", str(max_pixels),
    )  # fmt: skip


def demuxers(container: Container) -> str:
    """The value of ``-format_whitelist``: the one demuxer, by all its names."""
    return _DEMUXERS.get(container, container.value)


def file_url(path: PurePath) -> str:
    """A local path as ffmpeg takes it whatever characters it holds. Raises `ValueError` for a relative path."""
    if not path.is_absolute():
        raise ValueError(f"ffmpeg is given absolute paths only, not {path}")
    return f"file:{path}"
