"""`vproc submit`: what it may be given, several at once, and what it says of each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from click.testing import CliRunner, Result

from tests.support.fake_api import FakeApi, status_body
from tests.support.fake_parts import id_of
from vproc.cli import cli
from vproc.cli.sources import FileSource, NoSource, StreamSource, read_sources
from vproc.client import stream

PART = 100_000


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "UNTOLD_PART_BYTES", PART)
    monkeypatch.setattr(stream, "part_bytes_for", lambda _: PART)


def run(api: FakeApi, *words: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["submit", *map(str, words)], env={"VPROC_API_URL": api.url}, input=stdin)


def test_words_are_files_patterns_standard_input_and_addresses(tmp_path: Path) -> None:
    """A pattern gives files alone, in their order, each once; a name with a bracket is a name where such a file stands."""
    for name in ("b.mp4", "a.mp4", "deep/c.mp4", "[odd].mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    words = ["b.mp4", "?.mp4", "**/c.mp4", "[odd].mp4", "-", "s3://bucket/a/film.mov", "s3://bucket/a/", "*.mkv", "none.mp4"]
    assert read_sources(words, stdin_name="live.ts") == [
        FileSource(Path("b.mp4")),
        FileSource(Path("a.mp4")),
        FileSource(Path("deep/c.mp4")),
        FileSource(Path("[odd].mp4")),
        StreamSource("-", "live.ts"),
        StreamSource("s3://bucket/a/film.mov", "film.mov", ("bucket", "a/film.mov")),
        NoSource("s3://bucket/a/", "takes s3://BUCKET/KEY, the address of one object"),
        NoSource("*.mkv", "no file matches"),
        FileSource(Path("none.mp4")),
    ]


def test_an_address_of_the_web_is_refused_without_its_signature(api: FakeApi) -> None:
    result = run(api, "https://store.example/film.mp4?X-Amz-Signature=SECRET")
    assert result.exit_code == 1
    assert result.stderr == "vproc: https://store.example/film.mp4: takes files, - and s3://BUCKET/KEY, no address of the web\n"


def test_a_pattern_in_quotes_is_ours_to_expand(api: FakeApi, tmp_path: Path) -> None:
    """An id a file on standard output, and lines of progress that name theirs."""
    for number in range(5):
        (tmp_path / f"{number}.mp4").write_bytes(bytes([number]) * 1000)
    result = run(api, "*.mp4", "--parallel", 3)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [str(api.file_id)] * 5
    assert sorted(put.body[0] for put in api.puts) == list(range(5))
    assert "3.mp4: uploaded 100%" in result.stderr.splitlines()


def test_quiet_says_errors_alone(api: FakeApi, clip: Path) -> None:
    result = run(api, clip, "none.mp4", "--quiet")
    assert (result.exit_code, result.stdout) == (1, f"{api.file_id}\n")
    assert result.stderr == "vproc: none.mp4: no such file\n"


def test_a_line_of_json_for_each_file_also_for_one_that_fails(api: FakeApi, clip: Path) -> None:
    result = run(api, clip, "none.mp4", "*.mkv", "--json")
    assert result.exit_code == 1
    told = {line["source"]: line for line in map(json.loads, result.stdout.splitlines())}
    assert told == {
        str(clip): {"file_id": str(api.file_id), "file_name": "clip.mp4", "source": str(clip)},
        "none.mp4": {"file_id": None, "file_name": "none.mp4", "source": "none.mp4", "error": "none.mp4: no such file"},
        "*.mkv": {"file_id": None, "file_name": "*.mkv", "source": "*.mkv", "error": "no file matches"},
    }


def test_one_of_several_that_fails_is_exit_1_and_the_others_are_followed(api: FakeApi, clip: Path) -> None:
    done = status_body(api.file_id, "completed", 1.0)
    api.streams = [[done]]
    result = run(api, clip, "none.mp4", "--wait")
    assert result.exit_code == 1
    assert result.stdout.split() == [str(api.file_id), "completed", "100%", "clip.mp4"]
    assert "vproc: none.mp4: no such file" in result.stderr


@pytest.mark.parametrize("length", [1, PART, 3 * PART, 3 * PART + 5])
def test_standard_input_goes_in_parts_whatever_its_length(api: FakeApi, length: int) -> None:
    """It is announced without a size under the name that is given, and the object is what came."""
    body = os.urandom(length)
    api.parts.on_put = lambda _: api.parts.last.told.update(size=length)  # what the fake compares, once it is known
    result = run(api, "-", "--name", "live.ts", "--profile", "mp4", stdin=body)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{id_of(api.parts.last)}\n"
    assert api.parts.last.joined == body
    assert api.parts.last.told["filename"] == "live.ts"
    assert api.parts.last.told["metadata"] == {"profile": "mp4"}
    assert sorted(api.parts.sent) == list(range(1, -(-length // PART) + 1))


def test_a_part_of_standard_input_is_sent_again(api: FakeApi) -> None:
    """It is held until it stands."""
    body = os.urandom(2 * PART)
    api.parts.on_put = lambda _: api.parts.last.told.update(size=len(body))
    api.parts.put_faults = {1: [503, 0]}
    result = run(api, "-", "--name", "live.ts", stdin=body)
    assert (result.exit_code, api.parts.last.joined == body) == (0, True)
    assert api.parts.sent.count(1) == 3


def test_standard_input_that_is_empty_announces_nothing(api: FakeApi) -> None:
    result = run(api, "-", "--name", "live.ts", stdin=b"")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "vproc: -: live.ts: there was nothing in it"
    assert api.asked == []


def test_a_stream_that_the_store_refuses_is_given_up(api: FakeApi) -> None:
    """Nothing of it is left at the store."""
    api.parts.put_faults = {1: [400]}
    result = run(api, "-", "--name", "live.ts", stdin=b"x" * PART)
    assert result.exit_code == 1
    assert "the store answered 400" in result.stderr
    assert api.parts.last.given_up


@pytest.mark.parametrize("words", [["-"], ["film.mp4", "--name", "x.mp4"]])
def test_standard_input_and_its_name_go_together(api: FakeApi, words: list[str]) -> None:
    result = run(api, *words)
    assert result.exit_code == 2
    assert "--name goes with -" in result.stderr


def test_an_object_of_any_bucket_is_copied(api: FakeApi, moto_url: str) -> None:
    """It is read with the caller's own credentials and arrives as it was; one that is not there has its line."""
    bucket, body = f"films-{uuid4().hex[:8]}", os.urandom(3 * PART + 7)
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="2024/été.mov", Body=body)
    s3.close()
    result = run(api, f"s3://{bucket}/2024/été.mov")
    assert result.exit_code == 0, result.stderr
    assert api.parts.last.joined == body
    assert (api.parts.last.told["filename"], api.parts.last.told["size"]) == ("été.mov", len(body))
    result = run(api, f"s3://{bucket}/none.mov")
    assert (result.exit_code, result.stderr) == (1, f"vproc: s3://{bucket}/none.mov: no such object\n")
