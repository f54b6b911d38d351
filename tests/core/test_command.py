"""Rules that every command line keeps; whole ones are in tests/golden."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.samples import LIMITS, audio, media, video
from vproc.core.command import decode_check_argv, make_plan
from vproc.core.container import Container
from vproc.core.hardware import HardwareTrial
from vproc.core.media import MediaInfo
from vproc.core.plan import Plan
from vproc.core.profile import HdrMode
from vproc.profiles import builtin_profile, builtin_profiles

SOURCE, OUT = Path("/scratch/job/in"), Path("/scratch/job/out")
HD = media(video(), audio())


def plan(profile: str, info: MediaInfo = HD, **changes: Any) -> Plan:
    arguments = {"ffmpeg": "/usr/bin/ffmpeg", "source": SOURCE, "out_dir": OUT, "limits": LIMITS, **changes}
    return make_plan(info, builtin_profile(profile), **arguments)


def value(argv: tuple[str, ...], option: str) -> str:
    return argv[argv.index(option) + 1]


@pytest.mark.parametrize("profile", sorted(builtin_profiles()))
def test_the_input_is_confined_and_ffmpeg_listens_to_nobody(profile: str) -> None:
    argv = plan(profile).argv
    before = argv[: argv.index("-i")]
    assert argv[:2] == ("/usr/bin/ffmpeg", "-nostdin")
    for option in ("-f", "-format_whitelist", "-protocol_whitelist", "-codec_whitelist", "-max_pixels", "-t"):
        assert option in before
    assert argv.count("-i") == 1
    assert value(argv, "-i") == "file:/scratch/job/in"
    assert value(argv, "-progress") == "pipe:1"


@pytest.mark.parametrize("profile", sorted(builtin_profiles()))
def test_no_option_is_used_that_a_version_between_4_4_and_9_lacks(profile: str) -> None:
    assert not {"-vsync", "-fps_mode", "-map_channel", "-psnr", "-qphist"} & set(plan(profile).argv)


@pytest.mark.parametrize("profile", ["abr", "mp4", "h264", "hevc", "swap", "audio", "copy"])
def test_every_media_file_is_stripped_of_what_the_uploader_wrote(profile: str) -> None:
    made = plan(profile)
    assert made.argv.count("-map_metadata") == made.argv.count("-map_chapters") == sum(output.is_media for output in made.outputs)


@pytest.mark.parametrize("profile", sorted(builtin_profiles()))
def test_every_output_is_an_absolute_path_in_the_directory(profile: str) -> None:
    made = plan(profile)
    written = [word for word in made.argv if word.startswith(f"file:{OUT}")]
    wanted = [made.thumbs if output.rendition == "sprite" else output.path for output in made.outputs]
    assert written == [f"file:{path}" for path in wanted]


def test_a_per_cent_sign_in_the_directory_is_no_pattern() -> None:
    made = plan("thumbnails", out_dir=Path("/scratch/100%/out"))
    assert "file:/scratch/100%%/out/sprite-%03d.jpg" in made.sheets_argv
    assert "file:/scratch/100%/out/thumbs.nut" in made.sheets_argv
    assert {"file:/scratch/100%/out/poster.jpg", "file:/scratch/100%/out/thumbs.nut"} <= set(made.argv)


@pytest.mark.parametrize("profile", ["abr", "thumbnails"])
def test_thumbnails_are_written_one_by_one_and_tiled_by_a_second_command(profile: str) -> None:
    """One picture more than is planned: nothing, which opens the file at once and is left out of the sheets."""
    made = plan(profile, media(video(end_s=60.0), duration_s=60.0))
    assert made.sprite is not None
    assert made.sprite.count == 60
    assert value(made.argv, "-frames:v") == "61"
    assert "tile" not in value(made.argv, "-filter_complex")
    assert made.thumbs == OUT / "thumbs.nut"
    assert value(made.sheets_argv, "-i") == f"file:{made.thumbs}"
    assert value(made.sheets_argv, "-vf").startswith("trim=start_frame=1,")
    assert "tile=5x5" in value(made.sheets_argv, "-vf")
    assert value(made.sheets_argv, "-frames:v") == "3"
    assert made.sheets_argv[:2] == ("/usr/bin/ffmpeg", "-nostdin")


@pytest.mark.parametrize("profile", ["mp4", "h264", "hevc", "swap", "audio", "copy"])
def test_without_a_sprite_there_is_one_command(profile: str) -> None:
    made = plan(profile)
    assert (made.sheets_argv, made.thumbs, made.sprite) == ((), None, None)


def test_a_relative_path_is_no_path() -> None:
    with pytest.raises(ValueError, match="absolute"):
        plan("copy", source=Path("in.mp4"))


@pytest.mark.parametrize(("tracks", "channels"), [(audio(channels=1), "1"), (audio(channels=2), "2"), (audio(channels=8), "2")])
def test_sound_is_mixed_down_to_stereo_and_mono_stays(tracks: Any, channels: str) -> None:
    assert value(plan("audio", media(None, tracks)).argv, "-ac:a") == channels


@pytest.mark.parametrize(("rate", "resampled"), [(44100, False), (48000, False), (8000, True), (96000, True)])
def test_odd_sample_rates_become_48_khz(rate: int, resampled: bool) -> None:
    argv = plan("audio", media(None, audio(sample_rate=rate))).argv
    assert ("-ar:a" in argv) is resampled


def test_threads_are_given_to_the_decoder_and_to_each_encoder() -> None:
    argv = plan("abr", threads=2).argv
    assert argv.index("-threads") < argv.index("-i")
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "-threads"] == ["2"] * (1 + 3) + ["1"]
    assert "-threads" not in plan("mp4").argv
    assert ":pools=2" in value(plan("hevc", threads=2).argv, "-x265-params")


def test_hevc_is_tagged_hvc1_and_has_closed_gops_on_the_grid() -> None:
    argv = plan("hevc", media(video(fps=video().fps), audio())).argv
    assert value(argv, "-tag:v") == "hvc1"
    assert {"open-gop=0", "scenecut=0", "keyint=120"} <= set(value(argv, "-x265-params").split(":"))


def test_a_copy_keeps_every_track_and_its_language() -> None:
    info = media(video(codec="hevc"), audio(1, language="deu"), audio(4, language=None), audio(5, language="en"))
    argv = plan("copy", info).argv
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "-map"] == ["0:0", "0:1", "0:4", "0:5"]
    assert value(argv, "-metadata:s:a:0") == "language=deu"
    assert value(argv, "-metadata:s:a:2") == "language=en"
    assert "-metadata:s:a:1" not in argv
    assert (value(argv, "-c"), value(argv, "-tag:v"), value(argv, "-movflags")) == ("copy", "hvc1", "+faststart")


def test_a_copy_out_of_avi_makes_the_times_that_avi_lacks() -> None:
    avi = replace(media(video(codec="mpeg4"), audio(codec="mp3")), container=Container.AVI)
    argv = plan("copy", avi).argv
    assert value(argv, "-fflags") == "+genpts"
    assert value(argv, "-bsf:v") == "mpeg4_unpack_bframes"
    assert "-fflags" not in plan("copy").argv


def test_a_plan_knows_its_limit_its_duration_and_its_rate() -> None:
    made = plan("abr")
    assert (made.limit_s, made.duration_s, made.fps) == (21600, 10.0, 30)
    assert value(made.argv, "-t") == "21600"
    assert plan("audio").fps is None
    assert plan("abr", replace(HD, container=Container.MPEG)).duration_s is None
    long = media(video(end_s=600.0), duration_s=600.0)
    assert plan("thumbnails", long).keyframes_only
    assert not plan("abr", long).keyframes_only


def test_the_check_decodes_key_frames_of_each_video_and_one_sound() -> None:
    argv = decode_check_argv("ffmpeg", plan("abr").outputs)
    assert argv.count("-i") == 4
    assert argv.count("-skip_frame") == 3, "of an input without pictures ffmpeg 9 refuses it"
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "-map"] == ["0:v:0", "1:v:0", "2:v:0", "3:a:0"]
    mp4 = decode_check_argv("ffmpeg", plan("mp4").outputs)
    assert [mp4[at + 1] for at, word in enumerate(mp4) if word == "-map"] == ["0:v:0", "1:v:0", "2:v:0", "0:a:0"]


def test_pictures_alone_need_no_such_check() -> None:
    assert decode_check_argv("ffmpeg", plan("thumbnails").outputs) == ()


def test_a_table_of_colours_is_a_file_of_the_plan() -> None:
    film = media(video(color_transfer="smpte2084", max_cll_nits=1000), audio())
    plan = make_plan(film, builtin_profile("abr"), ffmpeg="ffmpeg", source=SOURCE, out_dir=OUT, limits=LIMITS)
    (table,) = plan.files
    assert str(table.path) in plan.argv[plan.argv.index("-filter_complex") + 1]
    assert table.path.parent == OUT
    assert table.content().startswith(b"LUT_3D_SIZE")
    plain = make_plan(media(video()), builtin_profile("abr"), ffmpeg="ffmpeg", source=SOURCE, out_dir=OUT, limits=LIMITS)
    assert plain.files == ()


def test_kept_hdr_tells_the_encoder_its_brightness() -> None:
    film = media(video(color_transfer="smpte2084", max_cll_nits=1000, max_fall_nits=200))
    kept = replace(builtin_profile("hevc"), hdr=HdrMode.KEEP)
    made = [
        make_plan(film, profile, ffmpeg="ffmpeg", source=SOURCE, out_dir=OUT, limits=LIMITS)
        for profile in (kept, builtin_profile("hevc"))
    ]
    told = ["max-cll=1000,200" in value(one.argv, "-x265-params").split(":") for one in made]
    assert told == [True, False]


@pytest.mark.parametrize(
    ("trials", "encoder", "device"),
    [
        ((), "libx264", False),
        ((HardwareTrial("h264_nvenc", works=True),), "h264_nvenc", False),
        (
            (HardwareTrial("h264_nvenc", works=False), HardwareTrial("h264_vaapi", works=True)),
            "h264_vaapi",
            True,
        ),
        ((HardwareTrial("hevc_nvenc", works=True),), "libx264", False),
    ],
)
def test_a_hardware_encoder_is_taken_where_its_trial_worked(
    trials: tuple[HardwareTrial, ...], encoder: str, device: bool
) -> None:
    profile = replace(builtin_profile("mp4"), hardware=True)
    plan = make_plan(HD, profile, ffmpeg="ffmpeg", source=SOURCE, out_dir=OUT, limits=LIMITS, trials=trials)
    assert plan.argv[plan.argv.index("-c:v") + 1] == encoder
    assert (",hwupload[v720]" in plan.argv[plan.argv.index("-filter_complex") + 1]) == device
    assert ("-vaapi_device" in plan.argv) == device
    assert plan.daring == (encoder != "libx264")
    unasked = make_plan(HD, builtin_profile("mp4"), ffmpeg="ffmpeg", source=SOURCE, out_dir=OUT, limits=LIMITS, trials=trials)
    assert unasked.argv[unasked.argv.index("-c:v") + 1] == "libx264"
