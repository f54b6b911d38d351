"""Finishes what a crash left: raw objects still to be deleted, output prefixes of runs that did not win, addresses that
nobody used; once an hour, originals whose event or message was lost. Each step may be done by several daemons at once, and again.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from time import monotonic

import anyio
import structlog
from anyio.abc import TaskStatus

from vproc.core.files import File, ObjectVersion
from vproc.core.keys import file_prefix, manifest_key, run_prefix
from vproc.core.leases import OrphanRun
from vproc.core.manifest import Manifest
from vproc.errors import TransientError
from vproc.ports import Catalog, ObjectStore
from vproc.queue_gauges import QueueGauges
from vproc.telemetry import Metrics
from vproc.workers.reconcile import Reconciler

SWEEP_EVERY_S = 60.0
TOGETHER_S = 2.0
"""From a job's end to its sweep. Jobs that end within it share one, and what they still do themselves at their end, such as
deleting the original, is not done a second time beside them."""
PENDING_GRACE_S = 24 * 3600.0
DEPTH_EVERY_BUSY_S = 60.0
DEPTH_EVERY_IDLE_S = 360.0
RECONCILE_EVERY_S = 3600.0
DUTY_FOR_S = 2700.0
"""Less than an hour, so that a daemon that is alone does it each hour: what lists a bucket is done by one of all daemons."""
BATCH = 100

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Janitor:
    """Sweeps once a minute, and soon after a job ended."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        raw: ObjectStore,
        processed: ObjectStore,
        gauges: QueueGauges,
        metrics: Metrics,
        reconciler: Reconciler,
        clock: Callable[[], float] = monotonic,
        jitter: Callable[[], float] = random.random,
        together_s: float = TOGETHER_S,
    ) -> None:
        self._together_s = together_s
        self._catalog = catalog
        self._raw = raw
        self._processed = processed
        self._gauges = gauges
        self._metrics = metrics
        self._clock = clock
        self._woken = anyio.Event()
        self._busy = False
        self._reconciler = reconciler
        # Daemons that start together do not list the bucket together.
        self._forget_at = 0.0
        self._reconcile_at = clock() + RECONCILE_EVERY_S * jitter()

    def wake(self) -> None:
        """A job ended: there may be something to sweep."""
        self._busy = True
        self._woken.set()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Sweep until cancelled. A dependency that is away is tried again at the next round."""
        task_status.started()
        while True:
            self._woken = anyio.Event()  # before the sweep: a job that ends meanwhile asks for another
            await self._tried("sweep", self.sweep())
            await self._tried("depth", self._observe_depth())
            await self._tried("reconcile", self._reconcile())
            with anyio.move_on_after(SWEEP_EVERY_S):
                await self._woken.wait()
                await anyio.sleep(self._together_s)

    async def sweep(self) -> None:
        """One round. What cannot be done to one file is tried again at the next, and holds up no other."""
        left = 0
        while waiting := await self._catalog.pending_raw_deletes(limit=BATCH, skip=left):
            # All of them: were it the oldest only, a hundred that may not be deleted would keep the rest for ever.
            for file in waiting:
                left += not await self._tried("raw_delete", self._delete_raw(file), file_id=str(file.file_id))
        if expired := await self._catalog.expire_pending(grace_s=PENDING_GRACE_S):
            self._done("pending_expired", expired, files=expired)
        await self._give_up_uploads()
        await self._tried("forget", self._forget_old())
        for run in await self._catalog.orphan_runs(limit=BATCH):
            await self._tried("run_sweep", self._sweep_run(run), file_id=str(run.file_id), run_id=run.run_id)

    async def _tried(self, step: str, act: Awaitable[None], **fields: object) -> bool:
        """Do it, or say why not: nothing that the janitor meets may end the daemon. Whether it was done."""
        try:
            await act
        except TransientError as error:
            log.warning("sweep_postponed", step=step, error=error.detail, **fields)
            return False
        except Exception:
            log.exception("sweep_crashed", step=step, **fields)
            return False
        return True

    async def _delete_raw(self, file: File) -> None:
        if file.etag is None:
            raise AssertionError("a completed file has an ETag")
        version = ObjectVersion(file.bucket, file.key, file.etag, file.size_bytes or 0, file.version_id)
        deleted = await self._raw.delete(version)
        await self._catalog.raw_deleted(file.file_id)
        self._done("raw_deleted", 1, file_id=str(file.file_id), replaced=not deleted)

    async def _give_up_uploads(self) -> None:
        """Parts of files that were cancelled, deleted or never finished, and that nobody will join."""
        left = 0
        while files := await self._catalog.left_uploads(limit=BATCH, skip=left):
            for file in files:
                left += not await self._tried("upload_abort", self._give_up_upload(file), file_id=str(file.file_id))

    async def _give_up_upload(self, file: File) -> None:
        if file.upload_id is None:
            raise AssertionError("an open upload has its id")
        await self._raw.abort_upload(file.key, file.upload_id)
        await self._catalog.upload_ended(file.file_id)
        self._done("upload_aborted", 1, file_id=str(file.file_id))

    async def _sweep_run(self, run: OrphanRun) -> None:
        """Remove a loser's outputs; of a deleted file, all that stands. The manifest has the last word on who lost."""
        if await self._catalog.get(run.file_id) is None:
            removed = await self._processed.delete_prefix(file_prefix(run.file_id))
            self._done("run_swept", 1, file_id=str(run.file_id), run_id=run.run_id, objects=removed)
            await self._catalog.run_swept(run)
            return
        body = await self._processed.get(manifest_key(run.file_id))
        if body is None or Manifest.from_json(body).run_id != run.run_id:
            removed = await self._processed.delete_prefix(run_prefix(run.file_id, run.run_id))
            self._done("run_swept", 1, file_id=str(run.file_id), run_id=run.run_id, objects=removed)
        await self._catalog.run_swept(run)

    async def _forget_old(self) -> None:
        """Rows that nobody asks for any more. Once an hour, since each look reads a table."""
        if self._clock() >= self._forget_at:
            self._forget_at = self._clock() + RECONCILE_EVERY_S
            if not await self._catalog.take_duty("forget", every_s=DUTY_FOR_S):
                return
            await self._catalog.forget_idempotency_keys()
            await self._catalog.forget_events()
            await self._catalog.forget_disabled()

    async def _reconcile(self) -> None:
        """What only a look at the whole raw bucket shows. One of all daemons looks."""
        if self._clock() < self._reconcile_at:
            return
        self._reconcile_at = self._clock() + RECONCILE_EVERY_S
        if not await self._catalog.take_duty("reconcile", every_s=DUTY_FOR_S):
            return
        # One after the other: a role that may not look at the dead letters still finds forgotten originals.
        await self._tried("mark_dead", self._reconciler.mark_dead())
        await self._tried("end_without_source", self._reconciler.end_without_source())
        await self._tried("announce", self._reconciler.announce_forgotten())
        await self._tried("abort_uploads", self._reconciler.abort_uploads())

    async def _observe_depth(self) -> None:
        """The queue's gauges: more often while there is work."""
        often = self._busy or self._gauges.listened_to
        every_s = DEPTH_EVERY_BUSY_S if often else DEPTH_EVERY_IDLE_S
        if not self._gauges.due(every_s):
            return
        self._busy = False
        await self._gauges.read(every_s=every_s)
        self._busy = self._busy or self._gauges.waiting

    def _done(self, action: str, count: int, **fields: object) -> None:
        self._metrics.janitor_actions.labels(action).inc(count)
        log.info(action, **fields)
