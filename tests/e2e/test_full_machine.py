"""A daemon with default settings whose machine is full: a short clip does not wait for the film before it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.caller import fetch
from tests.support.cluster import until
from tests.support.daemon import dev
from tests.support.media import FFMPEG, clip

pytestmark = pytest.mark.xdist_group("e2e-full-machine")


def film_of(video: Path, to: Path) -> Path:
    """The video forty times over."""
    subprocess.run([FFMPEG, "-v", "error", "-stream_loop", "39", "-i", video, "-c", "copy", to], check=True)
    return to


def test_a_clip_that_is_put_later_completes_while_the_film_is_encoded(tmp_path: Path) -> None:
    """And the film goes on: its time was not up, its attempt is the first."""
    film = film_of(clip("hd.mp4"), tmp_path / "film.mp4")
    with dev(tmp_path) as daemon:
        slow = daemon.caller.upload(film)
        until(lambda: daemon.caller.status(slow)["stage"] == "encode", within_s=60, what="the film's encode")
        quick = daemon.caller.upload(clip("short.mp4"))
        assert daemon.caller.completed(quick)["attempts"] == 1
        told = daemon.caller.status(slow)
        assert (told["processing_status"], told["stage"], told["attempts"]) == ("processing", "encode", 1)
        until(lambda: b"vproc_jobs_in_progress 1.0" in fetch(f"{daemon.api}/metrics").body, within_s=20, what="the clip's end")
        assert b"vproc_jobs_waiting 0.0" in fetch(f"{daemon.api}/metrics").body
        assert daemon.caller.ask(f"/upload/{slow}/cancel", "POST").status in (200, 202)
        until(lambda: daemon.caller.status(slow)["processing_status"] == "cancelled", within_s=20, what="the film cancelled")
