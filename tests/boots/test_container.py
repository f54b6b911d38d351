"""The image, built and run by a real engine: as small, as confined and as quick as the documentation says."""

from __future__ import annotations

import json
import random
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from tests.support.caller import Caller, fetch
from tests.support.cluster import until
from tests.support.daemon import Daemon, dev
from tests.support.engine import IMAGE, Container, Engine
from tests.support.media import clip
from tests.support.tree import run

pytestmark = pytest.mark.usefixtures("within")

MB = 1_000_000
LARGEST_BYTES = 350 * MB
FIRST_JOB_WITHIN_S = 5.0
STOPS_WITHIN_S = 10.0
STRICT = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--memory", "2g", "--pids-limit", "300"),
)


def free_port() -> int:
    """One that is free with its next; below those that the system gives to connections."""
    while True:
        port = random.randrange(20000, 32000, 2)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.1", port + 1)):
            return port


def ready(container: Container, api: str) -> None:
    def looks() -> bool:
        try:
            return fetch(f"{api}/readyz").status == 200
        except OSError:
            assert container.told(".State.Running"), container.logs()
            return False

    until(looks, within_s=30, what="/readyz")


def test_what_the_image_is(engine: Engine) -> None:
    """Its size, its user, what it tells of itself; and no file of the build in it."""
    [told] = json.loads(engine.docker("image", "inspect", IMAGE))
    assert told["Size"] <= LARGEST_BYTES, f"{told['Size'] / MB:.0f} MB"
    config = told["Config"]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"] == ["CMD", "vproc", "healthcheck"]
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert config["Entrypoint"] == ["tini", "--", "vproc"]
    look = "id -u; find / -xdev -type d -writable -not -path '/proc/*' | sort"
    uid, *writable = engine.docker("run", "--rm", "--network=none", "--entrypoint", "sh", IMAGE, "-c", look).splitlines()
    assert uid == "10001"
    assert set(writable) <= {"/data", "/scratch", "/tmp", "/var/tmp", "/run/lock"}


def test_dev_in_a_container_does_a_job_and_ends_in_time(engine: Engine) -> None:
    """Read-only, without a capability, with limits: the main job within five seconds of the start, in the whole jail."""
    port = free_port()
    api = f"http://127.0.0.1:{port}"
    begun = monotonic()
    with engine.running("dev", options=STRICT, VPROC_PORT=str(port)) as container:
        ready(container, api)
        caller = Caller(api)
        file_id = caller.upload(clip("short.mp4"))
        caller.completed(file_id)
        took_s = monotonic() - begun
        assert took_s <= FIRST_JOB_WITHIN_S, f"{took_s:.1f} s"
        assert "sandbox_probed" in container.logs()
        assert '"sandbox": "full' in container.logs()
        until(lambda: container.told(".State.Health.Status") == "healthy", within_s=60, what="the health check")
        playlist = next(one for one in caller.outputs(file_id) if one["key"].endswith("master.m3u8"))
        assert b"#EXTM3U" in fetch(playlist["url"]).body
        assert container.stop() <= STOPS_WITHIN_S
        assert container.told(".State.ExitCode") == 0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A store and a queue on this machine, whose own daemon takes no jobs."""
    with dev(tmp_path_factory.mktemp("store"), VPROC_ROLES="api") as running:
        yield running


def serve_settings(store: Daemon, port: int) -> dict[str, str]:
    return store.settings | {"VPROC_PORT": str(port), "VPROC_AUTH": "none"}


def test_a_stop_in_the_middle_of_a_job_hands_it_back(engine: Engine, store: Daemon, tmp_path: Path) -> None:
    """`docker stop` ends it within its ten seconds, with 0, and the message is there for the next, which completes the file."""
    port = free_port()
    api = f"http://127.0.0.1:{port}"
    volume = ("--volume", f"{port}:/data")
    with engine.running("serve", options=(*STRICT, *volume), **serve_settings(store, port)) as container:
        ready(container, api)
        caller = Caller(api)
        long = tmp_path / "long.mp4"
        run("ffmpeg", "-v", "error", "-stream_loop", 20, "-i", clip("hd.mp4"), "-c", "copy", long)
        file_id = caller.upload(long)
        until(lambda: caller.status(file_id)["stage"] == "encode", within_s=60, what="the encoding")
        took_s = container.stop()
        assert took_s <= STOPS_WITHIN_S, f"{took_s:.1f} s"
        assert container.told(".State.ExitCode") == 0
        assert '"outcome": "drained"' in container.logs()
    with engine.running("serve", options=(*STRICT, *volume), **serve_settings(store, port)) as container:
        ready(container, api)
        taken, _ = until(
            lambda: caller.status(file_id)["processing_status"] == "processing", within_s=10, what="the second start"
        )
        assert taken
        caller.ask(f"/upload/{file_id}/cancel", "POST")
        assert caller.end_of(file_id)["processing_status"] == "cancelled"
    engine.docker("volume", "rm", str(port))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, ("VPROC_RAW_BUCKET", "VPROC_PROCESSED_BUCKET", "VPROC_QUEUE_URL")),
        (
            {"VPROC_RAW_BUCKET": "raw", "VPROC_PROCESSED_BUCKET": "processed", "VPROC_QUEUE_URL": "http://127.0.0.1:9/1/q"},
            ("VPROC_AUTH",),
        ),
    ],
)
def test_a_wrong_setting_is_told_and_ends_with_78(engine: Engine, settings: dict[str, str], said: tuple[str, ...]) -> None:
    """The exit code that no supervisor should start again, and what is lacking by name. Nobody is let in unasked."""
    given = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
    done = subprocess.run(
        engine.command("run", "--rm", "--network=none", *given, IMAGE), check=False, capture_output=True, text=True
    )
    assert done.returncode == 78
    for name in said:
        assert name in done.stderr


def test_any_user_may_run_it(engine: Engine) -> None:
    """As some platforms have it: a number that the image does not know, with folders of its own."""
    options = ("--user", "23456:23456", "--tmpfs", "/scratch:uid=23456", "--tmpfs", "/data:uid=23456", *STRICT)
    port = free_port()
    with engine.running("dev", options=options, VPROC_PORT=str(port)) as container:
        ready(container, f"http://127.0.0.1:{port}")
        assert container.stop() <= STOPS_WITHIN_S
