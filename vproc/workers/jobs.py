"""What becomes of one message: claim, run, settle.

The order of the end is the commit protocol's: verified → one catalog transaction {completed, outbox row, raw deletion
pending} → raw deleted → message deleted.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from time import perf_counter
from uuid import UUID, uuid4

import anyio
import structlog

from vproc.core.dead_letters import CODE_ATTRIBUTE
from vproc.core.files import DEFAULT_OWNER, File, FileError, ObjectVersion, Outcome, RawState, Stage, Status
from vproc.core.keys import file_id_in_key, file_id_of_object, manifest_key, owner_in_key
from vproc.core.leases import Claim, ClaimRequest, ClaimState, Completion, Lease, NewFile
from vproc.core.manifest import Manifest, source_version
from vproc.core.notification import Work, parse_message
from vproc.core.policy import Decision, Settle, decide
from vproc.core.profile import profile_name
from vproc.core.trace_context import first_traceparent
from vproc.core.wishes import metadata_given, profile_wanted
from vproc.errors import (
    ErrorCode,
    InvalidMessageError,
    JobError,
    LeaseLostError,
    RejectedError,
    TransientError,
    UnavailableError,
)
from vproc.ports import Catalog, Message, ObjectStore, Queue
from vproc.tasks import task_group
from vproc.telemetry import Metrics
from vproc.tracing import NoTracer, Tracer
from vproc.usage import metered
from vproc.vitals import Vitals
from vproc.workers.capacity import patience_s
from vproc.workers.figures import JobFigures
from vproc.workers.intake import Intake
from vproc.workers.job_runner import Job, JobRunner
from vproc.workers.job_span import job_span, tell_end
from vproc.workers.keeper import Keeper, Progress
from vproc.workers.rules import JobRules
from vproc.workers.settlement import Settlement, settle

FINISH_WITHIN_S = 30.0
HAND_BACK_WITHIN_S = 10.0

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Jobs:
    """Handles messages, any number at a time."""

    def __init__(
        self,
        *,
        queue: Queue,
        catalog: Catalog,
        raw: ObjectStore,
        processed: ObjectStore,
        runner: JobRunner,
        rules: JobRules,
        intake: Intake,
        metrics: Metrics,
        on_job_ended: Callable[[], None],
        vitals: Vitals | None = None,
        tracer: Tracer | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._catalog = catalog
        self._raw = raw
        self._processed = processed
        self._runner = runner
        self._rules = rules
        self._intake = intake
        self._metrics = metrics
        self._on_job_ended = on_job_ended
        self._vitals = vitals or Vitals()
        self._tracer = tracer or NoTracer()
        self._jitter = jitter

    async def handle(self, message: Message) -> list[Settlement]:
        """Do what the message asks, and settle it; what became of each of its objects. Raises nothing but a cancellation, on
        which all is handed back."""
        keeper = Keeper(
            message,
            queue=self._queue,
            catalog=self._catalog,
            visibility_timeout_s=self._rules.visibility_timeout_s,
            metrics=self._metrics,
            vitals=self._vitals,
        )
        with structlog.contextvars.bound_contextvars(message_id=message.message_id):
            try:
                settlements = await self._work_through(message, keeper)
            except UnavailableError as error:
                self._intake.pause(error.detail, 10)
                log.warning("message_returned", error=error.detail)
                settlements = [Settlement(Settle.RETURN, "returned", delay_s=10)]
            except anyio.get_cancelled_exc_class():
                await settle(self._queue, keeper.receipts, [Settlement(Settle.RETURN, "drained")], self._metrics)
                raise
            except Exception:
                log.exception("message_handling_failed")
                settlements = [Settlement(Settle.RETURN, "returned", delay_s=30)]
            await settle(self._queue, keeper.receipts, settlements, self._metrics)
            return settlements

    async def _work_through(self, message: Message, keeper: Keeper) -> list[Settlement]:
        try:
            envelope = parse_message(message.body, raw_bucket=self._raw.bucket)
            settlements = []
            for work in envelope.work:
                with metered():
                    settlements.append(await self._process(work, message, keeper))
        except InvalidMessageError as error:
            await self._queue.dead_letter(message, code=error.code, detail=error.detail)
            log.warning("message_invalid", detail=error.detail)
            return [Settlement(Settle.DELETE, "invalid")]
        if not settlements:
            return [Settlement(Settle.DELETE, "test_event" if envelope.test_event else "ignored")]
        return settlements

    async def _process(self, work: Work, message: Message, keeper: Keeper) -> Settlement:
        """One object: who it is, whose turn it is, and the job."""
        announced = work.file_id or file_id_in_key(work.key)
        known = await self._catalog.get(announced) if announced else None
        if known is not None and (known.bucket, known.key) != (work.bucket, work.key):
            raise InvalidMessageError(f"file {known.file_id} is another object than the one that the message names")
        version = await self._raw.head(work.key, version_id=work.version_id)
        if version is None:
            version = await self._committed_source(work, announced)
        if version is None:
            return await self._missing(work, announced)
        profile = profile_wanted(work, version, known, default=self._rules.default_profile)
        file_id = announced or file_id_of_object(version, profile)
        await keeper.ensure_fresh()
        claim = await self._catalog.claim(self._claim_request(work, version, file_id, profile, message, keeper))
        with structlog.contextvars.bound_contextvars(file_id=str(file_id)):
            return replace(await self._after_claim(claim, version, message, keeper), file_id=file_id)

    def _claim_request(
        self, work: Work, version: ObjectVersion, file_id: UUID, profile: str, message: Message, keeper: Keeper
    ) -> ClaimRequest:
        return ClaimRequest(
            file_id=file_id,
            version=version,
            owner=owner_in_key(work.key) or DEFAULT_OWNER,
            file_name=PurePosixPath(work.key).name,
            profile=profile,
            metadata=metadata_given(work, version),
            worker=self._rules.worker,
            run_id=uuid4().hex[:16],
            ttl_s=keeper.lease_ttl_s(),
            max_attempts=self._rules.max_attempts,
            message_id=message.message_id,
            receipt_handle=message.receipt_handle,
            reopen=CODE_ATTRIBUTE in message.attributes,
            traceparent=first_traceparent(message.attributes, dict(work.metadata), dict(version.metadata)),
        )

    async def _after_claim(self, claim: Claim, version: ObjectVersion, message: Message, keeper: Keeper) -> Settlement:
        if claim.state is ClaimState.BUSY:
            return Settlement(Settle.LEAVE, "busy")
        if claim.state is ClaimState.DELETED:
            return await self._late_upload(version)
        file = claim.file
        if file is None:
            raise AssertionError("only a tombstone's claim has no file")
        if claim.state is ClaimState.FINISHED:
            if file.status is Status.CANCELLED:
                await self._tidy(self._runner.stop(file, None), run_id=None)
            return await self._already_finished(file, version)
        if claim.state is ClaimState.EXHAUSTED:
            error = FileError(ErrorCode.INTERNAL, f"its workers died in all {file.attempts} attempts", retryable=True)
            await self._queue.dead_letter(message, code=error.code, detail=error.detail, file=file)
            await self._catalog.fail_unclaimed(file.file_id, error)
            await self._tidy(self._runner.stop(file, None), run_id=None)
            self._metrics.jobs.labels(profile_name(file.profile), Outcome.DEAD).inc()
            return Settlement(Settle.DELETE, "dead")
        if claim.lease is None:
            raise AssertionError("a granted claim has a lease")
        with job_span(self._tracer, file, claim.lease, message):
            return await self._run(claim, claim.lease, file, version, message, keeper)

    async def _run(
        self, claim: Claim, lease: Lease, file: File, version: ObjectVersion, message: Message, keeper: Keeper
    ) -> Settlement:
        figures, progress, begun = JobFigures(tracer=self._tracer), Progress(), perf_counter()
        log.info("job_started", profile=file.profile, attempt=lease.attempt, key=file.key, size_bytes=version.size_bytes)
        try:
            confirm = partial(keeper.confirm, lease, progress)
            job = Job(file, version, lease.run_id, confirm, patience_s=patience_s(message.receive_count))
            manifest = await self._run_held(job, lease, keeper, progress, figures)
            await self._complete(lease, manifest, figures, file)
            await self._drop_replaced(file, manifest, version)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(HAND_BACK_WITHIN_S, shield=True):
                await self._catalog.release(lease, Outcome.DRAINED, figures.values(), error=None, count_attempt=False)
            self._ended(file, lease, Outcome.DRAINED, figures, begun)
            raise
        except Exception as error:  # the boundary: the policy decides by the error's branch
            decision = decide(
                error,
                attempt=lease.attempt,
                max_attempts=self._rules.max_attempts,
                earlier_codes=claim.earlier_codes,
                jitter=self._jitter(),
            )
            if not isinstance(error, JobError):
                log.exception("job_crashed")
            settlement = await self._apply(decision, lease, message, figures, file)
            self._ended(file, lease, decision.outcome, figures, begun, error=decision.error)
            return settlement
        self._ended(file, lease, Outcome.COMPLETED, figures, begun)
        self._metrics.job_duration.labels(profile_name(file.profile)).observe(perf_counter() - begun)
        return Settlement(Settle.DELETE, "completed")

    async def _run_held(self, job: Job, lease: Lease, keeper: Keeper, progress: Progress, figures: JobFigures) -> Manifest:
        """The pipeline beside the keeper: when the lease goes, the job goes with it."""
        manifest: Manifest | None = None
        async with task_group() as tasks:
            tasks.start_soon(keeper.run, lease, progress)
            with anyio.move_on_after(self._rules.job_timeout_s) as deadline:
                manifest = await self._runner.run(replace(job, deadline=deadline), progress, figures)
            tasks.cancel_scope.cancel()
        if manifest is None:
            raise RejectedError(ErrorCode.TIMEOUT, f"it took longer than {self._rules.job_timeout_s:g} s in all")
        return manifest

    async def _complete(self, lease: Lease, manifest: Manifest, figures: JobFigures, file: File) -> None:
        """The order of the end. From here on a drain waits, for a moment.

        The version that was processed is deleted, and that is the manifest's: an earlier run may have committed it before another
        upload took its place.
        """
        source = source_version(manifest)
        completion = Completion(
            run_id=manifest.run_id,
            source=source,
            original_codec=manifest.source.codec,
            target_codec=manifest.target_codec,
            delete_raw=self._rules.delete_raw,
            media_s=manifest.source.duration_s,
        )
        try:
            with figures.stage(Stage.FINISH), anyio.fail_after(FINISH_WITHIN_S, shield=True):
                await self._catalog.complete(lease, completion, figures.values())
                if self._rules.delete_raw:
                    await self.delete_raw(file.file_id, source)
        except TimeoutError:
            raise UnavailableError(f"the catalog did not answer within {FINISH_WITHIN_S:g} s") from None
        self._metrics.media_seconds.labels(profile_name(file.profile)).inc(manifest.source.duration_s or 0)

    async def _drop_replaced(self, file: File, manifest: Manifest, version: ObjectVersion) -> None:
        """An upload that took the original's place once that was committed is as late as one after the end."""
        if version.identity == source_version(manifest).identity or file_id_in_key(file.key) != file.file_id:
            return
        try:
            await self._late_upload(version)
        except TransientError as error:
            log.warning("late_upload_left", key=version.key, error=error.detail)

    async def delete_raw(self, file_id: UUID, version: ObjectVersion) -> None:
        """Delete the raw version of a completed file. A store that refuses is no failure of the job: the janitor goes on."""
        try:
            if not await self._raw.delete(version):
                log.warning("raw_replaced", file_id=str(file_id), key=version.key)
            await self._catalog.raw_deleted(file_id)
        except TransientError as error:
            log.warning("raw_delete_postponed", file_id=str(file_id), error=error.detail)

    async def _apply(self, decision: Decision, lease: Lease, message: Message, figures: JobFigures, file: File) -> Settlement:
        """Write down what was decided. What cannot be written now is decided again when the message comes back."""
        if decision.pause_intake:
            self._intake.pause(decision.error.detail, decision.delay_s)
        try:
            with anyio.fail_after(FINISH_WITHIN_S, shield=True):
                if decision.settle is Settle.RETURN:
                    error = None if decision.outcome is Outcome.DRAINED else decision.error
                    await self._catalog.release(
                        lease, decision.outcome, figures.values(), error=error, count_attempt=decision.count_attempt
                    )
                elif decision.settle is not Settle.LEAVE:
                    if decision.settle is Settle.DEAD_LETTER:
                        await self._queue.dead_letter(message, code=decision.error.code, detail=decision.error.detail, file=file)
                    await self._catalog.fail(lease, decision.error, decision.outcome, figures.values())
        except LeaseLostError:
            return Settlement(Settle.LEAVE, "lost")
        except (UnavailableError, TimeoutError) as error:
            log.warning("outcome_not_recorded", error=str(error))
            return Settlement(Settle.RETURN, "returned", delay_s=10)
        if decision.settle is Settle.LEAVE:
            # Its prefix may have been swept already while the run went on.
            await self._tidy(self._runner.discard(file, lease.run_id), lease.run_id)
        elif decision.settle is not Settle.RETURN:
            await self._tidy(self._runner.stop(file, lease.run_id), lease.run_id)
        if decision.settle is Settle.DEAD_LETTER:
            return Settlement(Settle.DELETE, "dead")
        return Settlement(decision.settle, decision.outcome.value, delay_s=decision.delay_s)

    async def _tidy(self, act: Awaitable[None], run_id: str | None) -> None:
        """What a run that is not ours any more leaves behind. It is no failure where that stays: the janitor goes on."""
        with anyio.move_on_after(FINISH_WITHIN_S):
            try:
                await act
            except TransientError as error:
                log.warning("run_left_over", run_id=run_id, error=error.detail)

    async def _already_finished(self, file: File, version: ObjectVersion) -> Settlement:
        """A duplicate, or an upload to a key that was done with."""
        same = (file.version_id or file.etag) == version.identity
        if file.status is Status.COMPLETED and not same and file_id_in_key(file.key) == file.file_id:
            return await self._late_upload(version)
        if file.status is Status.COMPLETED and same and file.raw_state is RawState.DELETE_PENDING:
            await self.delete_raw(file.file_id, version)
        return Settlement(Settle.DELETE, "duplicate")

    async def _late_upload(self, version: ObjectVersion) -> Settlement:
        """An address that is still valid wrote to a key whose file is done with: dropped, and counted."""
        await self._raw.delete(version)
        self._metrics.late_uploads.inc()
        log.info("late_upload_dropped", key=version.key, size_bytes=version.size_bytes)
        return Settlement(Settle.DELETE, "late_upload")

    async def _committed_source(self, work: Work, file_id: UUID | None) -> ObjectVersion | None:
        """The source as a committed manifest names it, when the raw is gone already but the catalog does not know."""
        found = file_id
        if found is None:
            known = await self._catalog.find_by_key(work.bucket, work.key)
            found = known.file_id if known else None
        body = await self._processed.get(manifest_key(found)) if found else None
        if body is None:
            return None
        return source_version(Manifest.from_json(body))

    async def _missing(self, work: Work, file_id: UUID | None) -> Settlement:
        """The object does not stand, and was never processed: said on the file, and acknowledged."""
        error = FileError(ErrorCode.SOURCE_MISSING, f"no object {work.key} stands in {work.bucket}", retryable=True)
        known = await self._catalog.find_by_key(work.bucket, work.key)
        if known is None or not known.status.terminal:
            await self._catalog.record_missing(
                NewFile(
                    file_id=file_id or (known.file_id if known else uuid4()),
                    owner=owner_in_key(work.key) or DEFAULT_OWNER,
                    file_name=PurePosixPath(work.key).name,
                    bucket=work.bucket,
                    key=work.key,
                    profile=work.profile or self._rules.default_profile,
                    content_type=None,
                    size_bytes=None,
                    metadata=dict(work.metadata),
                    callback_url=None,
                    upload_expires_at=None,
                ),
                error,
            )
            log.warning("source_missing", key=work.key)
            return Settlement(Settle.DELETE, "missing")
        return Settlement(Settle.DELETE, "duplicate")

    def _ended(
        self, file: File, lease: Lease, outcome: Outcome, figures: JobFigures, begun: float, *, error: FileError | None = None
    ) -> None:
        """The one line, and the one count, of a job's end."""
        tell_end(self._tracer, outcome, figures, error)
        self._metrics.jobs.labels(profile_name(file.profile), outcome).inc()
        for stage, seconds in figures.seconds.items():
            self._metrics.stage_duration.labels(stage).observe(seconds)
        log.info(
            "job_ended",
            outcome=outcome.value,
            code=error.code.value if error else None,
            detail=error.detail if error else None,
            profile=file.profile,
            attempt=lease.attempt,
            run_id=lease.run_id,
            seconds=round(perf_counter() - begun, 3),
            stages={stage: round(seconds, 3) for stage, seconds in figures.seconds.items()},
            bytes_in=figures.bytes_in,
            bytes_out=figures.bytes_out,
            cpu_s=round(figures.usage.cpu_s, 3),
            peak_memory_bytes=figures.usage.peak_memory_bytes,
            s3_requests=figures.usage.s3_requests.total(),
            sqs_requests=figures.usage.sqs_requests.total(),
            speed=figures.speed,
        )
        self._on_job_ended()
