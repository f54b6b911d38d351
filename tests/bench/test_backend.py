"""The backend of the bench: what it is told, what it counts, and what its journal says."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest
from aiobotocore.session import AioSession

from bench.backend import JOURNAL, PROCESSED, RAW, open_backend


async def test_the_journal_tells_of_objects_and_events_and_every_call_is_counted(tmp_path: Path) -> None:
    async with open_backend(tmp_path / "data") as backend, aiohttp.ClientSession() as session:
        before = backend.obey("limit 0")
        s3 = backend.environment["AWS_ENDPOINT_URL_S3"]
        for bucket, key in ((RAW, "in.mp4"), (PROCESSED, "out.m4s")):
            async with session.put(f"{s3}/{bucket}/{key}", data=b"abc") as answer:
                answer.raise_for_status()
        options = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
        async with AioSession().create_client("sqs", endpoint_url=backend.environment["AWS_ENDPOINT_URL_SQS"], **options) as sqs:
            received = await sqs.receive_message(QueueUrl=backend.environment["VPROC_QUEUE_URL"], MaxNumberOfMessages=10)
        after = backend.obey("calls")
        with pytest.raises(ValueError, match="no such command"):
            backend.obey("stop")
    bodies = [json.loads(message["Body"]) for message in received["Messages"]]
    keys = [record["s3"]["object"]["key"] for body in bodies for record in body.get("Records", [])]
    assert keys == ["in.mp4"]
    # The event that the store sends, and the receive.
    assert {name: after[name] - before[name] for name in ("s3_calls", "sqs_calls")} == {"s3_calls": 2, "sqs_calls": 2}
    assert len(after["sqs_at"]) == after["sqs_calls"]
    assert after["sqs_at"] == sorted(after["sqs_at"])
    lines = [json.loads(line) for line in (tmp_path / "data" / JOURNAL).read_text().splitlines()]
    assert [(line.get("object"), line.get("event")) for line in lines] == [("in.mp4", None), (None, "in.mp4"), ("out.m4s", None)]
    assert lines == sorted(lines, key=lambda line: line["at"])
