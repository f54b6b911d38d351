"""VMAF: the command line and what is read of its log; libvmaf itself is not needed here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.processes import BenchError
from bench.vmaf import Vmaf, parse_vmaf, vmaf_argv


def graph(*, fps: str | None) -> str:
    argv = vmaf_argv("ffmpeg", Path("/r.mp4"), Path("/e.mp4"), size_px=(1280, 720), fps=fps, threads=2, every=3)
    assert [argv[argv.index("-i") + 1], argv[argv.index("-lavfi") - 1]] == ["/e.mp4", "/r.mp4"]
    return argv[argv.index("-lavfi") + 1]


def test_both_files_are_brought_to_one_size_rate_and_beginning() -> None:
    """The encode is the first input of libvmaf, the reference the second: the other way round the score is another."""
    encoded, reference, measure = graph(fps="30").split(";")
    chain = "fps=fps=30:start_time=0,scale=1280:720:flags=bicubic,setsar=1,format=yuv420p,settb=1/90000,setpts=PTS-STARTPTS"
    assert (encoded, reference) == (f"[0:v:0]{chain}[encoded]", f"[1:v:0]{chain}[reference]")
    assert measure.startswith("[encoded][reference]libvmaf=")
    assert measure.endswith("n_threads=2:n_subsample=3")


def test_without_a_rate_no_frame_is_dropped() -> None:
    assert "fps=" not in graph(fps=None)


def test_the_mean_is_read_of_the_log() -> None:
    pooled = {"min": 80.5, "max": 99.0, "mean": 93.25, "harmonic_mean": 93.0}
    log = {"frames": [{}, {}, {}], "pooled_metrics": {"vmaf": pooled}}
    assert parse_vmaf(json.dumps(log)) == Vmaf(mean=93.25, harmonic=93.0, least=80.5, frames=3)


@pytest.mark.parametrize("log", ["", "{}", '{"frames": [], "pooled_metrics": {}}'])
def test_a_log_without_a_score_is_an_error(log: str) -> None:
    with pytest.raises(BenchError, match="measured nothing"):
        parse_vmaf(log)
