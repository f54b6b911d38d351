"""What was lost is found again: events, messages, rows, the whole catalog; and nothing that is somebody's work is touched."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.catalog import FIGURES
from tests.support.world import FILE_ID, KEY, World, direct_job, open_world
from vproc.core.dead_letters import CODE_ATTRIBUTE, DeadLetter
from vproc.core.files import FileError, Outcome, RawState, Status
from vproc.core.keys import file_id_of_object, manifest_key
from vproc.db.catalog import SqlCatalog, open_catalog
from vproc.errors import ErrorCode, RejectedError, TransientError, UnavailableError
from vproc.workers import reconcile as reconcile_module
from vproc.workers.reconcile import BACKLOG_GRACE, EVENT_GRACE, SWEEP_GRACE, Reconciler, Repair, Repaired

LATER = EVENT_GRACE * 2


@dataclass(slots=True)
class Letters:
    """The dead-letter queue."""

    letters: list[DeadLetter]
    refused: TransientError | None = None

    @asynccontextmanager
    async def held(self, *, most: int | None = None) -> AsyncIterator[list[DeadLetter]]:
        if self.refused is not None:
            raise self.refused
        yield self.letters[:most]


@dataclass(slots=True)
class Pass:
    """One pass, and what it told."""

    world: World
    after: timedelta = LATER
    dry_run: bool = False
    delete_raw: bool = True
    letters: Letters | None = None
    told: list[Repaired] = field(default_factory=list)
    failures: int = 0

    async def __call__(self, catalog: SqlCatalog | None = None) -> list[Repair]:
        """Make it, ``after`` so much time; the kinds of repairs."""
        world = self.world
        reconciler = Reconciler(
            catalog=catalog or world.catalog, raw=world.raw, processed=world.processed, queue=world.queue, metrics=world.metrics,
            delete_raw=self.delete_raw, tell=self.told.append, letters=self.letters, dry_run=self.dry_run,
            clock=lambda: datetime.now(UTC) + self.after,
        )  # fmt: skip
        await reconciler.run()
        self.failures = reconciler.failures
        return [one.repair for one in self.told]


@asynccontextmanager
async def emptied(tmp_path: Path) -> AsyncIterator[SqlCatalog]:
    """The catalog after somebody deleted the database."""
    async with open_catalog(f"sqlite+aiosqlite:///{tmp_path / 'new.db'}") as catalog:
        yield catalog


def forget_events(world: World) -> None:
    world.raw.options.events = None


async def drained(world: World) -> None:
    """Every message handled."""
    while world.queue.bodies:
        await world.handle_next()


# --- the catalog ------------------------------------------------------------------------------------------------------


async def test_a_lost_catalog_comes_back_from_the_manifests(tmp_path: Path) -> None:
    """Every completed file with what its manifest knows; nothing is encoded again; a second pass finds nothing."""
    async with open_world(tmp_path) as world, emptied(tmp_path) as catalog:
        for key in (KEY, "dropped/b.mp4"):
            world.raw.upload(key, b"x")
            await world.handle_next()
        before = {file.file_id: file for file in (await world.catalog.list(owner=None, status=None, limit=9, cursor=None)).files}
        assert await Pass(world)(catalog) == [Repair.RESTORED] * 2
        after = {file.file_id: file for file in (await catalog.list(owner=None, status=None, limit=9, cursor=None)).files}
        assert after.keys() == before.keys()
        for file_id, file in after.items():
            was = before[file_id]
            assert (file.status, file.run_id, file.raw_state) == (Status.COMPLETED, was.run_id, RawState.DELETED)
            assert (file.owner, file.bucket, file.key, file.profile) == (was.owner, was.bucket, was.key, was.profile)
            assert (file.etag, file.original_codec, file.target_codec) == (was.etag, was.original_codec, was.target_codec)
        assert world.count("vproc_janitor_actions_total", action="file_restored") == 2
        assert await Pass(world)(catalog) == []
        assert world.queue.bodies == []


async def test_a_dry_run_tells_the_same_and_does_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world, emptied(tmp_path) as catalog:
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        forget_events(world)
        world.raw.upload("dropped/lost.mp4", b"x")
        world.raw.uploads.append(("big.mp4", "id", datetime.now(UTC) - SWEEP_GRACE * 2))
        told = Pass(world, dry_run=True)
        assert await told(catalog) == [Repair.RESTORED, Repair.ANNOUNCED, Repair.ABORTED]
        assert [one.subject for one in told.told] == [str(FILE_ID), "dropped/lost.mp4", "big.mp4"]
        assert all(one.reason for one in told.told)
        assert await catalog.get(FILE_ID) is None
        assert (world.queue.bodies, len(world.raw.uploads)) == ([], 1)
        assert world.count("vproc_janitor_actions_total", action="file_restored") == 0


@pytest.mark.parametrize(("delete_raw", "state"), [(True, RawState.DELETE_PENDING), (False, RawState.KEPT)])
async def test_an_original_that_still_stands_is_not_forgotten(tmp_path: Path, delete_raw: bool, state: RawState) -> None:
    """It is the janitor's to delete, where originals are deleted."""
    async with open_world(tmp_path, delete_raw=False) as world, emptied(tmp_path) as catalog:
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        assert await Pass(world, delete_raw=delete_raw)(catalog) == [Repair.RESTORED]
        file = await catalog.get(FILE_ID)
        assert file is not None
        assert file.raw_state is state


async def test_a_row_that_a_crash_left_behind_is_completed_by_its_manifest(tmp_path: Path) -> None:
    """Its process died after the commit, and its message is gone."""
    async with open_world(tmp_path) as world:
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        body = world.processed.body(manifest_key(FILE_ID))
        await world.catalog.bury(FILE_ID)
        async with emptied(tmp_path) as catalog:
            crashed = replace(world, catalog=catalog, given=type(world.given)(catalog))
            await crashed.given.expired_lease(FILE_ID, run_id="dead")
            world.processed.upload(manifest_key(FILE_ID), body)
            assert await Pass(world)(catalog) == [Repair.RESTORED]
            file = await crashed.file()
            (attempt,) = await catalog.attempts(FILE_ID)
            assert (file.status, file.run_id, attempt.outcome) == (Status.COMPLETED, crashed.manifest().run_id, Outcome.LOST)


async def test_a_file_that_is_held_deleted_or_failed_stays_as_it_is(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        forget_events(world)
        async with emptied(tmp_path) as catalog:
            given = type(world.given)(catalog)
            lease = await given.leased(FILE_ID, run_id="working")
            assert await Pass(world)(catalog) == []
            await catalog.fail(lease, FileError(ErrorCode.CORRUPT_MEDIA, "x", retryable=False), Outcome.REJECTED, FIGURES)
            assert await Pass(world)(catalog) == []
            assert (await given.read(FILE_ID)).status is Status.FAILED
            await catalog.bury(FILE_ID)
            assert await Pass(world)(catalog) == []


async def test_a_manifest_without_its_entry_points_goes_the_usual_way(tmp_path: Path) -> None:
    """They are written again from the manifest, and nothing is encoded."""
    async with open_world(tmp_path) as world, emptied(tmp_path) as catalog:
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        world.processed.lose(f"{FILE_ID}/poster.jpg")
        assert await Pass(world)(catalog) == [Repair.ANNOUNCED]
        job = json.loads(world.queue.bodies[0])
        assert (job["key"], job["file_id"]) == (KEY, str(FILE_ID))


async def test_a_manifest_that_cannot_be_read_holds_up_no_other(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world, emptied(tmp_path) as catalog:
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        world.processed.upload("00000000-0000-0000-0000-000000000000/manifest.json", b"{}")
        made = Pass(world)
        assert await made(catalog) == [Repair.RESTORED]
        assert made.failures == 1


async def test_what_is_no_files_is_left_alone(tmp_path: Path) -> None:
    """The bucket may hold other things, and names that only look like ours."""
    async with open_world(tmp_path) as world:
        names = ["readme.txt", f"{FILE_ID}", f"{str(FILE_ID).upper()}/manifest.json", "site/index.html", "{}/manifest.json"]
        for name in names:
            world.processed.upload(name, b"{}")
        assert await Pass(world, after=SWEEP_GRACE * 2)() == []
        assert len(world.processed.keys) == len(names)


# --- outputs ----------------------------------------------------------------------------------------------------------


async def test_outputs_that_nobody_won_with_go_after_a_day(tmp_path: Path) -> None:
    """The winner's stay, a young run's may be somebody's work, and so may those of a file that is not finished."""
    async with open_world(tmp_path) as world:
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        winner = (await world.file()).run_id
        world.processed.upload(f"{FILE_ID}/loser/a.mp4", b"x")
        lease = await world.given.leased(run_id="working")
        world.processed.upload(f"{lease.file_id}/working/a.mp4", b"x")
        assert await Pass(world, after=SWEEP_GRACE / 2)() == []
        made = Pass(world, after=SWEEP_GRACE * 2)
        assert await made() == [Repair.SWEPT]
        assert made.told[0].subject == f"{FILE_ID}/loser/"
        assert world.run_folders() == {winner}
        assert world.run_folders(lease.file_id) == {"working"}


async def test_outputs_of_a_file_that_nobody_knows_go_too(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.processed.upload(f"{FILE_ID}/lost/a.mp4", b"x")
        assert await Pass(world, after=SWEEP_GRACE * 2)() == [Repair.SWEPT]
        assert world.processed.keys == []


async def test_uploads_in_parts_are_given_up_after_a_day(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        for store in (world.raw, world.processed):
            store.uploads += [("old", "1", datetime.now(UTC) - SWEEP_GRACE), ("young", "2", datetime.now(UTC))]
        assert await Pass(world)() == [Repair.ABORTED] * 2
        assert [upload[0] for upload in (*world.raw.uploads, *world.processed.uploads)] == ["young", "young"]


async def test_an_upload_in_parts_that_goes_on_is_left_for_longer(tmp_path: Path) -> None:
    """While an address of its parts holds: a slow line may need two days."""
    async with open_world(tmp_path) as world:
        now = datetime.now(UTC)
        slow, forgotten, other = [
            await world.given.pending(bucket="raw", upload_expires_at=now + timedelta(minutes=minutes))
            for minutes in (5000, -5, 5000)
        ]
        for file, upload_id in ((slow, "1"), (forgotten, "2"), (other, "4")):
            await world.catalog.bind_upload(file.file_id, upload_id)
        world.raw.uploads += [(slow.key, "1", now - SWEEP_GRACE), (forgotten.key, "2", now - SWEEP_GRACE)]
        world.raw.uploads += [(other.key, "3", now - SWEEP_GRACE)]
        assert await Pass(world)() == [Repair.ABORTED] * 2
        assert [upload[:2] for upload in world.raw.uploads] == [(slow.key, "1")]


# --- originals --------------------------------------------------------------------------------------------------------


async def test_an_object_whose_event_never_came_is_processed(tmp_path: Path) -> None:
    """Announced by the API or dropped into the bucket; under the id that its event would have given it."""
    async with open_world(tmp_path) as world:
        await world.given.pending(file_id=FILE_ID, key=KEY, bucket="raw")
        forget_events(world)
        world.raw.upload(KEY, b"x")
        version = world.raw.upload("dropped/b.mp4", b"y", metadata={"vproc-profile": "mp4"})
        assert await Pass(world)() == [Repair.ANNOUNCED] * 2
        await drained(world)
        assert (await world.file()).status is Status.COMPLETED
        assert (await world.file(file_id_of_object(version, "mp4"))).profile == "mp4"
        assert world.raw.keys == []


async def test_a_young_object_is_given_time(tmp_path: Path) -> None:
    """More of it while the queue holds messages: any of them may be the one."""
    async with open_world(tmp_path) as world:
        world.raw.upload("dropped/waiting.mp4", b"x")
        forget_events(world)
        world.raw.upload("dropped/b.mp4", b"x")
        assert await Pass(world, after=EVENT_GRACE / 2)() == []
        assert await Pass(world, after=BACKLOG_GRACE / 2)() == []
        assert await Pass(world, after=BACKLOG_GRACE * 2)() == [Repair.ANNOUNCED] * 2


async def test_a_row_without_a_message_is_announced(tmp_path: Path) -> None:
    """Its worker died and the message is gone: the file is taken up under its own id and profile."""
    async with open_world(tmp_path) as world:
        forget_events(world)
        version = world.raw.upload("dropped/b.mp4", b"y")
        file_id = file_id_of_object(version, "mp4")
        await world.given.expired_lease(file_id, version=version, profile="mp4", run_id="dead")
        assert await Pass(world)() == [Repair.ANNOUNCED]
        await drained(world)
        file = await world.file(file_id)
        assert (file.status, file.profile) == (Status.COMPLETED, "mp4")


async def test_an_upload_to_a_finished_key_is_found(tmp_path: Path) -> None:
    """One of the API's keys is dropped; a dropped object's is another file."""
    async with open_world(tmp_path) as world:
        for key in (KEY, "dropped/b.mp4"):
            world.raw.upload(key, b"x")
            await world.handle_next()
        forget_events(world)
        for key in (KEY, "dropped/b.mp4"):
            world.raw.upload(key, b"another")
        assert await Pass(world)() == [Repair.ANNOUNCED] * 2
        await drained(world)
        assert world.count("vproc_late_uploads_total") == 1
        page = await world.catalog.list(owner=None, status=Status.COMPLETED, limit=9, cursor=None)
        assert len(page.files) == 3
        assert world.raw.keys == []


async def test_originals_that_are_kept_on_purpose_are_not_announced(tmp_path: Path) -> None:
    """Of files that failed, for a retry; of completed ones where nothing is deleted, or where it is about to be."""
    async with open_world(tmp_path, delete_raw=False) as world:
        world.raw.upload("dropped/kept.mp4", b"x")
        await world.handle_next()
        world.pipeline.steps = [_reject]
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        assert (await world.file()).status is Status.FAILED
        world.raw.upload("folder/", b"")
        await world.handle_next()
        assert await Pass(world, after=BACKLOG_GRACE * 2)() == []


async def _reject(_job: object) -> None:
    raise RejectedError(ErrorCode.CORRUPT_MEDIA, "broken")


# --- faults -----------------------------------------------------------------------------------------------------------


async def test_a_dependency_that_is_away_ends_the_pass(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        forget_events(world)
        world.raw.upload(KEY, b"x")
        world.queue.fail_next("send", UnavailableError("SQS is away"))
        with pytest.raises(UnavailableError):
            await Pass(world)()
        assert await Pass(world)() == [Repair.ANNOUNCED]


async def test_another_fault_holds_up_no_other_file(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        forget_events(world)
        for name in "ab":
            world.raw.upload(f"dropped/{name}.mp4", b"x")
        world.queue.fail_next("send", TransientError(ErrorCode.INTERNAL, "InvalidMessageContents"))
        made = Pass(world)
        assert await made() == [Repair.ANNOUNCED]
        assert (made.failures, made.told[0].subject) == (1, "dropped/b.mp4")


# --- dead letters -----------------------------------------------------------------------------------------------------


def moved(body: str, **attributes: str) -> DeadLetter:
    """A letter; without attributes it is one that SQS itself moved."""
    return DeadLetter("letter-1", "r-1", body, attributes=attributes)


async def waiting(world: World) -> None:
    """An announced file whose original stands, and whose message is gone."""
    forget_events(world)
    version = world.raw.upload(KEY, b"x")
    lease = await world.given.leased(FILE_ID, version=version)
    await world.catalog.release(lease, Outcome.RETRIED, FIGURES, error=None, count_attempt=True)


@pytest.mark.parametrize("body", [direct_job(), direct_job(file_id=str(FILE_ID))])
async def test_a_file_whose_message_sqs_moved_is_failed_and_not_announced(tmp_path: Path, body: str) -> None:
    async with open_world(tmp_path) as world:
        await waiting(world)
        one = Pass(world, letters=Letters([moved("no message"), moved(body)]))
        assert await one() == [Repair.MARKED]
        file = await world.file()
        assert file.error is not None
        assert (file.status, file.error.code, file.error.retryable) == (Status.FAILED, ErrorCode.INTERNAL, True)
        assert "received too often" in file.error.detail
        assert world.queue.bodies == []
        assert world.count("vproc_janitor_actions_total", action="file_marked_dead") == 1
        assert await Pass(world, letters=Letters([moved(body)]))() == [], "once"


async def test_a_letter_with_a_reason_was_told_of_already(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await waiting(world)
        letters = Letters([moved(direct_job(), **{CODE_ATTRIBUTE: "stalled"})])
        assert await Pass(world, letters=letters)() == [Repair.ANNOUNCED]


async def test_a_file_that_somebody_works_on_is_not_marked(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        forget_events(world)
        await world.given.leased(FILE_ID, version=world.raw.upload(KEY, b"x"))
        assert Repair.MARKED not in await Pass(world, letters=Letters([moved(direct_job())]))()
        assert (await world.file()).status is Status.PROCESSING


async def test_a_dry_run_marks_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await waiting(world)
        assert Repair.MARKED in await Pass(world, dry_run=True, letters=Letters([moved(direct_job())]))()
        assert (await world.file()).status is Status.UPLOADED


async def test_letters_that_may_not_be_read_hold_up_nothing_else(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await waiting(world)
        one = Pass(world, letters=Letters([], TransientError(ErrorCode.INTERNAL, "AccessDenied")))
        assert await one() == [Repair.ANNOUNCED]
        assert one.failures == 1


# --- files whose object is gone ---------------------------------------------------------------------------------------


async def replaced_after_a_death(world: World, *, versioned: bool = False) -> UUID:
    """A dropped object whose worker died, and which was then uploaded anew; the id of the first."""
    first = world.raw.upload("dropped/a.mp4", b"first")
    file_id = file_id_of_object(first, "abr")
    await world.given.expired_lease(file_id, version=first, run_id="killed")
    world.raw.upload("dropped/a.mp4", b"second")
    await drained(world)
    assert versioned or world.raw.keys == []
    return file_id


async def test_a_file_whose_object_was_replaced_after_its_workers_death_comes_to_an_end(tmp_path: Path) -> None:
    """Its message came back, and was about the other object."""
    async with open_world(tmp_path) as world:
        file_id = await replaced_after_a_death(world)
        assert (await world.given.read(file_id)).status is Status.PROCESSING
        assert await Pass(world)() == [Repair.WITHOUT_SOURCE]
        file = await world.given.read(file_id)
        assert file.error is not None
        assert (file.status, file.error.code) == (Status.FAILED, ErrorCode.SOURCE_MISSING)
        assert all(attempt.outcome is not Outcome.RUNNING for attempt in await world.catalog.attempts(file_id))
        assert await Pass(world)() == []


async def test_more_than_a_batch_of_them_come_to_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile_module, "BATCH", 2)
    async with open_world(tmp_path) as world:
        forget_events(world)
        for number in range(5):
            version = world.raw.upload(f"dropped/{number}.mp4", b"x")
            await world.given.expired_lease(file_id_of_object(version, "abr"), version=version, run_id=f"killed{number}")
            if number != 2:
                world.raw.lose(version.key)
        assert await Pass(world)() == [*[Repair.WITHOUT_SOURCE] * 4, Repair.ANNOUNCED]


async def test_a_file_that_is_young_or_held_is_not_ended(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        file_id = await replaced_after_a_death(world)
        assert await Pass(world, after=timedelta(0))() == []
        assert (await world.given.read(file_id)).status is Status.PROCESSING
        await world.given.leased(file_id, run_id="held")
        assert await Pass(world)() == []


async def test_a_dry_run_ends_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        file_id = await replaced_after_a_death(world)
        assert await Pass(world, dry_run=True)() == [Repair.WITHOUT_SOURCE]
        assert (await world.given.read(file_id)).status is Status.PROCESSING
