"""The page about containers, typed as it stands there: on its own network, with the ports that it publishes, with a
store, a queue and a database at the addresses of its bridge."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.support.caller import Caller, fetch
from tests.support.cluster import until
from tests.support.daemon import Daemon, dev
from tests.support.documents import runs, script_of
from tests.support.engine import GATEWAY, IMAGE, Engine
from tests.support.media import clip
from tests.support.postgres import PostgresServer
from tests.support.source import ROOT

pytestmark = pytest.mark.usefixtures("within")

API = "http://127.0.0.1:8080"
STARTS_WITHIN_S = 60


def answers() -> bool:
    try:
        return fetch(f"{API}/readyz").status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def store(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A store and a queue where containers on the bridge find them, whose own daemon takes no jobs."""
    folder = tmp_path_factory.mktemp("store")
    with dev(folder, VPROC_ROLES="api", VPROC_HOST=GATEWAY, VPROC_AUTH="none") as running:
        yield running


@pytest.fixture(scope="module")
def database(engine: Engine) -> Iterator[PostgresServer]:
    """Likewise."""
    server = PostgresServer(address=GATEWAY, clients="samenet")
    server.start()
    yield server
    server.stop()
    server.remove()


@pytest.fixture
def settings(engine: Engine, store: Daemon, database: PostgresServer, tmp_path: Path) -> dict[str, str]:
    """What the page has in `vproc.env`, but for where store, queue and database are; in that file too."""
    told = script_of("docs/how-to/run-in-a-container.md#run-it", language="dotenv")
    written = dict(line.split("=", 1) for line in told.splitlines())
    url = database.url(database.create_database()).replace("+asyncpg", "")
    settings = written | store.settings | {"VPROC_DATABASE_URL": url}
    write_settings(tmp_path, settings)
    engine.type(f"docker run --rm --env-file vproc.env {IMAGE} migrate", tmp_path)
    return settings | {"BUCKETS": f"{written['VPROC_RAW_BUCKET']} {written['VPROC_PROCESSED_BUCKET']}"}


def write_settings(folder: Path, settings: dict[str, str]) -> None:
    (folder / "vproc.env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


@runs("docs/how-to/run-in-a-container.md#try-it")
def test_try_it(engine: Engine, script: str, tmp_path: Path) -> None:
    """The page is at its address, and a video goes in and comes out by the two ports that are published."""
    with engine.typed(script, tmp_path) as shell:
        try:
            until(answers, within_s=STARTS_WITHIN_S, what="the daemon in the container")
            assert b"<html" in fetch(API).body
            caller = Caller(API)
            file_id = caller.upload(clip("short.mp4"))
            caller.completed(file_id)
            playlist = next(one for one in caller.outputs(file_id) if one["key"].endswith("master.m3u8"))
            assert b"#EXTM3U" in fetch(playlist["url"]).body
        finally:
            shell.terminate()
            shell.communicate(timeout=60)
    until(lambda: engine.docker("ps", "--all", "--quiet") == "", within_s=30, what="all is gone with the container")


@runs("docs/how-to/run-in-a-container.md#run-it")
def test_run_it(engine: Engine, settings: dict[str, str], script: str, tmp_path: Path) -> None:
    """It answers at its address, takes the key that the page has made in it and nobody without, does a job, and ends well."""
    page = (ROOT / "docs/how-to/run-in-a-container.md").read_text()
    [make_key] = re.findall(r"`(docker exec vproc vproc keys [^`]+)`", page)
    engine.type(script, tmp_path)
    try:
        until(answers, within_s=STARTS_WITHIN_S, what="the daemon in the container")
        [key] = re.findall(r"vproc_\S+", engine.type(make_key, tmp_path))
        assert Caller(API).ask("/uploads").status == 401
        caller = Caller(API, key)
        caller.completed(caller.upload(clip("short.mp4")))
        [told] = json.loads(engine.docker("inspect", "vproc"))
        assert set(told["HostConfig"]["PortBindings"]) == {"8080/tcp"}
        engine.docker("stop", "vproc")
        [told] = json.loads(engine.docker("inspect", "vproc"))
        assert told["State"]["ExitCode"] == 0, engine.docker("logs", "vproc")[-3000:]
    finally:
        engine.docker("rm", "--force", "vproc")
        engine.docker("volume", "rm", "vproc-data", "vproc-scratch")


@pytest.fixture
def usual_socket(engine: Engine) -> Iterator[None]:
    """The engine where machines have theirs. This one must have none of its own there."""
    usual, own = Path("/var/run/docker.sock"), engine.folder / "docker.sock"
    usual.symlink_to(own)
    os.chown(usual, 0, own.stat().st_gid, follow_symlinks=False)
    yield
    usual.unlink()


@pytest.mark.usefixtures("usual_socket")
@runs("docs/how-to/run-ffmpeg-in-containers.md#the-daemon-itself-in-a-container")
def test_it_runs_ffmpeg_in_containers_beside_itself(
    engine: Engine, settings: dict[str, str], script: str, tmp_path: Path
) -> None:
    """By the engine's socket and nothing more than the page gives it, a job is done in containers of its own image."""
    engine.type(script, tmp_path)
    try:
        until(answers, within_s=STARTS_WITHIN_S, what="the daemon in the container")
        [key] = re.findall(r"vproc_\S+", engine.type("docker exec vproc vproc keys create me --scope admin", tmp_path))
        caller = Caller(API, key)
        assert caller.completed(caller.upload(clip("short.mp4")))["attempts"] == 1
        told = [json.loads(line) for line in engine.type("docker logs vproc 2>&1", tmp_path).splitlines() if line[:1] == "{"]
        assert [line["runner"] for line in told if line["event"] == "sandbox_probed"] == ["docker"]
        assert engine.docker("ps", "--all", "--quiet", "--filter", "label=vproc.daemon") == ""
    finally:
        engine.docker("rm", "--force", "vproc")
        engine.docker("volume", "rm", "vproc-data", "vproc-scratch")


@runs("docs/how-to/run-in-a-container.md#a-container-for-each-video")
def test_a_container_for_each_video(engine: Engine, store: Daemon, settings: dict[str, str], script: str, tmp_path: Path) -> None:
    """It finds the object that the page names, leaves its outputs, and its exit code says so."""
    raw, processed = settings.pop("BUCKETS").split()
    write_settings(tmp_path, settings | {"VPROC_RAW_BUCKET": raw, "VPROC_PROCESSED_BUCKET": processed})
    s3 = boto3.client(
        "s3", endpoint_url=store.ready["s3"], region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    for bucket in (raw, processed):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=raw, Key="films/holiday.mov", Body=clip("short.mp4").read_bytes())
    engine.type(script, tmp_path)
    listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket=processed)["Contents"]]
    assert {"master.m3u8", "metadata.json"} <= {key.rsplit("/", 1)[-1] for key in listed}
