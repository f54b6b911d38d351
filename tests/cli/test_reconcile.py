"""``vproc reconcile`` over moto: a deleted database, a forgotten upload, and what is printed of both."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio.to_thread
import pytest
from click.testing import CliRunner, Result

from tests.support.aws import Aws, open_aws
from tests.support.world import FILE_ID, KEY
from vproc.cli import cli
from vproc.core.files import ObjectVersion, Status
from vproc.core.keys import manifest_key
from vproc.core.manifest import Manifest, Source
from vproc.db.catalog import open_catalog
from vproc.workers import reconcile


async def ran(aws: Aws, database: Path, *words: str) -> Result:
    environment = {
        "VPROC_RAW_BUCKET": aws.raw.bucket,
        "VPROC_PROCESSED_BUCKET": aws.processed.bucket,
        "VPROC_QUEUE_URL": aws.queue_url,
        "VPROC_DATABASE_URL": f"sqlite:///{database}",
    }
    return await anyio.to_thread.run_sync(partial(CliRunner().invoke, cli, ["reconcile", *words], env=environment))


def committed(source: ObjectVersion) -> bytes:
    """A manifest of a file without outputs."""
    told = Source(bucket=source.bucket, key=source.key, etag=source.etag, bytes=source.size_bytes, container="mov", codec="hevc")
    return Manifest(
        file_id=FILE_ID,
        run_id="r",
        profile="abr",
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        source=told,
        target_codec="h264",
        outputs=(),
        entry_points=(),
    ).to_json()


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there now counts as old."""
    monkeypatch.setattr(reconcile, "EVENT_GRACE", -reconcile.SWEEP_GRACE)


@pytest.mark.usefixtures("_at_once")
async def test_a_deleted_database_is_rebuilt(moto_url: str, tmp_path: Path) -> None:
    """A dry run says it, a run does it, another has nothing to do."""
    database = tmp_path / "vproc.db"
    async with open_aws(moto_url) as aws:
        gone = ObjectVersion(aws.raw.bucket, KEY, "etag", 5)
        await aws.processed.put(manifest_key(FILE_ID), committed(gone), content_type="application/json")
        await aws.raw.put("forgotten.mp4", b"x", content_type="video/mp4")
        dry = await ran(aws, database, "--dry-run")
        assert (dry.exit_code, dry.stderr) == (0, "")
        assert f"file_restored  {FILE_ID}: " in dry.stdout
        assert "object_announced  forgotten.mp4: " in dry.stdout
        assert dry.stdout.endswith("to be done: 2\n")
        assert await aws.queue.receive(max_messages=1, wait_s=0) == []
        told = await ran(aws, database, "--json")
        assert [json.loads(line)["repair"] for line in told.stdout.splitlines()] == ["file_restored", "object_announced"]
        (message,) = await aws.queue.receive(max_messages=1, wait_s=1)
        assert json.loads(message.body) == {"bucket": aws.raw.bucket, "key": "forgotten.mp4"}
        await aws.queue.delete(message.receipt_handle)
        async with open_catalog(f"sqlite+aiosqlite:///{database}") as catalog:
            file = await catalog.get(FILE_ID)
        assert file is not None
        assert (file.status, file.key, file.target_codec) == (Status.COMPLETED, KEY, "h264")
        again = await ran(aws, database)
        assert "file_restored" not in again.stdout


async def test_what_cannot_be_mended_is_exit_1(moto_url: str, tmp_path: Path) -> None:
    async with open_aws(moto_url) as aws:
        await aws.processed.put(manifest_key(FILE_ID), b"{}", content_type="application/json")
        result = await ran(aws, tmp_path / "vproc.db")
        assert result.exit_code == 1
        assert "1 could not be looked at or mended" in result.stderr


async def test_buckets_that_are_not_there_are_wrong_settings(moto_url: str, tmp_path: Path) -> None:
    async with open_aws(moto_url) as aws:
        await aws.clients.s3.delete_bucket(Bucket=aws.raw.bucket)
        result = await ran(aws, tmp_path / "vproc.db")
        assert (result.exit_code, result.stdout) == (78, "")
        assert "VPROC_RAW_BUCKET" in result.stderr
