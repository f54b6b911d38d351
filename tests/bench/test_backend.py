"""The backend of the bench: what it is told, what it counts, and what its journal says."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import anyio
import anyio.lowlevel
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


async def test_parts_are_counted_as_they_come_in_and_what_stands_is_told(tmp_path: Path) -> None:
    """A part that breaks off counts with what came of it, and does not stand; a part that replaces another counts twice."""
    async with open_backend(tmp_path / "data") as backend, aiohttp.ClientSession() as session:
        url = f"{backend.environment['AWS_ENDPOINT_URL_S3']}/{RAW}/film.mp4"
        async with session.post(f"{url}?uploads") as answer:
            upload_id = (await answer.text()).partition("<UploadId>")[2].partition("<")[0]

        async def put(number: int, body: bytes, *, told: int | None = None) -> None:
            headers = {"Content-Length": str(told or len(body))}
            async with session.put(f"{url}?partNumber={number}&uploadId={upload_id}", data=body, headers=headers) as answer:
                answer.raise_for_status()

        await put(1, b"abc")
        await put(1, b"abcd")
        await put(3, b"ef")
        # aiohttp itself will not send less than it announced: the connection is what breaks off.
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].partition("/")[0]))
        writer.write(f"PUT /{RAW}/film.mp4?partNumber=4&uploadId={upload_id} HTTP/1.1\r\n".encode())
        writer.write(b"Host: x\r\nContent-Length: 100\r\n\r\n0123456789")
        await writer.drain()
        while backend.obey("parts")["received_bytes"] < 19:
            await anyio.lowlevel.checkpoint()
        assert backend.obey("parts")["arriving"] == 1
        writer.close()
        while backend.obey("parts")["arriving"]:
            await anyio.lowlevel.checkpoint()
        assert backend.obey("parts") == {
            "received_bytes": 19, "parts": 3, "arriving": 0, "standing_bytes": 6, "standing": 2,
        }  # fmt: skip
        await writer.wait_closed()
