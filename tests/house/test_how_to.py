"""The commands of the pages, run as they stand there: the README's session with curl, the set-up on AWS, the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import pytest

from tests.support.source import ROOT

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: str, *, heading: str | None = None) -> list[str]:
    """A page's shell commands, of one section where it is named."""
    text = (ROOT / page).read_text()
    if heading is not None:
        text = re.split(r"^## ", text.partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    found = BLOCK.findall(text)
    assert found, f"{page} has no commands under {heading}"
    return found


def run(script: str, folder: Path, **environment: str) -> str:
    """Run commands as a person would type them; the output of the last. They stop at the first that fails."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# --- the README's session ----------------------------------------------------------------------------------------------


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What a `vproc dev` of its own says when it is ready."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VPROC_", "AWS_"))}
    log = (tmp_path / "dev.log").open("w")
    with (
        log,
        subprocess.Popen(
            [sys.executable, "-m", "vproc", "dev", "--port", "0"],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as daemon,
    ):
        assert daemon.stdout is not None
        line = daemon.stdout.readline()
        try:
            assert line, (tmp_path / "dev.log").read_text()
            yield json.loads(line)
        finally:
            daemon.terminate()
            daemon.wait(30)


@pytest.fixture
def api(ready: dict[str, str]) -> str:
    """The address of its API."""
    return ready["api"]


def test_the_session_of_the_readme_works(api: str, tmp_path: Path) -> None:
    """Announce, upload by `curl -T`, follow, fetch: as the README tells it, and the last answer lists the outputs."""
    run(
        "ffmpeg -v error -f lavfi -i testsrc2=size=640x360:rate=25:duration=2 -f lavfi -i sine=duration=2 "
        "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac holiday.mp4",
        tmp_path,
    )
    commands = "\n".join(blocks("README.md", heading="The API by curl"))
    assert "http://127.0.0.1:8080" in commands
    *_, answer = run(
        commands.replace("http://127.0.0.1:8080", api).replace("curl ", "curl --fail-with-body "), tmp_path
    ).splitlines()
    processed = json.loads(answer[answer.index('{"download_url"') :])
    assert {"hls", "dash", "poster"} <= {output["kind"] for output in processed["outputs"]}


def test_parts_by_curl_work(api: str, tmp_path: Path) -> None:
    """The page's commands announce, send every part and join them, and the file is processed as the profile says."""
    run(
        "ffmpeg -v error -f lavfi -i testsrc2=size=640x360:rate=25:duration=20 -c:v libx264 -qp 0 -preset ultrafast film.mp4",
        tmp_path,
    )
    assert (tmp_path / "film.mp4").stat().st_size > 6 * 1024 * 1024
    commands = blocks("docs/how-to/uploads.md", heading="Parts with curl")
    script = "\n".join(commands).replace("-b 64M", "-b 5M")
    joined = json.loads(run(script, tmp_path, api=api, key="any").strip().splitlines()[-1])
    assert set(joined) == {"location", "key", "bucket"}
    assert len(list(tmp_path.glob("part.*"))) > 1
    file_id = joined["key"].rpartition("/")[2].removesuffix(".mp4")
    end = run(f"curl -fsSN --max-time 60 {api}/upload/{file_id}/events | grep '^data:' | tail -1 | cut -c 6-", tmp_path)
    status = json.loads(run(f"curl -fsS {api}/upload/{file_id}/status", tmp_path))
    assert (status["processing_status"], status["profile"]) == ("completed", "mp4"), end


# --- the set-up on AWS -------------------------------------------------------------------------------------------------


def test_the_set_up_on_aws_works(moto_url: str, tmp_path: Path) -> None:
    """The page's commands show, make, look at and would take away; an upload to what they made is announced."""
    commands = [block for block in blocks("docs/how-to/run-on-aws.md") if "vproc serve" not in block]
    assert len(commands) == 3
    name = f"acme-{uuid4().hex[:8]}"
    script = "\n".join(commands).replace("acme-video", name).replace(".venv/bin/vproc", f"{sys.executable} -m vproc")
    cli = f"{Path(sys.executable).parent}/aws --endpoint-url {moto_url}"
    seen = run(
        script
        + f"""
        printf x >clip.mp4
        {cli} s3 cp --quiet clip.mp4 "s3://{name}-raw/a clip.mp4"
        printf '\\n===\\n'
        {cli} sqs receive-message --queue-url "{moto_url}/123456789012/{name}" --max-number-of-messages 10
        """,
        tmp_path,
        AWS_PAGER="",
        PYTHONPATH=str(ROOT),
        AWS_DEFAULT_REGION="eu-west-1",
    )
    told, messages = seen.split("\n===\n")
    assert f"VPROC_RAW_BUCKET={name}-raw\n" in told
    assert "all stands\n" in told
    assert "nothing was done\n" in told.splitlines(keepends=True)[-1]
    bodies = [json.loads(message["Body"]) for message in json.loads(messages)["Messages"]]
    assert [record["s3"]["object"]["key"] for body in bodies for record in body.get("Records", [])] == ["a+clip.mp4"]


# --- the command line --------------------------------------------------------------------------------------------------


def test_the_page_of_the_command_line_works(ready: dict[str, str], tmp_path: Path) -> None:
    """Its commands, one after another in one shell, as a person types them: files, a pattern, a stream, a bucket; and what they
    leave behind."""
    make = "ffmpeg -v error -f lavfi -i testsrc2=size=320x180:rate=25:duration=2 -c:v libx264 -preset ultrafast -pix_fmt yuv420p"
    run(f"{make} holiday.mp4 && mkdir -p films/old bin && cp holiday.mp4 films/a.mp4 && cp holiday.mp4 films/old/b.mp4", tmp_path)
    program = tmp_path / "bin" / "vproc"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vproc "$@"\n')
    program.chmod(0o755)
    s3 = boto3.client("s3", endpoint_url=ready["s3"], region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    s3.create_bucket(Bucket="films")
    s3.upload_file(str(tmp_path / "holiday.mp4"), "films", "2024/premiere.mp4")
    s3.close()
    commands = blocks("docs/how-to/use-the-command-line.md")
    assert "http://127.0.0.1:8080" in commands[0]
    told = run(
        "\n".join(commands).replace("http://127.0.0.1:8080", ready["api"]) + "\nvproc list --limit 100 --json",
        tmp_path,
        PATH=f"{program.parent}:{os.environ['PATH']}",
        PYTHONPATH=str(ROOT),
        XDG_STATE_HOME=str(tmp_path / "state"),
        AWS_ENDPOINT_URL=ready["s3"],
        AWS_ACCESS_KEY_ID="x",
        AWS_SECRET_ACCESS_KEY="x",
        AWS_REGION="us-east-1",
    )
    assert "['completed']" in told
    listed = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert sorted(file["file_name"] for file in listed) == ["a.mp4", "b.mp4", "holiday.mp4", "holiday.ts", "premiere.mp4"]
    assert {file["processing_status"] for file in listed} == {"completed"}
    (outputs,) = (tmp_path / "outputs").iterdir()
    assert list(outputs.rglob("master.m3u8"))
    assert list(outputs.rglob("poster*"))
