"""ffmpeg's command lines, each argument with its reason. Pure: tuples of text. No word of a user's enters.

Holds for ffmpeg 4.4 to 9: neither ``-vsync`` (gone in 9) nor ``-fps_mode`` (new in 5.1) is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from vproc.core.allowlist import PIPE_URL, file_url, input_options
from vproc.core.colour import hdr_parameters
from vproc.core.container import Container
from vproc.core.encoders import video_options
from vproc.core.graph import WATCH, sheets_graph, video_graph
from vproc.core.hardware import HardwareTrial, device_options
from vproc.core.ladder import Rung
from vproc.core.media import MediaInfo, MediaLimits
from vproc.core.memory import Pictures, pictures_of
from vproc.core.movie import SampleTable
from vproc.core.plan import (
    OLDEST,
    Encode,
    OutputKind,
    Plan,
    PlannedFile,
    PlannedOutput,
    decide,
    declared_s,
    estimated_bytes,
    outputs_of,
    target_codec,
)  # fmt: skip
from vproc.core.profile import Profile, VideoCodec
from vproc.core.sound import sound_options
from vproc.core.sprite import SpritePlan

# No title, place or software of the uploader's in what is published; no chapter, subtitle or data track.
_STRIP = ("-map_metadata", "-1", "-map_chapters", "-1", "-sn", "-dn")

# A fragment is written out once it is whole, not when 256 KiB are: the daemon sends it while the next is encoded.
_AT_ONCE = ("-flush_packets", "1")

# Fragment = GOP. `delay_moov` lets the header wait for the first packets (channel layout, edit list).
# Composition offsets may be negative instead of an edit list: then a fragment's decode time is its first picture's
# time, in every player, whether it reads edit lists or not.
_CMAF_VIDEO = (
    "-movflags", "+cmaf+frag_keyframe+delay_moov+default_base_moof+negative_cts_offsets", "-use_editlist", "0",
    *_AT_ONCE, "-f", "mp4",
)  # fmt: skip
# The edit list takes AAC's priming (1024 samples) off the start; without it sound is 21 ms late.
_CMAF_AUDIO = ("-movflags", "+cmaf+delay_moov+default_base_moof", "-use_editlist", "1")

_JPEG = ("-c:v", "mjpeg", "-q:v", "3", "-f", "image2")


def make_plan(
    info: MediaInfo,
    profile: Profile,
    *,
    ffmpeg: str,
    source: Path,
    out_dir: Path,
    limits: MediaLimits,
    threads: int | None = None,
    piped: bool = False,
    table: SampleTable | None = None,
    generation: int = OLDEST,
    trials: Sequence[HardwareTrial] = (),
) -> Plan:
    """Everything about one encode. Paths are absolute. ``threads``: for the decoder and for each encoder; None lets them choose.
    ``piped``: the source comes by standard input, from its start to its end. ``table``: the index of its samples, without which
    the top rung is never a copy. ``generation``: ffmpeg's major version; ``trials``: its test encodes by hardware.

    The same arguments give the same pictures, not the same bytes: under a cap x264 goes by how fast its threads are. Raises
    `RejectedError` where the profile takes a stream that the source lacks, or no container takes what ``copy`` would keep.
    """
    encode = decide(info, profile, table, generation=generation, trials=trials)
    outputs = outputs_of(encode, info, out_dir)
    argv = [
        ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-y",
        # A key=value block twice a second on standard output; errors stay on standard error.
        "-nostats", "-progress", "pipe:1", "-stats_period", "0.5",
        *device_options(encode.encoder or ""),
        *_source_options(encode, info, limits, threads, piped),
        "-i", PIPE_URL if piped else file_url(source),
    ]  # fmt: skip
    files = () if encode.tone_map is None else (PlannedFile(out_dir / "tone-map.cube", encode.tone_map),)
    if encode.encoded or encode.poster_px:
        argv += ["-filter_complex", video_graph(encode, watch=not encode.encoded, cube=files[0].path if files else None)]
    if encode.poster_px and not encode.encoded:
        # First, since ffmpeg counts the frames of its first video output.
        argv += ["-map", f"[{WATCH}]", "-f", "null", "-"]
    # A copy is far ahead of everything else: told first, it would be the progress.
    for output in sorted(outputs, key=lambda output: output.copied):
        argv += _output_options(output, encode, info, threads)
    sheets = next((output for output in outputs if output.kind is OutputKind.SPRITE), None)
    return Plan(
        argv=tuple(argv),
        outputs=outputs,
        target_codec=target_codec(encode, info),
        estimated_bytes=estimated_bytes(encode, info),
        duration_s=declared_s(encode, info),
        limit_s=limits.max_duration_s,
        grid=encode.grid,
        piped=piped,
        copied=encode.copied.name if encode.copied else None,
        copy_refused=encode.copy_refused,
        fps=encode.fps if encode.rungs or encode.poster_px else None,
        pictures=_pictures(encode),
        keyframes_only=encode.keyframes_only,
        sprite=encode.sprite,
        thumbs=_thumbs_path(sheets) if sheets else None,
        sheets_argv=_sheets_argv(ffmpeg, encode.sprite, sheets) if encode.sprite and sheets else (),
        files=files,
    )


def fingerprint(plan: Plan) -> str:
    """Which commands made it: equal for equal commands, wherever they ran."""
    directory = str(plan.outputs[0].path.parent.parent)
    text = "\0".join(argument.replace(directory, "") for argument in (*plan.argv[1:], *plan.sheets_argv[1:]))
    return hashlib.sha256(text.encode()).hexdigest()


def self_test_argv(ffmpeg: str, out: Path) -> tuple[str, ...]:
    """An encode of ffmpeg's own test picture and tone with what every job takes of it. A build that cannot do that is broken,
    whatever it says of a file."""
    return (
        ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-y",
        "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=5:duration=0.4", "-f", "lavfi", "-i", "sine=duration=0.4",
        "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-f", "mp4", file_url(out),
    )  # fmt: skip


def decode_check_argv(ffmpeg: str, outputs: Sequence[PlannedOutput]) -> tuple[str, ...]:
    """One cheap run that decodes the key frames of every video and the sound of the first output that has one; empty where
    no output is video or sound.

    Good only when it ends with 0 and says nothing. Each stream goes to a null output of its own: one for all would queue
    whole pictures until the slowest catches up.
    """
    media = [output for output in outputs if output.is_media]
    if not media:
        return ()
    argv = [ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-xerror"]
    pictures = [output.kind in {OutputKind.CMAF_VIDEO, OutputKind.VIDEO} for output in media]
    for output, has_picture in zip(media, pictures, strict=True):
        # Of an input without pictures ffmpeg 9 refuses the option.
        argv += [*(("-skip_frame", "nokey") if has_picture else ()), "-protocol_whitelist", "file", "-i", file_url(output.path)]
    for number, has_picture in enumerate(pictures):
        if has_picture:
            argv += ["-map", f"{number}:v:0", "-f", "null", "-"]
    sound = (number for number, output in enumerate(media) if output.audio_codec or output.width is None)
    for number in list(sound)[:1]:
        argv += ["-map", f"{number}:a:0", "-f", "null", "-"]
    return tuple(argv)


def _pictures(encode: Encode) -> Pictures | None:
    video = encode.video
    if video is None or not (encode.encoded or encode.poster_px):
        return None
    return pictures_of(video.width, video.height, video.bit_depth, encode.encoded, encoder=encode.encoder, deep=encode.keeps_hdr)


def _source_options(encode: Encode, info: MediaInfo, limits: MediaLimits, threads: int | None, piped: bool) -> list[str]:
    options = [*input_options(info.container, max_pixels=limits.max_pixels, piped=piped)]
    if threads is not None:
        options += ["-threads", str(threads)]
    if encode.keyframes_only:
        # Intra pictures rather than key frames: broadcast has open GOPs, whose first picture is no key frame to ffmpeg.
        options += ["-skip_frame", "nointra"]
    if encode.remux is not None and info.container is Container.AVI:
        # AVI holds no presentation times, and MP4 takes nothing without.
        options += ["-fflags", "+genpts"]
    # A source that goes on beyond what it declared is stopped at the limit; reaching it is no success.
    return [*options, "-t", _number(limits.max_duration_s)]


def _output_options(output: PlannedOutput, encode: Encode, info: MediaInfo, threads: int | None) -> list[str]:
    sound = _sound(output, encode.profile)
    match output.kind:
        case OutputKind.POSTER:
            return _poster_options(output)
        case OutputKind.SPRITE:
            return _thumbs_options(output, encode.sprite.count if encode.sprite else 0)
        case _ if encode.remux is not None:
            return _copied(output, encode.remux.muxer, info)
        case OutputKind.CMAF_VIDEO if output.copied and encode.video is not None:
            options = ["-map", f"0:{encode.video.index}", "-c:v", "copy", *_CMAF_VIDEO]
        case OutputKind.CMAF_VIDEO:
            rung = next(rung for rung in encode.rungs if rung.name == output.rendition)
            options = [*_video(rung, encode, threads), *_CMAF_VIDEO]
        case OutputKind.CMAF_AUDIO:
            options = [*sound, *_CMAF_AUDIO, "-frag_duration", str(encode.grid.fragment_s * 1_000_000), *_AT_ONCE, "-f", "mp4"]
        case OutputKind.VIDEO:
            rung = next(rung for rung in encode.rungs if rung.name == output.rendition)
            # Several minutes of one stream may come before the first packet of the other.
            options = [*_video(rung, encode, threads), *sound, "-max_muxing_queue_size", "4096", *_fast_start("mp4")]
        case OutputKind.AUDIO:
            options = [*sound, *_fast_start("ipod")]
    return [*options[:2], *_STRIP, *options[2:], file_url(output.path)]


def _video(rung: Rung, encode: Encode, threads: int | None) -> list[str]:
    encoder = encode.encoder
    if encoder is None:
        raise ValueError("a rung takes a codec")
    described = hdr_parameters(encode.video, encoder) if encode.video is not None and encode.keeps_hdr else ()
    options = video_options(
        rung, encode.profile, encoder=encoder, fps=encode.fps, grid=encode.grid, threads=threads, described=described
    )
    return ["-map", f"[{rung.name}]", *options]


def _sound(output: PlannedOutput, profile: Profile) -> list[str]:
    return sound_options(output.sounds, bitrate_bps=profile.audio_bitrate_bps, most_channels=profile.audio_channels)


def _poster_options(output: PlannedOutput) -> list[str]:
    # Each picture overwrites the last. At a picture a millisecond none is dropped, and one that is doubled does no harm.
    return ["-map", f"[{output.rendition}]", "-r", "1000", *_JPEG, "-update", "1", file_url(output.path)]


def _thumbs_path(sheets: PlannedOutput) -> Path:
    return sheets.path.with_name("thumbs.nut")


def _thumbs_options(sheets: PlannedOutput, count: int) -> list[str]:
    # Not tiled here: a sheet is full after minutes only, and ffmpeg 5 tells no progress before every file is open. NUT holds
    # pictures at any time: where a format wants a constant rate, ffmpeg 7 and later fill up a thumbnail's seconds with copies.
    options = ["-map", "[sprite]", "-enc_time_base", "1:1000", "-c:v", "rawvideo", "-threads", "1", "-flush_packets", "1"]
    # A bound: a source with a hole of a week in its timestamps would fill the disk. One more, which opens the file.
    return [*options, "-f", "nut", "-frames:v", str(count + 1), file_url(_thumbs_path(sheets))]


def _sheets_argv(ffmpeg: str, sprite: SpritePlan, sheets: PlannedOutput) -> tuple[str, ...]:
    return (
        ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-y",
        # A constant rate instead of the file's times: then every sheet comes out once.
        "-protocol_whitelist", "file", "-f", "nut", "-r", "1", "-i", file_url(_thumbs_path(sheets)),
        "-vf", sheets_graph(sprite), *_JPEG, "-frames:v", str(sprite.sheets), _pattern(sheets.path),
    )  # fmt: skip


def _pattern(first: Path) -> str:
    """The muxer's pattern for numbered files; a per cent sign in the directory's name is none of it."""
    return file_url(Path(str(first.parent).replace("%", "%%")) / first.name.replace("001", "%03d"))


def _copied(output: PlannedOutput, muxer: str, info: MediaInfo) -> list[str]:
    options: list[str] = []
    if info.video is not None:
        options += ["-map", f"0:{info.video.index}"]
    for track in info.audio:
        options += ["-map", f"0:{track.index}"]
    options += [*_STRIP, "-c", "copy"]
    for number, track in enumerate(info.audio):
        if track.language is not None:
            options += [f"-metadata:s:a:{number}", f"language={track.language}"]
    if info.video is not None and muxer == "mp4":
        if info.video.codec == VideoCodec.HEVC:
            options += ["-tag:v", "hvc1"]
        if info.video.codec == "mpeg4" and info.container is Container.AVI:
            # DivX packs two pictures in one AVI chunk.
            options += ["-bsf:v", "mpeg4_unpack_bframes"]
    if muxer == "mp4":
        # FLAC and Opus in MP4 are "experimental" to older versions.
        options += ["-strict", "experimental", *_fast_start(muxer)]
    else:
        options += ["-f", muxer]
    return [*options, "-max_muxing_queue_size", "4096", file_url(output.path)]


def _fast_start(muxer: str) -> tuple[str, ...]:
    """The index in front, so that a player starts before it has the whole file."""
    return ("-movflags", "+faststart", "-f", muxer)


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
