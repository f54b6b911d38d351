"""What stands before each untrusted input."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from vproc.core.allowlist import AUDIO_DECODERS, SUBTITLE_DECODERS, VIDEO_DECODERS, file_url, input_options
from vproc.core.container import Container


def options(container: Container) -> dict[str, str]:
    argv = input_options(container, max_pixels=1000)
    return dict(zip(argv[::2], argv[1::2], strict=True))


@pytest.mark.parametrize("container", list(Container))
def test_the_demuxer_is_forced_and_no_other_may_be_opened(container: Container) -> None:
    found = options(container)
    assert found["-f"] == container.value
    assert container.value in found["-format_whitelist"].split(",")
    assert not {"hls", "concat", "dash", "sdp", "rtsp"} & set(found["-format_whitelist"].split(","))


def test_only_local_files_are_read_and_frames_have_a_bound() -> None:
    found = options(Container.MOV)
    assert (found["-protocol_whitelist"], found["-max_pixels"]) == ("file", "1000")


def test_the_decoders_are_named_once_and_the_dangerous_ones_are_not() -> None:
    decoders = [*VIDEO_DECODERS, *AUDIO_DECODERS, *SUBTITLE_DECODERS]
    assert len(decoders) == len(set(decoders))
    assert options(Container.AVI)["-codec_whitelist"].split(",") == decoders
    assert not {"magicyuv", "xbin", "ansi", "tmv", "hap", "exr", "tiff", "gif"} & set(decoders)


def test_a_path_is_absolute_and_never_an_option_or_an_address() -> None:
    assert file_url(PurePosixPath("/scratch/http:x/-i.mp4")) == "file:/scratch/http:x/-i.mp4"
    with pytest.raises(ValueError, match="absolute"):
        file_url(PurePosixPath("-i.mp4"))
