"""Hardware encoders: which are tried, how, and which encoder is used in the end."""

from __future__ import annotations

import pytest

from vproc.core.hardware import (
    SOFTWARE_ENCODERS,
    HardwareTrial,
    choose_encoder,
    device_options,
    drives_hardware,
    encoders_to_try,
    hardware_encoders,
    judge_trial,
    trial_argv,
    upload_filter,
)

REFUSED = """[h264_nvenc @ 0x55] Cannot load libcuda.so.1
Error initializing output stream 0:0 -- Error while opening encoder
"""


def trials(**worked: bool) -> tuple[HardwareTrial, ...]:
    return tuple(HardwareTrial(name, works) for name, works in worked.items())


@pytest.mark.parametrize(
    ("codec", "tried", "chosen"),
    [
        ("h264", {}, "libx264"),
        ("h264", {"h264_nvenc": False, "h264_vaapi": False}, "libx264"),
        ("h264", {"h264_nvenc": False, "h264_vaapi": True}, "h264_vaapi"),
        ("h264", {"h264_vaapi": True, "h264_qsv": True, "h264_nvenc": True}, "h264_nvenc"),
        ("hevc", {"h264_nvenc": True, "hevc_nvenc": False}, "libx265"),
        ("hevc", {"hevc_videotoolbox": True}, "hevc_videotoolbox"),
        ("av1", {"av1_qsv": True, "av1_vaapi": True}, "av1_qsv"),
        ("av1", {"hevc_nvenc": True}, "libsvtav1"),
        ("vp9", {"h264_nvenc": True}, "libvpx-vp9"),
    ],
)
def test_the_best_encoder_that_worked_is_chosen_and_software_where_none_did(
    codec: str, tried: dict[str, bool], chosen: str
) -> None:
    assert choose_encoder(codec, trials(**tried)) == chosen


@pytest.mark.parametrize("codec", SOFTWARE_ENCODERS)
def test_every_codec_can_be_encoded_without_hardware(codec: str) -> None:
    assert choose_encoder(codec, ()) == SOFTWARE_ENCODERS[codec]


def test_what_is_not_encoded_at_all_has_no_encoder() -> None:
    assert hardware_encoders("theora") == ()
    with pytest.raises(KeyError):
        choose_encoder("theora", ())


def test_only_what_the_build_lists_and_a_profile_asks_for_is_tried() -> None:
    listed = {"libx264", "h264_nvenc", "h264_vaapi", "hevc_vaapi", "av1_vaapi"}
    assert encoders_to_try({"hevc", "h264"}, listed) == ("h264_nvenc", "h264_vaapi", "hevc_vaapi")
    assert encoders_to_try({"vp9"}, listed) == ()
    assert encoders_to_try({"h264"}, {"libx264"}) == ()


def test_apples_encoders_make_no_av1() -> None:
    assert hardware_encoders("av1") == ("av1_nvenc", "av1_qsv", "av1_vaapi")


@pytest.mark.parametrize(
    ("encoder", "device", "upload"),
    [
        ("h264_nvenc", (), None),
        ("hevc_qsv", (), "format=nv12"),
        ("av1_vaapi", ("-vaapi_device", "/dev/dri/renderD128"), "format=nv12,hwupload"),
        ("hevc_videotoolbox", (), None),
    ],
)
def test_pictures_are_put_where_the_encoder_takes_them(encoder: str, device: tuple[str, ...], upload: str | None) -> None:
    assert device_options(encoder) == device
    assert upload_filter(encoder) == upload
    argv = trial_argv("/bin/ffmpeg", encoder)
    assert argv[0] == "/bin/ffmpeg"
    assert argv[argv.index("-c:v") + 1] == encoder
    assert argv[argv.index("-vf") + 1] == ",".join(filter(None, ("format=yuv420p", upload)))
    assert set(device) <= set(argv[: argv.index("-i")])
    assert argv[-3:] == ("-f", "null", "-")


@pytest.mark.parametrize(
    ("returncode", "stderr", "works", "reason"),
    [
        (0, "", True, ""),
        (0, "a warning", True, ""),
        (1, REFUSED, False, "Cannot load libcuda.so.1"),
        (1, "\n \n", False, "ffmpeg ended with 1"),
        (-11, "", False, "ffmpeg ended with -11"),
        (1, "x" * 5000, False, "x" * 200),
    ],
)
def test_a_trial_is_judged_by_its_end_and_keeps_the_cause(returncode: int, stderr: str, works: bool, reason: str) -> None:
    assert judge_trial("h264_nvenc", returncode=returncode, stderr=stderr) == HardwareTrial("h264_nvenc", works, reason)


@pytest.mark.parametrize(
    ("argv", "drives"),
    [
        (trial_argv("/bin/ffmpeg", "hevc_vaapi"), True),
        (("ffmpeg", "-c:v", "av1_nvenc", "x.mp4"), True),
        (("ffmpeg", "-c:v", "libx264", "/jobs/h264_nvenc/x.mp4"), False),
        ((), False),
    ],
)
def test_a_command_line_that_drives_hardware_is_known_by_its_encoder(argv: tuple[str, ...], drives: bool) -> None:
    assert drives_hardware(argv) is drives
