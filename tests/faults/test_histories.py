"""Histories that nobody thought of: uploads, duplicates, kills, outages, cancels and redrives in any order, then peace.

Whatever happened, in the end every upload has come to one end, what is completed stands whole, no original was deleted for
nothing, and nothing is left over. Of a history that fails Hypothesis prints the shortest that does, as code to run again.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import anyio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.breaker import Breaker, Fault, killed_in
from tests.support.memory import s3_event
from tests.support.world import World, direct_job, open_world
from vproc.core.dead_letters import CODE_ATTRIBUTE
from vproc.core.files import File, ObjectVersion, Outcome, RawState, Status
from vproc.core.keys import upload_key
from vproc.core.manifest import Manifest
from vproc.db.catalog import open_catalog
from vproc.errors import ConflictError, ErrorCode, NotFoundError, RejectedError, TransientError
from vproc.workers.job_runner import Job
from vproc.workers.reconcile import Reconciler

CHAOS = bool(os.environ.get("VPROC_TEST_CHAOS"))
"""Long and random; else short, and the same every time."""

IDS = tuple(UUID(int=number, version=4) for number in (1, 2))
KEYS = (*(upload_key("default", file_id, "a.mp4") for file_id in IDS), "dropped/a b+c.mp4")
MOST_DELIVERIES = 400
Result = TypeVar("Result")


@cache
def _empty_database() -> Path:
    """A migrated one: to make it takes longer than a history."""
    folder = Path(tempfile.mkdtemp(prefix="vproc-histories-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    async def make() -> None:
        async with open_catalog(f"sqlite+aiosqlite:///{folder / 'empty.db'}"):
            pass

    asyncio.run(make())
    return folder / "empty.db"


class Histories(RuleBasedStateMachine):
    """A world on which anything may befall at any time."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._folder = Path(tempfile.mkdtemp(prefix="vproc-histories-"))
        shutil.copy(_empty_database(), self._folder / "world.db")
        self._stack = AsyncExitStack()
        self._breaker = Breaker()
        self._versions: list[ObjectVersion] = []
        self._refused: set[str] = set()
        self._cancelled = False
        self._number = 0
        self.world = self._do(self._open())

    def _do(self, story: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(story)

    async def _open(self) -> World:
        world = await self._stack.enter_async_context(open_world(self._folder, max_attempts=3, wrap=self._breaker.catalog))
        for name, adapter in (("raw", world.raw), ("processed", world.processed), ("queue", world.queue)):
            self._breaker.watch(adapter, name)
        return world

    def teardown(self) -> None:
        """Peace, and the last look."""
        try:
            self._do(self._peace())
        finally:
            self._do(self._stack.aclose())
            self._runner.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    # --- what befalls -------------------------------------------------------------------------------------------------

    @initialize(key=st.sampled_from(KEYS))
    def something_is_uploaded(self, key: str) -> None:
        self.upload(key)

    @rule(key=st.sampled_from(KEYS))
    def upload(self, key: str) -> None:
        self._number += 1
        self._versions.append(self.world.raw.upload(key, f"upload {self._number}".encode()))

    @rule(back=st.integers(1, 5))
    def the_event_comes_again(self, back: int) -> None:
        self.world.queue.put(s3_event(self._versions[-min(back, len(self._versions))]))

    @rule(fault=st.sampled_from([None, *Fault]), after=st.integers(1, 30))
    def deliver(self, fault: Fault | None, after: int) -> None:
        if self.world.queue.visible:
            self._breaker.fault, self._breaker.at, self._breaker.hit = fault, len(self._breaker.names) + after, None
            self._do(self._delivered())

    @rule(times=st.integers(1, 3), reject=st.booleans())
    def the_next_encodes_fail(self, times: int, reject: bool) -> None:
        async def step(job: Job) -> None:
            if reject:
                self._refused.add(job.version.identity)
                raise RejectedError(ErrorCode.CORRUPT_MEDIA, "broken")
            raise TransientError(ErrorCode.STALLED, "no progress")

        self.world.pipeline.steps += [step] * times

    @rule()
    def time_passes(self) -> None:
        self._do(self._pass_time())

    @precondition(lambda self: self.world.queue.dead)
    @rule()
    def the_dead_are_redriven(self) -> None:
        letter = self.world.queue.dead.pop()
        self.world.queue.put(letter.body, attributes={CODE_ATTRIBUTE: letter.code.value if letter.code else "internal"})

    @rule(file_id=st.sampled_from(IDS))
    def the_owner_cancels(self, file_id: UUID) -> None:
        async def cancel() -> None:
            try:
                await self.world.catalog.request_cancel(file_id)
                self._cancelled = True
            except (ConflictError, NotFoundError):
                pass

        self._do(cancel())

    @rule(file_id=st.sampled_from(IDS))
    def the_owner_tries_again(self, file_id: UUID) -> None:
        async def retry() -> None:
            try:
                file = await self.world.catalog.reopen(file_id)
            except (ConflictError, NotFoundError):
                return
            self.world.queue.put(direct_job(file.key, file_id=str(file_id), profile=file.profile))

        self._do(retry())

    @rule()
    def the_janitor_comes_by(self) -> None:
        self._do(self.world.janitor.sweep())

    # --- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def what_is_completed_stands_whole(self) -> None:
        for file in self._do(self._files()):
            if file.status is Status.COMPLETED:
                self._whole(file)

    @invariant()
    def no_original_is_gone_for_nothing(self) -> None:
        """An upload that stands no more was replaced, or is completed, or came too late to a key that was done with."""
        files = self._do(self._files())
        for version in {version.key: version for version in self._versions}.values():
            if version.key not in self.world.raw.keys:
                assert any(file.key == version.key and file.status is Status.COMPLETED for file in files), version

    # --- how ----------------------------------------------------------------------------------------------------------

    async def _delivered(self) -> None:
        with anyio.CancelScope() as scope:
            self._breaker.cancel = scope.cancel
            try:
                await self.world.handle_next()
            except BaseException as error:
                if not killed_in(error) and not (isinstance(error, Exception) and self._breaker.hit == "queue.receive"):
                    raise
        self._breaker.cancel = lambda: None
        self._breaker.restart()

    async def _pass_time(self) -> None:
        await self.world.given.expire_leases()
        self.world.queue.show_all()

    async def _files(self) -> tuple[File, ...]:
        return (await self.world.catalog.list(owner=None, status=None, limit=100, cursor=None)).files

    def _whole(self, file: File) -> Manifest:
        manifest = self.world.manifest(file.file_id)
        assert manifest.run_id == file.run_id
        assert (manifest.source.version_id or manifest.source.etag) == (file.version_id or file.etag)
        for output in (*manifest.outputs, *manifest.entry_points):
            body = self.world.processed.body(output.key)
            assert (len(body), hashlib.sha256(body).hexdigest()) == (output.bytes, output.sha256)
        return manifest

    async def _peace(self) -> None:
        """Nothing breaks any more, and all is worked off."""
        self._breaker.fault = None
        self.world.pipeline.steps.clear()
        await self._work_off()
        await self._reconciler().run()  # days later
        await self._work_off()
        await self.world.janitor.sweep()
        files = await self._files()
        for file in files:
            assert file.status.terminal, file
            assert all(attempt.outcome is not Outcome.RUNNING for attempt in await self.world.catalog.attempts(file.file_id))
            if file.status is Status.COMPLETED:
                assert self.world.run_folders(file.file_id) == {self._whole(file).run_id}
                assert file.raw_state is RawState.DELETED
            else:
                # Only what was broken, given up or cancelled does not come to its outputs.
                assert file.status is Status.CANCELLED or file.error is not None
        assert {version.key for version in self._versions} <= {file.key for file in files}

    async def _work_off(self) -> None:
        for _ in range(MOST_DELIVERIES):
            await self._pass_time()
            if not self.world.queue.bodies:
                return
            await self._delivered()
        raise AssertionError(f"still in the queue: {self.world.queue.bodies}")

    def _reconciler(self) -> Reconciler:
        world = self.world
        return Reconciler(
            catalog=world.catalog, raw=world.raw, processed=world.processed, queue=world.queue, metrics=world.metrics,
            delete_raw=True, tell=lambda _: None, clock=lambda: datetime.now(UTC) + timedelta(days=3),
        )  # fmt: skip


Histories.TestCase.settings = settings(
    max_examples=400 if CHAOS else 25,
    stateful_step_count=60 if CHAOS else 25,
    deadline=None,
    print_blob=True,
    derandomize=not CHAOS,
)
TestHistories = Histories.TestCase
