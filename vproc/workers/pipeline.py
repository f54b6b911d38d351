"""One job, as a story: fetch, probe, plan, encode, verify, publish, commit. Decisions are in `core`, acts behind the ports.

The stages overlap where they can: ffmpeg reads the source while it arrives, and segments are sent while the rest is encoded.
Every stage may be broken off at any point; nothing counts until the manifest stands. A file whose manifest stands is never
encoded again: the job goes on from there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import structlog

from vproc import __version__
from vproc.core.captions import CaptionTrack, wants_captions
from vproc.core.command import fingerprint, make_plan
from vproc.core.cost import cost_of
from vproc.core.files import File, ObjectVersion, Stage
from vproc.core.job_progress import Costs, Rates, expected_costs
from vproc.core.keys import run_prefix
from vproc.core.manifest import Manifest, describe_source
from vproc.core.media import MediaInfo, MediaLimits, check_limits
from vproc.core.movie import SampleTable, read_video
from vproc.core.needs import needs_of
from vproc.core.plan import Plan, decide
from vproc.core.profile import Profile, Quality, get_profile
from vproc.errors import ErrorCode, JobError, RejectedError, UnavailableError
from vproc.ports import ObjectStore
from vproc.tasks import task_group
from vproc.telemetry import Metrics
from vproc.workers.capacity import Capacity
from vproc.workers.captions import extract_captions
from vproc.workers.committed import Commits
from vproc.workers.figures import JobFigures
from vproc.workers.follow import Follower
from vproc.workers.job_runner import Job
from vproc.workers.keeper import Progress
from vproc.workers.media import Encoded, MediaTools, Verified
from vproc.workers.package import CutTrack, Item, build_package
from vproc.workers.publisher import Publisher, Sending
from vproc.workers.quality import choose_rates, measure_outputs
from vproc.workers.scratch import Scratch
from vproc.workers.source import Layout, Source

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_SPARE_BYTES = 64 * 1024 * 1024

_PLAINLY_AFTER = frozenset(
    {
        ErrorCode.CORRUPT_MEDIA,
        ErrorCode.UNSUPPORTED_MEDIA,
        ErrorCode.ENCODER_FAILED,
        ErrorCode.OUTPUT_INVALID,
        ErrorCode.STALLED,
    }
)
"""What a plain encode may mend where a fast path failed: a container that cannot be read in order, a copied stream that is not
what its index says."""


class Pipeline:
    """Runs jobs, any number at a time."""

    def __init__(
        self,
        *,
        raw: ObjectStore,
        processed: ObjectStore,
        tools: MediaTools,
        scratch: Scratch,
        limits: MediaLimits,
        max_upload_bytes: int,
        metrics: Metrics,
        profiles: Mapping[str, Profile],
        capacity: Capacity,
    ) -> None:
        self._capacity = capacity
        self._profiles = profiles
        self._raw = raw
        self._processed = processed
        self._tools = tools
        self._scratch = scratch
        self._limits = limits
        self._max_upload_bytes = max_upload_bytes
        self._metrics = metrics
        self._publisher = Publisher(store=processed)
        self._commits = Commits(processed=processed, publisher=self._publisher)
        self._rates: dict[str, Rates] = {}

    async def run(self, job: Job, progress: Progress, figures: JobFigures) -> Manifest:
        """Do the job; the manifest that stands for it in the end, proved. It may be another run's."""
        manifest = await self._commits.find(job.file.file_id)
        if manifest is not None:
            await self._commits.prove(manifest, figures)
        else:
            manifest = await self._produce(job, progress, figures)
        await self._commits.finish(manifest, progress, figures)
        return manifest

    async def discard(self, file: File, run_id: str) -> None:
        """Remove a run's outputs, unless they are what was committed."""
        await self._commits.discard(file.file_id, run_id)

    async def stop(self, file: File, run_id: str | None) -> None:
        """Nothing of a run goes on once `run` has ended."""

    async def _produce(self, job: Job, progress: Progress, figures: JobFigures) -> Manifest:
        """From the raw object to a committed manifest."""
        profile = get_profile(job.file.profile, self._profiles)
        self._check_size(job.version)
        await self._scratch.require(job.version.size_bytes + _SPARE_BYTES)
        async with self._scratch.directory(job.run_id) as directory, self._tools.fair_to_files(directory), task_group() as tasks:
            source = self._source(job, directory / "source", progress, figures)
            tasks.start_soon(self._download, source, figures)
            layout, info = await self._look(source, directory, progress, figures)
            check_limits(info, self._limits)
            figures.media_s = info.duration_s or 0.0
            tools = self._tools.fit(needs_of(info, profile))
            table = await _sample_table(layout, info, profile)
            work = _Work(job, source, layout, info, profile, table, tools, directory, progress, figures)
            async with self._room(work):
                made = await self._make(await self._with_rates(work))
            with figures.stage(Stage.PUBLISH):
                manifest = await self._publish(made, job, info, progress, figures)
        self._rates[profile.name] = self._rates.get(profile.name, Rates()).learned(made.costs, figures.seconds)
        return manifest

    def _check_size(self, version: ObjectVersion) -> None:
        if version.size_bytes > self._max_upload_bytes:
            raise RejectedError(
                ErrorCode.TOO_LARGE, f"it has {version.size_bytes} bytes, more than the {self._max_upload_bytes} that are taken"
            )
        if version.size_bytes == 0:
            raise RejectedError(ErrorCode.CORRUPT_MEDIA, "the file is empty")

    def _source(self, job: Job, path: Path, progress: Progress, figures: JobFigures) -> Source:
        def on_bytes(count: int) -> None:
            figures.bytes_in += count
            progress.reach(Stage.DOWNLOAD, figures.bytes_in / job.version.size_bytes)

        return Source(self._raw, job.version, path, on_bytes=on_bytes)

    async def _download(self, source: Source, figures: JobFigures) -> None:
        with figures.stage(Stage.DOWNLOAD):
            await source.run()

    async def _look(self, source: Source, directory: Path, progress: Progress, figures: JobFigures) -> tuple[Layout, MediaInfo]:
        """What the source is: as soon as that can be told, which may be long before it is whole."""
        layout = await source.look()
        with figures.stage(Stage.PROBE):
            if source.whole:
                progress.enter(Stage.PROBE)
            try:
                return layout, await self._tools.examine(source.path, layout.container, cwd=directory, whole=source.whole)
            except JobError as error:
                if source.whole or isinstance(error, UnavailableError):
                    raise
                log.info("early_probe_failed", code=error.code.value, detail=error.detail)
        await source.until_whole()
        with figures.stage(Stage.PROBE):
            info = await self._tools.examine(source.path, layout.container, cwd=directory)
        return replace(layout, feed=None), info

    @asynccontextmanager
    async def _room(self, work: _Work) -> AsyncIterator[None]:
        """What the job takes of the machine, from here to the verified outputs. A download holds none of it, but where it is what
        the encode reads."""
        plan = self._plan(work, out=work.directory / "out", plainly=False)
        self._expect(plan, work)
        if not plan.piped or work.profile.quality is Quality.AUTO:
            await work.source.until_whole()
        has, threads, job = work.tools.capabilities, work.tools.threads, work.job
        encode = decide(work.info, work.profile, work.table, generation=has.generation, trials=has.trials)
        cost = cost_of(encode, work.info, plan.pictures, threads=threads, processors=self._capacity.processors)
        async with self._capacity.hold(cost, patience_s=job.patience_s, progress=work.progress, deadline=job.deadline):
            yield

    async def _with_rates(self, work: _Work) -> _Work:
        """The rates chosen for this source where the profile leaves them to us. Samples are taken all over the whole file."""
        if work.profile.quality is not Quality.AUTO:
            return work
        with work.figures.stage(Stage.ENCODE):
            profile = await choose_rates(
                work.info, work.profile, runner=work.tools.runner, tools=work.tools, source=work.source.path, cwd=work.directory
            )
        return replace(work, profile=profile)

    async def _measured(self, plan: Plan, work: _Work, verified: Verified) -> Verified:
        """What was verified, and how near each rung is to the source where the profile asks for it."""
        if work.profile.measure is None:
            return verified
        encode = decide(work.info, work.profile, None if plan.copied is None else work.table)
        measures = await measure_outputs(
            work.info, encode, plan.outputs, runner=work.tools.runner, tools=work.tools, source=work.source.path,
            cwd=work.directory,
        )  # fmt: skip
        return replace(verified, measures=measures)

    async def _make(self, work: _Work) -> _Made:
        """Encode, follow, verify: the fast way where there is one, and plainly where that did not go."""
        plan = self._plan(work, out=work.directory / "out", plainly=False)
        try:
            return await self._attempt(plan, work)
        except JobError as error:
            if not plan.daring or error.code not in _PLAINLY_AFTER or isinstance(error, UnavailableError):
                raise
            log.info("fast_path_left", code=error.code.value, detail=error.detail)
        await work.source.until_whole()
        # Now it can be told which of its streams are empty.
        info = await work.tools.examine(work.source.path, work.layout.container, cwd=work.directory)
        work = replace(work, info=info)
        await self._processed.delete_prefix(run_prefix(work.job.file.file_id, work.job.run_id))
        return await self._attempt(self._plan(work, out=work.directory / "plain", plainly=True), work)

    def _plan(self, work: _Work, *, out: Path, plainly: bool) -> Plan:
        return make_plan(
            work.info,
            work.profile,
            ffmpeg=work.tools.ffmpeg,
            source=work.source.path,
            out_dir=out,
            limits=self._limits,
            piped=not plainly and not work.source.whole and work.layout.feed is not None,
            table=None if plainly else work.table,
            threads=work.tools.threads,
            generation=work.tools.capabilities.generation,
            trials=() if plainly else work.tools.capabilities.trials,
        )

    def _expect(self, plan: Plan, work: _Work) -> Costs:
        """What the plan will take, told to who waits for it."""
        rates = self._rates.get(work.profile.name, Rates())
        costs = expected_costs(rates, plan, work.info, source_bytes=work.source.size_bytes)
        work.progress.expect(costs, media_s=plan.duration_s or 0.0)
        return costs

    async def _attempt(self, plan: Plan, work: _Work) -> _Made:
        """One encode. Its segments are sent while it goes on; what else there is, by `_publish`."""
        await self._scratch.require(plan.estimated_bytes + _SPARE_BYTES)
        await anyio.to_thread.run_sync(plan.outputs[0].path.parent.mkdir)
        job, figures, source = work.job, work.figures, work.source
        costs = self._expect(plan, work)
        if not plan.piped:
            await source.until_whole()

        def on_sent(count: int) -> None:
            figures.bytes_out += count
            work.progress.sent(count)

        sending = self._publisher.sending(job.file.file_id, job.run_id, on_sent=on_sent)
        captions: list[CaptionTrack] = []
        async with task_group() as uploads:

            def on_item(item: Item) -> None:
                uploads.start_soon(sending.send, item)

            uploads.start_soon(self._take_captions, plan, work, captions)
            with Follower(plan.outputs, plan.grid, on_item=on_item) as follower:
                async with task_group() as following:
                    following.start_soon(follower.run)
                    with figures.stage(Stage.ENCODE):
                        encoded = await self._encode(plan, work)
                    following.cancel_scope.cancel()
                tracks = await follower.finish()
            await source.until_whole()
            with figures.stage(Stage.VERIFY):
                work.progress.enter(Stage.VERIFY)
                verified = await work.tools.verify(plan, encoded, cwd=work.directory)
                verified = await self._measured(plan, work, verified)
        return _Made(plan, tracks, verified, sending, work.tools.version, costs, tuple(captions))

    async def _take_captions(self, plan: Plan, work: _Work, into: list[CaptionTrack]) -> None:
        """Beside the encode, once the source is whole."""
        if not wants_captions(work.profile):
            return
        await work.source.until_whole()
        into += await extract_captions(
            work.info, runner=work.tools.runner, ffmpeg=work.tools.ffmpeg, source=work.source.path,
            out_dir=plan.outputs[0].path.parent, max_pixels=work.tools.max_pixels, wall_s=work.tools.job_timeout_s,
        )  # fmt: skip

    async def _encode(self, plan: Plan, work: _Work) -> Encoded:
        work.progress.enter(Stage.ENCODE)
        feed = work.layout.feed
        encoded = await work.tools.encode(
            plan,
            source_bytes=work.source.size_bytes,
            cwd=work.directory,
            on_progress=partial(work.progress.reach, Stage.ENCODE),
            feed=work.source.feeder(feed) if plan.piped and feed else None,
        )
        if encoded.wall_s > 0 and encoded.out_time_s > 0:
            self._metrics.encode_speed.observe(encoded.out_time_s / encoded.wall_s)
        return encoded

    async def _publish(self, made: _Made, job: Job, info: MediaInfo, progress: Progress, figures: JobFigures) -> Manifest:
        package = await anyio.to_thread.run_sync(
            partial(
                build_package,
                made.plan,
                info,
                made.verified,
                made.tracks,
                captions=made.captions,
                run_id=job.run_id,
                metadata={"file_id": str(job.file.file_id), "file_name": job.file.file_name, "profile": job.file.profile},
            )
        )
        progress.publish(sum(item.size_bytes for item in package.items))
        outputs, entries = await made.sending.finish(package)
        manifest = Manifest(
            file_id=job.file.file_id,
            run_id=job.run_id,
            profile=job.file.profile,
            created_at=datetime.now(UTC),
            source=describe_source(job.version, info),
            damaged=made.verified.verdict.damaged,
            target_codec=made.plan.target_codec,
            stages={stage: round(seconds, 3) for stage, seconds in figures.seconds.items()},
            receipt=figures.receipt(),
            tools={"vproc": __version__, "ffmpeg": made.ffmpeg},
            command_sha256=fingerprint(made.plan),
            outputs=outputs,
            entry_points=entries,
        )
        await job.confirm()
        winner = await self._publisher.commit(manifest)
        if winner.run_id != job.run_id:
            await self._publisher.prove(winner.outputs)
        return winner


@dataclass(frozen=True, slots=True)
class _Work:
    """What a job works on."""

    job: Job
    source: Source
    layout: Layout
    info: MediaInfo
    profile: Profile
    table: SampleTable | None
    tools: MediaTools
    directory: Path
    progress: Progress
    figures: JobFigures


@dataclass(frozen=True, slots=True)
class _Made:
    """What came out of it by that version of ffmpeg, verified. Its segments are sent."""

    plan: Plan
    tracks: Mapping[str, CutTrack]
    verified: Verified
    sending: Sending
    ffmpeg: str
    costs: Costs
    captions: tuple[CaptionTrack, ...] = ()


async def _sample_table(layout: Layout, info: MediaInfo, profile: Profile) -> SampleTable | None:
    """The index of the video's samples, where there is one and it is asked for: of hours of film it takes a second to read."""
    if layout.moov is None or info.video is None or not profile.copy_top_rung:
        return None
    return await anyio.to_thread.run_sync(read_video, layout.moov, info.video.index)
