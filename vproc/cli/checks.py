"""What `vproc doctor` looks at, each as a finding: a level, a sentence, a remedy. Nothing is changed but what a start of the
daemon would change too. A check that cannot be made because a setting is missing is left out: that setting has its own failure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio.to_thread
from prometheus_client import CollectorRegistry

from vproc.aws.ecs import open_tasks
from vproc.aws.s3 import S3Bucket
from vproc.aws.session import AwsClients, open_clients
from vproc.aws.sqs import SqsQueue, resolve_dlq_url
from vproc.aws.wiring import read_wiring
from vproc.cli.door_checks import examine_door
from vproc.cli.findings import Finding, Level, Tell, tried
from vproc.core.capabilities import lacks
from vproc.core.hardware import SOFTWARE_ENCODERS, choose_encoder
from vproc.core.needs import needs_of_profile, unavailable
from vproc.core.profile import Profile, no_profile
from vproc.core.runners import RunnerKind
from vproc.core.wiring import judge
from vproc.db.migrate import awaited_migration
from vproc.errors import ConfigError, DependencyError, UnavailableError
from vproc.ffmpegs import open_containers, programs_of
from vproc.outside import task_place
from vproc.ports import Runner
from vproc.profiles import builtin_profiles
from vproc.settings import PartialSettings, Role, Settings, read_profiles
from vproc.telemetry import Metrics
from vproc.workers.confinement import Confinement, Layer
from vproc.workers.ffmpeg import Programs, ToolPair, find_pairs, with_trials
from vproc.workers.intake import LEAST_FREE_BYTES
from vproc.workers.job_runner import runners_wanted
from vproc.workers.runners import LocalRunner
from vproc.workers.sandbox import probe_sandbox
from vproc.workers.scratch import open_scratch
from vproc.workers.tooling import devices_of, hardware_codecs

_LITTLE_BYTES = 5 * 1024**3
"""Of scratch: less than many a source with its outputs."""
_GIB = 1024**3
_REACH = "make it, or correct the setting, the network or the role's rights"
_INSTALL = "pip install 'vproc[ffmpeg]', or apt-get install ffmpeg"


async def examine(known: PartialSettings, tell: Tell) -> None:
    """Make every check in turn; ``tell`` hears of each as soon as it is made."""
    settings, unknown = known.settings, known.unknown
    for fault in known.faults:
        tell(Finding("settings", Level.FAILURE, fault, "docs/reference/settings.md says what it takes"))
    profiles, faults = await anyio.to_thread.run_sync(_profiles, settings)
    for finding in faults:
        tell(finding)
    if not known.faults and not faults:
        tell(Finding("settings", Level.OK, f"right; the default profile is {settings.profile}, of {len(profiles)}"))
    if Role.WORKER in settings.roles:
        await _examine_work(settings, profiles, tell)
    if "database_url" not in unknown:
        tell(await tried("database", partial(_database, settings), "start it, or correct VPROC_DATABASE_URL"))
    await examine_door(settings, unknown, tell)
    await _examine_aws(settings, unknown, tell)


def _profiles(settings: Settings) -> tuple[Mapping[str, Profile], list[Finding]]:
    remedy = "vproc profiles --check FILE tells more"
    try:
        profiles = read_profiles(settings.profiles_file)
    except ConfigError as error:
        return builtin_profiles(), [Finding("settings", Level.FAILURE, fault, remedy) for fault in error.faults]
    if settings.profile in profiles:
        return profiles, []
    detail = f"VPROC_PROFILE: {no_profile(settings.profile, profiles)}"
    return profiles, [Finding("settings", Level.FAILURE, detail, "take one of these, or add it to VPROC_PROFILES_FILE")]


# --- scratch, sandbox, ffmpeg ----------------------------------------------------------------------------------------


async def _examine_work(settings: Settings, profiles: Mapping[str, Profile], tell: Tell) -> None:
    """What a process needs that takes jobs."""
    async with AsyncExitStack() as stack:
        try:
            scratch = await stack.enter_async_context(open_scratch(settings.scratch_dir))
            tell(_room(await scratch.free_bytes(), settings.scratch_dir))
        except (ConfigError, UnavailableError) as error:
            tell(Finding("scratch", Level.FAILURE, _words(error), "make the directory, or name another: VPROC_SCRATCH_DIR"))
            return
        for kind in sorted(runners_wanted(profiles, default=settings.runner)):
            theirs = {name: profile for name, profile in profiles.items() if (profile.runner or settings.runner) is kind}
            if kind is RunnerKind.LOCAL:
                confinement, finding = await _confinement(settings, scratch.root)
                tell(finding)
                await _examine_pairs(settings, theirs, partial(_pairs, settings, theirs, confinement, scratch.root), tell)
            elif kind is RunnerKind.DOCKER:
                await _examine_containers(settings, theirs, scratch.root, tell)
            elif kind is RunnerKind.ECS:
                tell(await tried("tasks", partial(_tasks, settings), "docs/how-to/run-jobs-as-tasks.md says what it takes"))


async def _tasks(settings: Settings) -> str:
    """What tasks do jobs, where. Nothing is started."""
    settings.check_runners({RunnerKind.ECS})
    async with open_clients(
        region=settings.aws_region, poll_read_timeout_s=settings.poll_read_timeout_s, public_endpoint_url=None, ecs=True
    ) as clients:
        await open_tasks(clients.ecs, task_place(settings))
    capacity = ", then ".join(settings.ecs_capacity)
    return f"{settings.ecs_task_definition} in the cluster {settings.ecs_cluster}, by {capacity}"


async def _examine_containers(settings: Settings, profiles: Mapping[str, Profile], directory: Path, tell: Tell) -> None:
    """The engine, one container, and the ffmpeg of its image."""
    async with AsyncExitStack() as stack:
        try:
            opened = await stack.enter_async_context(open_containers(settings, profiles, directory))
        except (ConfigError, UnavailableError) as error:
            tell(
                Finding("containers", Level.FAILURE, _words(error), "docs/how-to/run-ffmpeg-in-containers.md says what it takes")
            )
            return
        level = Level.OK if opened.report.level == "full" else Level.WARNING
        remedy = None if level is Level.OK else "an engine and a kernel that give what is missing"
        tell(Finding("containers", level, opened.report.describe(), remedy))

        async def pairs() -> Sequence[ToolPair]:
            programs = await programs_of(opened, settings, directory)
            return await _pairs_of(settings, profiles, opened.runner, directory, programs)

        await _examine_pairs(settings, profiles, pairs, tell)


async def _examine_pairs(
    settings: Settings, profiles: Mapping[str, Profile], find: Callable[[], Awaitable[Sequence[ToolPair]]], tell: Tell
) -> None:
    try:
        pairs = await find()
    except (ConfigError, UnavailableError) as error:
        tell(Finding("ffmpeg", Level.FAILURE, _words(error), _INSTALL))
        return
    for finding in (*_builds(pairs), *_made(settings, profiles, pairs), *_hardware(profiles, pairs)):
        tell(finding)


def _room(free_bytes: int, scratch_dir: Path) -> Finding:
    detail = f"{free_bytes / _GIB:.1f} GiB free in {scratch_dir}"
    remedy = "free some, or name a larger disk: VPROC_SCRATCH_DIR"
    if free_bytes < LEAST_FREE_BYTES:
        return Finding("scratch", Level.FAILURE, f"{detail}: no job is taken", remedy)
    if free_bytes < _LITTLE_BYTES:
        return Finding("scratch", Level.WARNING, f"{detail}: large sources will wait", remedy)
    return Finding("scratch", Level.OK, detail)


async def _confinement(settings: Settings, directory: Path) -> tuple[Confinement, Finding]:
    """How jobs would be confined; as under ``off`` where that cannot be had."""
    unconfined = Confinement(frozenset({Layer.RLIMITS}))
    try:
        report = await probe_sandbox(settings.sandbox, scratch_dir=directory)
    except (ConfigError, UnavailableError) as error:
        remedy = "a newer kernel, or VPROC_SANDBOX=auto, which says what is missing"
        return unconfined, Finding("sandbox", Level.FAILURE, _words(error), remedy)
    if report.level == "full":
        return report.confinement, Finding("sandbox", Level.OK, report.describe())
    remedy = (
        "set VPROC_SANDBOX=auto" if report.level == "off" else "a kernel with Landlock (5.13) and seccomp; see what is missing"
    )
    return report.confinement, Finding("sandbox", Level.WARNING, report.describe(), remedy)


async def _pairs(
    settings: Settings, profiles: Mapping[str, Profile], confinement: Confinement, directory: Path
) -> Sequence[ToolPair]:
    """The ffmpegs that the daemon would find, with the trials that its profiles ask for."""
    runner = LocalRunner(replace(confinement, devices=await devices_of(profiles)))
    return await _pairs_of(settings, profiles, runner, directory, None)


async def _pairs_of(
    settings: Settings, profiles: Mapping[str, Profile], runner: Runner, directory: Path, programs: Programs | None
) -> Sequence[ToolPair]:
    pairs = await find_pairs(settings.ffmpeg, settings.ffprobe, runner, cwd=directory, programs=programs)
    if codecs := hardware_codecs(profiles):
        pairs = tuple([await with_trials(pair, codecs, runner, cwd=directory) for pair in pairs])
    return pairs


def _builds(pairs: Sequence[ToolPair]) -> list[Finding]:
    """Which ffmpeg is used, and what it lacks: by name, with what follows."""
    chosen, *others = pairs
    beside = "".join(f"; beside it {pair.version} ({pair.source}: {pair.ffmpeg})" for pair in others)
    found = [Finding("ffmpeg", Level.OK, f"{chosen.version} ({chosen.source}: {chosen.ffmpeg}){beside}")]
    for lack in lacks(chosen.capabilities):
        head = f"{chosen.version} lacks {lack.name}"
        able = [pair.version for pair in others if lack.name not in {other.name for other in lacks(pair.capabilities)}]
        if lack.harmless:
            found.append(Finding("ffmpeg", Level.OK, f"{head}: {lack.consequence}"))
        elif able:
            found.append(Finding("ffmpeg", Level.OK, f"{head}: such jobs are done by {able[0]}"))
        else:
            found.append(Finding("ffmpeg", Level.WARNING, f"{head}: {lack.consequence}", f"another build beside it: {_INSTALL}"))
    found.append(Finding("tone_mapping", Level.OK, "HDR becomes standard range by a table of vproc's own, through lut3d"))
    return found


def _made(settings: Settings, profiles: Mapping[str, Profile], pairs: Sequence[ToolPair]) -> list[Finding]:
    """Profiles that no ffmpeg here can make."""
    found = []
    builds = [pair.capabilities for pair in pairs]
    for profile in profiles.values():
        if lacked := unavailable(needs_of_profile(profile), builds):
            level = Level.FAILURE if profile.name == settings.profile else Level.WARNING
            detail = f"{profile.name} takes {', '.join(lacked)}, which no ffmpeg here has"
            found.append(Finding("profiles", level, detail, f"another ffmpeg ({_INSTALL}), or another profile"))
    return found or [Finding("profiles", Level.OK, f"all {len(profiles)} can be made")]


def _hardware(profiles: Mapping[str, Profile], pairs: Sequence[ToolPair]) -> list[Finding]:
    """What became of the trials, for each codec that a profile wants hardware for."""
    found = []
    for codec in sorted(hardware_codecs(profiles)):
        chosen = [choose_encoder(codec, pair.capabilities.trials) for pair in pairs]
        working = next((encoder for encoder in chosen if encoder != SOFTWARE_ENCODERS[codec]), None)
        if working is not None:
            found.append(Finding("hardware", Level.OK, f"{codec} is encoded by {working}"))
            continue
        trials = [trial for pair in pairs for trial in pair.capabilities.trials if trial.encoder.startswith(f"{codec}_")]
        reasons = "; ".join(f"{trial.encoder}: {trial.reason}" for trial in trials) or "no ffmpeg here has an encoder for any"
        detail = f"{codec} is encoded in software by {chosen[0]} ({reasons})"
        found.append(Finding("hardware", Level.WARNING, detail, "a driver that works in the sandbox, or hardware = false"))
    return found


# --- database and AWS ------------------------------------------------------------------------------------------------


async def _database(settings: Settings) -> str:
    awaited = await awaited_migration(settings.sqlalchemy_url)
    sqlite = settings.sqlalchemy_url.startswith("sqlite")
    if awaited is None:
        return "answers, and has this version's schema" if not sqlite else "SQLite; made at the start where it is not there"
    if sqlite:
        return f"SQLite; migrated to {awaited} at the next start"
    raise ConfigError(f"it awaits migration {awaited}: run `vproc migrate`")


async def _examine_aws(settings: Settings, unknown: frozenset[str], tell: Tell) -> None:
    """The buckets and the queue, as far as the settings name them."""
    async with AsyncExitStack() as stack:
        try:
            clients = await stack.enter_async_context(
                open_clients(
                    region=settings.aws_region,
                    poll_read_timeout_s=settings.poll_read_timeout_s,
                    public_endpoint_url=settings.s3_public_endpoint_url,
                )
            )
        except (ConfigError, DependencyError, UnavailableError) as error:
            tell(Finding("aws", Level.FAILURE, _words(error), "`aws configure list` tells what is set; or AWS_REGION"))
            return
        for name, bucket in (("raw_bucket", settings.raw_bucket), ("processed_bucket", settings.processed_bucket)):
            if name not in unknown:
                tell(await tried(name, partial(_bucket, f"VPROC_{name.upper()}", bucket, clients), _REACH))
        if "queue_url" not in unknown:
            queue = await tried("queue", partial(_queue, settings, clients), _REACH)
            tell(queue)
            if queue.level is Level.OK and "raw_bucket" not in unknown and Role.WORKER in settings.roles:
                await _examine_wiring(settings, clients, tell)


async def _examine_wiring(settings: Settings, clients: AwsClients, tell: Tell) -> None:
    """Whether uploads reach the queue, and nothing is thrown away too soon. The daemon's own role may not see all of it."""
    try:
        dlq_url = await resolve_dlq_url(clients.sqs, settings.queue_url, settings.dlq_url)
        wiring = await read_wiring(clients, raw_bucket=settings.raw_bucket, queue_url=settings.queue_url, dlq_url=dlq_url)
    except (ConfigError, DependencyError, UnavailableError) as error:
        remedy = "run it as somebody with s3:GetBucketNotification and s3:GetLifecycleConfiguration"
        tell(Finding("notification", Level.WARNING, _words(error), remedy))
        return
    for verdict in judge(wiring):
        bad = Level.FAILURE if verdict.serious else Level.WARNING
        tell(Finding(verdict.check, bad if verdict.remedy else Level.OK, verdict.detail, verdict.remedy))


async def _bucket(variable: str, bucket: str, clients: AwsClients) -> str:
    adapter = S3Bucket(bucket=bucket, control=clients.s3, bulk=clients.s3_bulk, metrics=Metrics(CollectorRegistry()))
    await adapter.require(variable)
    return f"{bucket} answers"


async def _queue(settings: Settings, clients: AwsClients) -> str:
    dlq_url = await resolve_dlq_url(clients.sqs, settings.queue_url, settings.dlq_url)
    if dlq_url is None and Role.WORKER in settings.roles:
        raise ConfigError("it has no redrive policy and VPROC_DLQ_URL is not set: dead letters would have no place")
    queue = SqsQueue(
        poll=clients.sqs_poll,
        control=clients.sqs,
        queue_url=settings.queue_url,
        dlq_url=dlq_url,
        visibility_timeout_s=settings.visibility_timeout_s,
    )
    depths = await queue.depths()
    return f"answers; {', '.join(f'{depth.visible} in {name}' for name, depth in depths.items())}"


def _words(error: Exception) -> str:
    return "; ".join(error.faults) if isinstance(error, ConfigError) else getattr(error, "detail", str(error))
