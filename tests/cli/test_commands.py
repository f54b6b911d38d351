"""The client commands, as a shell sees them: standard output, standard error, exit code."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from tests.support.fake_api import FakeApi, status_body
from vproc.cli import cli

GONE = "http://127.0.0.1:1"
DONE = {"processing_status": "completed", "progress": 1.0}


def run(*words: object, api: FakeApi | None = None, **environment: str) -> Result:
    if api is not None:
        environment["VPROC_API_URL"] = api.url
    return CliRunner().invoke(cli, [str(word) for word in words], env=environment)


def lines(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["submit"],
        ["status"],
        ["status", "not-an-id"],
        ["list", "--limit", "0"],
        ["list", "--status", "asleep"],
        ["download"],
        ["dev", "--port", "70000"],
        ["demo", "/no/such/file.mp4"],
        ["healthcheck", "extra"],
    ],
)
def test_wrong_usage_is_exit_2(words: list[str]) -> None:
    """click's own words, and its own code."""
    result = run(*words)
    assert result.exit_code == 2
    assert "Error" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["submit", "status", "list", "watch", "cancel", "retry", "download"])
def test_an_api_that_is_away_is_one_line_with_the_remedy(command: str, clip: Path) -> None:
    """Whatever the command, it is exit 1 and says what to do."""
    words = {"submit": [clip], "list": []}.get(command, [uuid4()])
    result = run(command, *words, "--api", GONE)
    assert result.exit_code == 1
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("vproc: ")
    assert line.endswith(f"no answer from {GONE}: is `vproc serve` running there? Set --api or VPROC_API_URL")


def test_the_api_and_the_key_come_from_options_or_the_environment(api: FakeApi) -> None:
    """The option wins; both reach the API."""
    assert run("list", api=api, VPROC_API_KEY="ENV").exit_code == 0
    assert run("list", "--api", api.url, "--api-key", "OPT", VPROC_API_URL=GONE, VPROC_API_KEY="ENV").exit_code == 0
    assert [key for _, _, key in api.asked] == ["Bearer ENV", "Bearer OPT"]


def test_submit_prints_the_id(api: FakeApi, clip: Path) -> None:
    """Standard output has the ids alone, so that a script may take them."""
    result = run("submit", clip, "--profile", "mp4", api=api)
    assert (result.exit_code, result.stdout) == (0, f"{api.file_id}\n")
    assert api.announced[0]["profile"] == "mp4"
    assert "uploading clip.mp4 (2.4 MiB)" in result.stderr
    assert lines(run("submit", clip, "--json", api=api)) == [
        {"file_id": str(api.file_id), "file_name": "clip.mp4", "source": str(clip)}
    ]


def test_submit_goes_on_after_a_file_that_fails(api: FakeApi, clip: Path) -> None:
    """Each file at fault has its line, the others are uploaded, and the exit code tells."""
    result = run("submit", "none.mp4", clip, api=api)
    assert result.exit_code == 1
    assert result.stdout == f"{api.file_id}\n"
    assert "vproc: none.mp4: no such file" in result.stderr


@pytest.mark.parametrize(("end", "code"), [("completed", 0), ("failed", 1), ("cancelled", 1)])
def test_submit_and_wait_tells_the_end(api: FakeApi, clip: Path, end: str, code: int) -> None:
    """It follows the file, and only a completed one is exit 0."""
    error = {"code": "corrupt_media", "detail": "cut off"} if end == "failed" else None
    api.streams = [[status_body(api.file_id, "processing", 0.5, stage="encode"), status_body(api.file_id, end, 0.9, error=error)]]
    result = run("submit", clip, "--wait", api=api)
    assert result.exit_code == code
    assert result.stdout.split() == [str(api.file_id), end, "90%", "clip.mp4"]
    assert "encode 50%" in result.stderr
    assert ("vproc: clip.mp4 failed: corrupt_media: cut off" in result.stderr) == (end == "failed")


def test_submit_and_wait_as_json(api: FakeApi, clip: Path) -> None:
    """The end is the API's own JSON."""
    end = status_body(api.file_id, "completed", 1.0)
    api.streams = [[end]]
    assert lines(run("submit", clip, "--wait", "--json", api=api)) == [end]


def test_status_of_several(api: FakeApi) -> None:
    """A line a file, with the reason where it failed; or its JSON."""
    failed = status_body(uuid4(), "failed", 0.25, error={"code": "timeout", "detail": "too slow"})
    done = status_body(uuid4(), "completed", 1.0)
    api.statuses = [failed, done]
    result = run("status", failed["file_id"], done["file_id"], api=api)
    assert result.stdout.splitlines() == [
        f"{failed['file_id']}  failed       25%  clip.mp4  (timeout: too slow)",
        f"{done['file_id']}  completed   100%  clip.mp4",
    ]
    api.statuses = [failed, done]
    assert lines(run("status", failed["file_id"], done["file_id"], "--json", api=api)) == [failed, done]


def test_list(api: FakeApi) -> None:
    """Newest first, so many, in one state."""
    api.uploads = [status_body(uuid4(), "failed") for _ in range(3)]
    assert lines(run("list", "--limit", 2, "--status", "failed", "--json", api=api)) == api.uploads[:2]
    assert [line.split()[0] for line in run("list", api=api).stdout.splitlines()] == [u["file_id"] for u in api.uploads]
    assert "status=failed" in api.asked[0][1]


def test_watch(api: FakeApi) -> None:
    """Every change as JSON, or the end as a line; the exit code tells whether it is completed."""
    steps = [status_body(api.file_id, "uploaded"), status_body(api.file_id, "completed", 1.0)]
    api.streams = [steps, steps, [status_body(api.file_id, "expired")]]
    assert lines(run("watch", api.file_id, "--json", api=api)) == steps
    assert run("watch", api.file_id, api=api).stdout.split()[1] == "completed"
    assert run("watch", api.file_id, api=api).exit_code == 1


@pytest.mark.parametrize("command", ["cancel", "retry"])
def test_cancel_and_retry(api: FakeApi, command: str) -> None:
    """They show the file as it is then, or say why not in the API's words."""
    api.statuses = [status_body(api.file_id, "cancelled")]
    assert run(command, api.file_id, api=api).stdout.split()[:2] == [str(api.file_id), "cancelled"]
    assert lines(run(command, api.file_id, "--json", api=api)) == api.statuses
    api.problem = (409, "The file is completed.\nNothing to do.")
    result = run(command, api.file_id, api=api)
    assert (result.exit_code, result.stderr) == (1, f"vproc: {api.file_id}: The file is completed. Nothing to do.\n")


def test_download(api: FakeApi, tmp_path: Path) -> None:
    """It says where the outputs are; run again, that they stand already."""
    key = api.add_object(f"{api.file_id}/run/a.mp4", b"0123")["key"]
    result = run("download", api.file_id, "--to", tmp_path / "to", api=api)
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'to' / str(api.file_id)}\n")
    assert (tmp_path / "to" / key).read_bytes() == b"0123"
    assert f"{key}  4 bytes" in result.stderr
    assert "stands already" in run("download", api.file_id, "--to", tmp_path / "to", api=api).stderr
    [entry] = lines(run("download", api.file_id, "--to", tmp_path / "to", "--json", api=api))
    assert entry["path"] == str(tmp_path / "to" / key)


def test_download_of_what_is_not_completed(api: FakeApi) -> None:
    """The API's reason is the command's."""
    api.problem = (404, "Processed file not available. Current status: processing")
    result = run("download", api.file_id, api=api)
    reason = "Processed file not available. Current status: processing"
    assert (result.exit_code, result.stderr) == (1, f"vproc: {reason}: `vproc status {api.file_id}` tells more\n")


def test_healthcheck(api: FakeApi) -> None:
    """0 when /healthz is 200, else 1 and a line; the port of this machine's daemon is the default."""
    assert run("healthcheck", api=api).exit_code == 0
    assert run("healthcheck", VPROC_PORT=api.url.rpartition(":")[2]).exit_code == 0
    api.problem = (503, "away")
    assert run("healthcheck", api=api).stderr == f"vproc: {api.url}/healthz answered 503\n"
    for address in (GONE, "http://127.0.0.1:none"):
        result = run("healthcheck", "--api", address)
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        assert "is `vproc serve` running there?" in result.stderr
