"""The commands of the pages, run as they stand there: the README's session with curl, and the set-up on AWS."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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
def api(tmp_path: Path) -> Iterator[str]:
    """The address of a `vproc dev` of its own."""
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
            yield json.loads(line)["api"]
        finally:
            daemon.terminate()
            daemon.wait(30)


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
    """The page's commands make buckets, queue, dead letters, policy and notification, and an upload is then announced."""
    commands = [block for block in blocks("docs/how-to/run-on-aws.md") if "vproc serve" not in block]
    # The AWS CLI 1 does not take SQS's address from the environment.
    cli = f'aws() {{ "{Path(sys.executable).parent}/aws" --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }}\n'
    name = f"acme-{tmp_path.name[-8:].strip('-_')}".lower()
    script = cli + "\n".join(commands).replace("name=acme-video\n", f"name={name}\n")
    seen = run(
        script
        + """
        printf x >clip.mp4
        aws s3 cp --quiet clip.mp4 "s3://$raw/a clip.mp4"
        printf '\\n===\\n'
        aws sqs get-queue-attributes --queue-url "$queue" --attribute-names All
        printf '\\n===\\n'
        aws sqs receive-message --queue-url "$queue" --max-number-of-messages 10
        printf '\\n===\\n'
        aws s3api get-bucket-lifecycle-configuration --bucket "$raw"
        """,
        tmp_path,
        AWS_PAGER="",
    )
    attributes, messages, lifecycle = (json.loads(part) for part in seen.split("\n===\n")[1:])
    queue = attributes["Attributes"]
    assert json.loads(queue["Policy"])["Statement"][0]["Condition"]["ArnEquals"] == {"aws:SourceArn": f"arn:aws:s3:::{name}-raw"}
    assert str(json.loads(queue["RedrivePolicy"])["maxReceiveCount"]) == "100"
    bodies = [json.loads(message["Body"]) for message in messages["Messages"]]
    assert [body["Event"] for body in bodies if "Event" in body] == ["s3:TestEvent"]
    assert [record["s3"]["object"]["key"] for body in bodies for record in body.get("Records", [])] == ["a+clip.mp4"]
    assert lifecycle["Rules"][0]["Expiration"] == {"Days": 21}


def test_the_rights_are_a_policy() -> None:
    """The policy of the page is JSON, allows no more than it names, and never everything."""
    text = (ROOT / "docs/how-to/run-on-aws.md").read_text()
    match = re.search(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert match is not None
    statements = json.loads(match[1])["Statement"]
    assert {statement["Effect"] for statement in statements} == {"Allow"}
    assert not [action for statement in statements for action in statement["Action"] if "*" in action]
    assert not [statement for statement in statements if statement["Resource"] == "*"]
