"""`vproc job` as a container runs it: a process for a job, beside a store, a queue and a catalog that daemons share."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.support.caller import fetch
from tests.support.cluster import until
from tests.support.daemon import Daemon, command, dev, environment, run
from tests.support.media import clip
from tests.support.span_collector import collecting, exporting_to
from tests.support.spans import CALLERS, TRACE
from tests.support.tree import run as run_program

pytestmark = pytest.mark.xdist_group("e2e-job")


@dataclass(frozen=True)
class Place:
    """A `vproc dev` that takes no jobs, and what a job beside it is started with."""

    api: Daemon
    folder: Path

    @property
    def settings(self) -> dict[str, str]:
        """Those of the store, and the catalog."""
        return self.api.settings | {
            "VPROC_DATABASE_URL": self.api.ready["database_url"],
            "VPROC_SCRATCH_DIR": str(self.folder),
            "VPROC_MAX_ATTEMPTS": "1",
        }

    def uploaded(self, source: Path, **fields: object) -> tuple[str, str]:
        """A file that was uploaded and nobody processes: its id, and the job that would."""
        announced = self.api.caller.announce(source.name, **fields)
        assert fetch(announced["upload_url"], announced["method"], source.read_bytes(), announced["headers"]).status == 200
        body = json.dumps({"bucket": self.api.ready["raw_bucket"], "key": announced["s3_key"]})
        return announced["file_id"], body

    def job(self, body: str, **settings: str) -> tuple[int, dict[str, Any], str]:
        """Run it: its exit code, what it told, and its log."""
        done = run(self.folder, "job", **self.settings, VPROC_JOB=body, **settings)
        return done.code, json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("job")
    (folder / "work").mkdir()
    (folder / "store").mkdir()
    with dev(folder / "store", VPROC_ROLES="api") as api:
        yield Place(api, folder / "work")


def test_a_job_is_done_and_given_again_is_done_already(place: Place) -> None:
    """Its outputs stand, the original is gone, and the second time nothing is encoded."""
    file_id, body = place.uploaded(clip("second.mp4"), profile="mp4")
    code, told, _ = place.job(body)
    assert (code, told["result"], told["outcome"], told["file_id"]) == (0, "done", "completed", file_id)
    assert place.api.caller.completed(file_id)["attempts"] == 1
    assert "video" in {output["kind"] for output in place.api.caller.outputs(file_id)}
    code, told, log = place.job(body)
    assert (code, told["result"], told["outcome"], told["processing_status"]) == (0, "done", "duplicate", "completed")
    assert "job_ended" not in log
    assert list(place.folder.iterdir()) == []


def test_its_spans_are_sent_before_it_ends(place: Place, tmp_path: Path) -> None:
    """Also where the next batch would be due in an hour; whoever starts it may say which trace it belongs to."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all" * 99)
    file_id, body = place.uploaded(broken)
    with collecting() as collector:
        job = json.loads(body) | {"metadata": {"traceparent": CALLERS}}
        assert place.job(json.dumps(job), **exporting_to(collector.url, OTEL_BSP_SCHEDULE_DELAY="3600000"))[0] == 1
        (span,) = [span for span in collector.spans() if span.name == "job"]
    assert (span.trace_id, span.attributes["vproc.file_id"]) == (TRACE, file_id)
    assert span.attributes["error.type"] == "unsupported_media"


def test_rungs_and_an_id_come_with_the_job(place: Place) -> None:
    """Of a video in full HD the one rung is made that is asked for; the client's own id stands in the file's status."""
    store = boto3.client(
        "s3", endpoint_url=place.api.ready["s3"], region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    store.upload_file(str(clip("hd.mp4")), place.api.ready["raw_bucket"], "dropped/hd.mp4")
    store.close()
    body = {"bucket": place.api.ready["raw_bucket"], "key": "dropped/hd.mp4", "rungs": [360], "job_id": "order-7"}
    code, told, _ = place.job(json.dumps(body | {"rungs": [481]}))
    assert (code, told["outcome"], told["error"]["code"]) == (1, "rejected", "unknown_profile")
    code, told, _ = place.job(json.dumps(body))
    assert (code, told["result"]) == (0, "done")
    shown = place.api.caller.status(told["file_id"])
    assert (shown["profile"], shown["metadata"]) == ("abr:360", {"job_id": "order-7"})
    [master] = [one for one in place.api.caller.outputs(told["file_id"]) if one["key"].endswith("master.m3u8")]
    assert set(re.findall(rb"RESOLUTION=(\d+x\d+)", fetch(master["url"]).body)) == {b"640x360"}


def test_of_several_objects_the_worst_off_is_told(place: Place, tmp_path: Path) -> None:
    """A message of S3's may name more than one; that the first is completed is not the whole."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all" * 100)
    (_, first), (failed, second) = place.uploaded(clip("second.mp4"), profile="mp4"), place.uploaded(broken)
    records = [
        {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": job["bucket"]}, "object": {"key": job["key"]}},
        }
        for job in (json.loads(first), json.loads(second))
    ]
    code, told, _ = place.job(json.dumps({"Records": records}))
    assert (code, told["result"], told["outcome"], told["file_id"]) == (1, "failed", "rejected", failed)


def test_a_default_profile_that_is_not_there_fails_no_file(place: Place) -> None:
    done = run(place.folder, "job", **place.settings | {"VPROC_PROFILE": "nobody"}, VPROC_JOB="{}")
    assert (done.code, "VPROC_PROFILE: takes one of" in done.stderr) == (78, True)


def test_what_is_no_video_has_failed(place: Place, tmp_path: Path) -> None:
    """Exit code 1 and the reason; the file says the same."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all" * 100)
    file_id, body = place.uploaded(broken)
    code, told, _ = place.job(body)
    assert (code, told["result"], told["outcome"], told["processing_status"]) == (1, "failed", "rejected", "failed")
    assert told["error"]["code"] == place.api.caller.status(file_id)["error"]["code"] == "unsupported_media"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"bucket": "another", "key": "a"}', "invalid_message"),
        ("{", "invalid_message"),
        ('{"bucket": "vproc-raw"}', "invalid_message"),
    ],
)
def test_what_is_no_job_is_told(place: Place, body: str, code: str) -> None:
    """By the reason that a dead letter would carry."""
    ended, told, _ = place.job(body)
    assert (ended, told["result"], told["outcome"], told["error"]["code"]) == (1, "failed", "invalid", code)


def test_an_object_that_is_not_there(place: Place) -> None:
    code, told, _ = place.job('{"bucket": "vproc-raw", "key": "nobody.mp4"}')
    assert (code, told["result"], told["outcome"]) == (1, "failed", "missing")


def test_without_a_job_the_usage_is_told(place: Place) -> None:
    done = run(place.folder, "job", **place.settings)
    assert done.code == 2
    assert "no job: give it as VPROC_JOB or on standard input" in done.stderr


def test_a_store_that_is_away_is_75(place: Place) -> None:
    done = run(place.folder, "job", **place.settings | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, VPROC_JOB="{}")
    assert done.code == 75


def test_a_job_that_is_broken_off_may_be_given_again(place: Place, tmp_path: Path) -> None:
    """SIGTERM, and no time to end: 75, no attempt is counted, nothing lies about; meanwhile nobody else gets the file."""
    long = tmp_path / "long.mp4"
    run_program("ffmpeg", "-v", "error", "-stream_loop", 9, "-i", clip("main.mp4"), "-c", "copy", long)
    file_id, body = place.uploaded(long)
    settings = place.settings | {"VPROC_DRAIN_TIMEOUT_S": "0"}
    with (tmp_path / "job.err").open("wb") as log:
        process = subprocess.Popen(
            command("job"),
            env=environment(place.folder, **settings, VPROC_JOB=body),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    until(lambda: place.api.caller.status(file_id)["processing_status"] == "processing", within_s=60, what="the start")
    code, told, _ = place.job(body)
    assert (code, told["result"], told["outcome"]) == (75, "again", "busy")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    told = json.loads(output)
    assert (process.returncode, told["result"], told["outcome"]) == (75, "again", "drained")
    shown = place.api.caller.status(file_id)
    assert (shown["processing_status"], shown["attempts"]) == ("uploaded", 0)
    assert list(place.folder.iterdir()) == []


def test_a_delegated_job_of_another_version_is_refused_in_words(place: Place) -> None:
    """No traceback: whoever watches the task reads why."""
    code, told, log = place.job('{"delegated": 2, "run_id": "r"}')
    assert (code, told["result"], told["outcome"], told["error"]["code"]) == (1, "failed", "invalid", "invalid_message")
    assert "this version cannot read: delegated" in told["error"]["detail"]
    assert "Traceback" not in log
