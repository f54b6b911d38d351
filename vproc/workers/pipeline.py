"""One job, as a story: fetch, probe, plan, encode, verify, publish, commit. Decisions are in `core`, acts behind the ports.

Every stage may be broken off at any point; nothing counts until the manifest stands. A file whose manifest stands is
never encoded again: the job goes on from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from uuid import UUID

import anyio.to_thread
import structlog

from vproc import __version__
from vproc.core.command import make_plan
from vproc.core.container import HEAD_BYTES, sniff
from vproc.core.files import File, ObjectVersion, Stage
from vproc.core.keys import manifest_key, run_prefix
from vproc.core.leases import AttemptFigures
from vproc.core.manifest import Manifest, Source
from vproc.core.media import MediaInfo, MediaLimits, check_limits
from vproc.core.needs import needs_of
from vproc.core.plan import Plan
from vproc.core.profile import BUILTIN_PROFILES, Profile, get_profile
from vproc.errors import ErrorCode, RejectedError, TransientError
from vproc.ports import ObjectStore
from vproc.telemetry import Metrics
from vproc.workers.keeper import Progress
from vproc.workers.media import Encoded, MediaTools, Verified
from vproc.workers.package import build_package
from vproc.workers.publisher import Publisher
from vproc.workers.scratch import Scratch

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

# Where each stage ends on the progress bar.
_DOWNLOADED = 0.1
_ENCODED = 0.85
_VERIFIED = 0.88
_PUBLISHED = 0.98

_SPARE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done: a file, the object version that it is, and the name of this run.

    ``confirm`` proves that the job is still ours, or raises `LeaseLostError`: asked right before the commit.
    """

    file: File
    version: ObjectVersion
    run_id: str
    confirm: Callable[[], Awaitable[None]]


@dataclass(slots=True)
class JobFigures:
    """What the attempt took so far."""

    seconds: dict[str, float] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Add the time of the block to the stage, also when it raises."""
        begun = perf_counter()
        try:
            yield
        finally:
            self.seconds[stage.value] = self.seconds.get(stage.value, 0.0) + perf_counter() - begun

    def values(self) -> AttemptFigures:
        """The figures as the catalog keeps them."""
        return AttemptFigures(dict(self.seconds), self.bytes_in, self.bytes_out)


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
        profiles: Mapping[str, Profile] = BUILTIN_PROFILES,
    ) -> None:
        self._profiles = profiles
        self._raw = raw
        self._processed = processed
        self._tools = tools
        self._scratch = scratch
        self._limits = limits
        self._max_upload_bytes = max_upload_bytes
        self._metrics = metrics
        self._publisher = Publisher(store=processed)

    async def run(self, job: Job, progress: Progress, figures: JobFigures) -> Manifest:
        """Do the job; the manifest that stands for it in the end, proved. It may be another run's."""
        manifest = await self._committed(job.file.file_id)
        if manifest is not None:
            log.info("commit_found", run_id=manifest.run_id)
            with figures.stage(Stage.FINISH):
                await self._publisher.prove(manifest.outputs)
        else:
            manifest = await self._produce(job, progress, figures)
        progress.reach(Stage.FINISH, _PUBLISHED)
        with figures.stage(Stage.FINISH):
            await self._publisher.place_entry_points(manifest)
        return manifest

    async def discard(self, file_id: UUID, run_id: str) -> None:
        """Remove a run's outputs, unless they are what was committed."""
        manifest = await self._committed(file_id)
        if manifest is None or manifest.run_id != run_id:
            await self._processed.delete_prefix(run_prefix(file_id, run_id))

    async def _committed(self, file_id: UUID) -> Manifest | None:
        body = await self._processed.get(manifest_key(file_id))
        return Manifest.from_json(body) if body is not None else None

    async def _produce(self, job: Job, progress: Progress, figures: JobFigures) -> Manifest:
        """From the raw object to a committed manifest."""
        profile = get_profile(job.file.profile, self._profiles)
        self._check_size(job.version)
        await self._scratch.require(job.version.size_bytes + _SPARE_BYTES)
        async with self._scratch.directory(job.run_id) as directory:
            source, out = directory / "source", directory / "out"
            await anyio.to_thread.run_sync(out.mkdir)
            with figures.stage(Stage.DOWNLOAD):
                await self._download(job.version, source, progress, figures)
            with figures.stage(Stage.PROBE):
                progress.reach(Stage.PROBE, _DOWNLOADED)
                container = sniff(await anyio.to_thread.run_sync(_head, source))
                info = await self._tools.probe(source, container, cwd=directory)
                check_limits(info, self._limits)
            tools = self._tools.fit(needs_of(info, profile))
            plan = make_plan(info, profile, ffmpeg=tools.ffmpeg, source=source, out_dir=out, limits=self._limits)
            await self._scratch.require(plan.estimated_bytes + _SPARE_BYTES)
            with figures.stage(Stage.ENCODE):
                encoded = await self._encode(plan, job.version, directory, progress)
            with figures.stage(Stage.VERIFY):
                progress.reach(Stage.VERIFY, _ENCODED)
                verified = await tools.verify(plan, encoded, cwd=directory)
            with figures.stage(Stage.PUBLISH):
                progress.reach(Stage.PUBLISH, _VERIFIED)
                return await self._publish(job, plan, info, verified, progress, figures, ffmpeg=tools.version)

    def _check_size(self, version: ObjectVersion) -> None:
        if version.size_bytes > self._max_upload_bytes:
            raise RejectedError(
                ErrorCode.TOO_LARGE, f"it has {version.size_bytes} bytes, more than the {self._max_upload_bytes} that are taken"
            )
        if version.size_bytes == 0:
            raise RejectedError(ErrorCode.CORRUPT_MEDIA, "the file is empty")

    async def _download(self, version: ObjectVersion, to: Path, progress: Progress, figures: JobFigures) -> None:
        def on_bytes(count: int) -> None:
            figures.bytes_in += count
            progress.reach(Stage.DOWNLOAD, _DOWNLOADED * figures.bytes_in / version.size_bytes)

        await self._raw.download(version, to, on_bytes=on_bytes)
        size = (await anyio.to_thread.run_sync(to.stat)).st_size
        if size != version.size_bytes:
            raise TransientError(
                ErrorCode.SOURCE_CHANGED, f"{size} bytes arrived instead of the {version.size_bytes} that were announced"
            )

    async def _encode(self, plan: Plan, version: ObjectVersion, directory: Path, progress: Progress) -> Encoded:
        def on_progress(fraction: float) -> None:
            progress.reach(Stage.ENCODE, _DOWNLOADED + (_ENCODED - _DOWNLOADED) * fraction)

        progress.reach(Stage.ENCODE, _DOWNLOADED)
        encoded = await self._tools.encode(plan, source_bytes=version.size_bytes, cwd=directory, on_progress=on_progress)
        if encoded.wall_s > 0 and encoded.out_time_s > 0:
            self._metrics.encode_speed.observe(encoded.out_time_s / encoded.wall_s)
        return encoded

    async def _publish(
        self, job: Job, plan: Plan, info: MediaInfo, verified: Verified, progress: Progress, figures: JobFigures, *, ffmpeg: str
    ) -> Manifest:
        def on_sent(count: int) -> None:
            figures.bytes_out += count
            progress.reach(Stage.PUBLISH, _VERIFIED + (_PUBLISHED - _VERIFIED) * figures.bytes_out / total)

        package = await anyio.to_thread.run_sync(
            partial(
                build_package,
                plan,
                info,
                verified,
                run_id=job.run_id,
                metadata={"file_id": str(job.file.file_id), "file_name": job.file.file_name, "profile": job.file.profile},
            )
        )
        total = max(1, sum(item.size_bytes for item in package.items))
        outputs, entries = await self._publisher.send(package, file_id=job.file.file_id, run_id=job.run_id, on_sent=on_sent)
        manifest = Manifest(
            file_id=job.file.file_id,
            run_id=job.run_id,
            profile=job.file.profile,
            created_at=datetime.now(UTC),
            source=_source(job.version, info),
            damaged=verified.verdict.damaged,
            target_codec=plan.target_codec,
            stages={stage: round(seconds, 3) for stage, seconds in figures.seconds.items()},
            tools={"vproc": __version__, "ffmpeg": ffmpeg},
            command_sha256=_fingerprint(plan),
            outputs=outputs,
            entry_points=entries,
        )
        await job.confirm()
        winner = await self._publisher.commit(manifest)
        if winner.run_id != job.run_id:
            await self._publisher.prove(winner.outputs)
        return winner


def _source(version: ObjectVersion, info: MediaInfo) -> Source:
    return Source(
        bucket=version.bucket,
        key=version.key,
        etag=version.etag,
        version_id=version.version_id,
        bytes=version.size_bytes,
        container=str(info.container),
        duration_s=info.duration_s,
        codec=info.codec,
        width=info.video.display_width if info.video else None,
        height=info.video.display_height if info.video else None,
    )


def _fingerprint(plan: Plan) -> str:
    """Which commands made it: equal for equal commands, wherever they ran."""
    directory = str(plan.outputs[0].path.parent.parent)
    text = "\0".join(argument.replace(directory, "") for argument in (*plan.argv[1:], *plan.sheets_argv[1:]))
    return hashlib.sha256(text.encode()).hexdigest()


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
