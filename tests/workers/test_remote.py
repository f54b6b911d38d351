"""Jobs that tasks do: who starts, adopts and stops them, and what each of their ends decides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from tests.support.faults import ManualClock
from tests.support.memory import MemoryStore
from tests.support.tasks import MemoryTask, MemoryTasks
from tests.support.world import FILE_ID, KEY, World, direct_job, open_world
from vproc.core.delegation import Delegation, Report, ReportedError, permit_key, report_key
from vproc.core.files import Attempt, File, Outcome, Stage, Status
from vproc.core.keys import run_prefix
from vproc.core.manifest import Manifest
from vproc.core.runners import RunnerKind
from vproc.errors import ErrorCode, LeaseLostError, TransientError, UnavailableError
from vproc.profiles import builtin_profiles
from vproc.tasks import task_group
from vproc.workers.committed import Commits
from vproc.workers.figures import JobFigures
from vproc.workers.job_runner import Dispatcher, Job, JobRunner, runners_wanted
from vproc.workers.keeper import Progress
from vproc.workers.publisher import Publisher
from vproc.workers.remote import Pace, TaskRunner
from vproc.workers.reporter import Reporter

QUICK = Pace(read_every_s=0.01, look_every_s=0, young_look_every_s=0, unknown_for_s=60)


@dataclass
class Place:
    """A world whose jobs tasks do."""

    world: World
    tasks: MemoryTasks
    clock: ManualClock

    async def commits(self, delegation: Delegation) -> None:
        """What a task does: the pipeline, with what a delegated job has, which is no catalog and a permit."""
        world, figures, progress = self.world, JobFigures(), Progress()
        reporter = Reporter(delegation, store=world.processed, progress=progress, figures=figures)
        file = await world.file(delegation.file_id)
        job = Job(file, delegation.version, delegation.run_id, reporter.confirm)
        error: Exception | None = None
        try:
            await world.pipeline.run(job, progress, figures)
        except Exception as raised:  # noqa: BLE001 - as in the task
            error = raised
        await reporter.ended(error)

    async def says(self, task: MemoryTask, report: Report) -> None:
        """What the task tells."""
        key = report_key(task.delegation.file_id, task.delegation.run_id)
        await self.world.processed.put(key, report.model_dump_json().encode(), content_type="application/json")

    def task(self) -> MemoryTask:
        """The newest one."""
        return list(self.tasks.all.values())[-1]

    async def attempt(self) -> Attempt:
        """The newest one."""
        return (await self.world.catalog.attempts(FILE_ID))[-1]

    def channel(self) -> list[str]:
        """What stands of the talk between both sides."""
        return [key for key in self.world.processed.keys if "/task/" in key]

    async def again(self) -> None:
        """The message is there once more."""
        self.world.queue.put(direct_job())
        await self.world.handle_next()

    async def watched(self) -> MemoryTask:
        """The task, once it is looked at once more."""
        await self.tasks.called("look", self.tasks.calls["look"] + 1)
        return self.task()


@asynccontextmanager
async def opened(folder: Path, *, job_timeout_s: float = 30, max_attempts: int = 3) -> AsyncIterator[Place]:
    tasks, clock = MemoryTasks(), ManualClock()

    def runner(processed: MemoryStore) -> JobRunner:
        return TaskRunner(
            tasks=tasks,
            processed=processed,
            commits=Commits(processed=processed, publisher=Publisher(store=processed)),
            profiles=builtin_profiles(),
            environment={"VPROC_RAW_BUCKET": "raw"},
            pace=QUICK,
            clock=clock,
        )

    async with open_world(folder, runner=runner, job_timeout_s=job_timeout_s, max_attempts=max_attempts) as world:
        world.raw.upload(KEY, b"raw bytes")
        yield Place(world, tasks, clock)


async def test_the_task_commits_and_the_daemon_completes(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        place.tasks.does.append(place.commits)
        await place.world.handle_next()
        task, attempt = place.task(), await place.attempt()
        assert (await place.world.file()).status is Status.COMPLETED
        assert place.world.manifest().run_id == attempt.run_id == task.delegation.run_id
        ended = {"stop_code": "EssentialContainerExited", "exit_code": 0}
        assert attempt.task == {"task": task.name, "run_id": attempt.run_id, "adopted": False} | ended
        assert (attempt.bytes_in, attempt.bytes_out) == (9, 20)
        assert task.order.started_by == str(FILE_ID)
        assert task.order.environment["VPROC_RAW_BUCKET"] == "raw"
        assert place.channel() == []
        await place.world.finished()


async def test_what_its_own_task_has_proved_is_not_proved_again(tmp_path: Path) -> None:
    """The watcher looks for the permit and the report alone; where the task did not live to say so, it proves all."""
    async with opened(tmp_path) as place:
        before: list[int] = []

        async def commits(delegation: Delegation) -> None:
            await place.commits(delegation)
            before.append(place.world.processed.calls["stat"])

        place.tasks.does.append(commits)
        await place.world.handle_next()
        assert place.world.processed.calls["stat"] == before[0]


async def test_a_commit_that_stands_needs_no_task(tmp_path: Path) -> None:
    """Redelivered after a commit that the catalog did not hear of, the file is completed from it."""
    async with opened(tmp_path) as place:
        place.tasks.does.append(place.commits)
        place.world.processed.fail_next("delete_prefix", UnavailableError("away"))  # right after it was proved
        await place.world.handle_next()
        assert (await place.world.file()).status is Status.UPLOADED
        await place.again()
        assert (await place.world.file()).status is Status.COMPLETED
        assert place.tasks.calls["start"] == 1
        assert place.channel() == []


async def test_progress_of_the_task_is_the_file_s(tmp_path: Path) -> None:
    async with opened(tmp_path) as place, task_group() as tasks:
        tasks.start_soon(place.world.handle_next)
        task = await place.watched()
        await place.says(task, Report(stage=Stage.ENCODE, progress=0.4, speed=2.5, eta_s=7))
        with anyio.fail_after(10):
            while (file := await place.world.file()).progress != 0.4:
                await place.watched()
        assert (file.status, file.stage, file.speed, file.eta_s) == (Status.PROCESSING, Stage.ENCODE, 2.5, 7)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("told", "outcome", "code", "counted"),
    [
        ({"stop_code": "SpotInterruption"}, Outcome.DRAINED, None, 0),
        ({"stop_code": "TerminationNotice"}, Outcome.DRAINED, None, 0),
        ({"reason": "Host EC2 (instance i-0abc) terminated."}, Outcome.DRAINED, None, 0),
        ({"stop_code": "EssentialContainerExited", "exit_code": 137}, Outcome.RETRIED, ErrorCode.INTERNAL, 1),
        (
            {"exit_code": 137, "reason": "OutOfMemoryError: Container killed due to memory usage"},
            Outcome.RETRIED,
            ErrorCode.OUT_OF_MEMORY,
            1,
        ),
        (
            {"stop_code": "TaskFailedToStart", "reason": "CannotPullContainerError: not found"},
            Outcome.RETRIED,
            ErrorCode.DEPENDENCY_UNAVAILABLE,
            0,
        ),
        ({"exit_code": 78}, Outcome.RETRIED, ErrorCode.DEPENDENCY_UNAVAILABLE, 1),
        ({"stop_code": "UserInitiated", "exit_code": 143, "reason": "by hand"}, Outcome.RETRIED, ErrorCode.INTERNAL, 1),
    ],
)
async def test_each_end_of_a_task_decides(
    tmp_path: Path, told: dict[str, object], outcome: Outcome, code: ErrorCode | None, counted: int
) -> None:
    """Whether the attempt counts, and that its row has ECS's words."""
    async with opened(tmp_path) as place:
        place.tasks.looks.append(lambda task: task.end(**told))
        await place.world.handle_next()
        file, attempt = await place.world.file(), await place.attempt()
        assert (file.status, file.attempts) == (Status.UPLOADED, counted)
        assert (attempt.outcome, attempt.error_code) == (outcome, code)
        assert attempt.task is not None
        assert {key: attempt.task.get(key) for key in told} == told
        assert place.channel() == []


async def test_a_second_out_of_memory_fails_the_file(tmp_path: Path) -> None:
    """As of a child of the daemon's own: it would be killed anywhere."""
    async with opened(tmp_path) as place:
        place.tasks.looks += 2 * [lambda task: task.end(exit_code=137, reason="OutOfMemoryError: killed")]
        await place.world.handle_next()
        await place.again()
        file = await place.world.file()
        assert (file.status, file.error and file.error.code) == (Status.FAILED, ErrorCode.OUT_OF_MEMORY)
        assert len(place.tasks.all) == 2


async def test_a_task_that_vanishes_is_waited_for_and_then_gone(tmp_path: Path) -> None:
    """A young one may not be known everywhere yet."""

    async with opened(tmp_path) as place:

        def unknown(task: MemoryTask) -> None:
            task.known = False

        def known(task: MemoryTask) -> None:
            task.known = True

        def late(task: MemoryTask) -> None:
            unknown(task)
            place.clock.advance(61)

        place.tasks.looks += [unknown, known, unknown, unknown, late]
        await place.world.handle_next()
        attempt = await place.attempt()
        assert (attempt.outcome, attempt.error_code) == (Outcome.RETRIED, ErrorCode.DEPENDENCY_UNAVAILABLE)
        assert attempt.task is not None
        assert attempt.task["missing"] is True
        assert place.tasks.looks == []


async def test_a_task_that_is_lost_to_sight_but_committed_is_done(tmp_path: Path) -> None:
    """The manifest has the last word, whatever ECS says of the task."""
    async with opened(tmp_path) as place:

        async def killed_after_its_commit(delegation: Delegation) -> None:
            await place.commits(delegation)
            await place.world.processed.delete_prefix(run_prefix(FILE_ID, delegation.run_id) + "task/")

        place.tasks.does.append(killed_after_its_commit)
        place.tasks.looks.append(lambda task: task.end(exit_code=137))
        await place.world.handle_next()
        assert (await place.world.file()).status is Status.COMPLETED
        await place.world.finished()


async def test_no_room_counts_nothing_and_pauses_the_intake(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        place.tasks.fail_next("start", UnavailableError("ECS starts no task (FARGATE: Capacity is unavailable)"))
        await place.world.handle_next()
        file = await place.world.file()
        assert (file.status, file.attempts) == (Status.UPLOADED, 0)
        assert place.world.intake.reason == "ECS starts no task (FARGATE: Capacity is unavailable)"


async def test_a_start_whose_answer_is_lost_is_found_again(tmp_path: Path) -> None:
    """The next attempt adopts the task that runs already, although nobody was told its name."""
    async with opened(tmp_path) as place:
        place.tasks.fail_next("start", UnavailableError("no answer"), applied=True)
        await place.world.handle_next()
        task = place.task()
        await place.says(task, Report(stage=Stage.ENCODE))
        async with task_group() as tasks:
            tasks.start_soon(place.again)
            await place.watched()
            await place.commits(task.delegation)
        assert list(place.tasks.all) == [task.name]
        assert (await place.world.file()).run_id == task.delegation.run_id
        attempt = await place.attempt()
        assert attempt.task is not None
        assert (attempt.task["adopted"], attempt.run_id != task.delegation.run_id) == (True, True)


async def test_a_drain_leaves_the_task_and_the_next_daemon_watches_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        async with task_group() as tasks:
            tasks.start_soon(place.world.handle_next)
            task = await place.watched()
            tasks.cancel_scope.cancel()
        assert (await place.world.file()).attempts == 0
        assert place.tasks.stopped == []
        async with task_group() as tasks:
            tasks.start_soon(place.world.handle_next)
            await place.watched()
            await place.commits(task.delegation)
        file = await place.world.file()
        assert (file.status, file.attempts, len(place.tasks.all)) == (Status.COMPLETED, 1, 1)


async def test_a_cancelled_file_s_task_is_stopped_and_may_not_commit(tmp_path: Path) -> None:
    """Also where ECS does not list it yet: its permit is gone."""
    async with opened(tmp_path) as place:
        async with task_group() as tasks:
            tasks.start_soon(place.world.handle_next)
            task = await place.watched()
            await place.world.catalog.request_cancel(FILE_ID)
        assert (await place.world.file()).status is Status.CANCELLED
        assert place.tasks.stopped == [task.name]
        assert place.channel() == []
        reporter = Reporter(task.delegation, store=place.world.processed, progress=Progress(), figures=JobFigures())
        with pytest.raises(LeaseLostError):
            await reporter.confirm()
        with pytest.raises(LeaseLostError):
            await reporter.run()
        await place.commits(task.delegation)
        assert f"{FILE_ID}/manifest.json" not in place.world.processed.keys


async def test_a_job_that_takes_too_long_has_its_task_stopped(tmp_path: Path) -> None:
    async with opened(tmp_path, job_timeout_s=0.2) as place:
        await place.world.handle_next()
        file = await place.world.file()
        assert (file.status, file.error and file.error.code) == (Status.FAILED, ErrorCode.TIMEOUT)
        assert place.tasks.stopped == [place.task().name]


async def test_a_task_that_was_told_to_end_is_not_adopted(tmp_path: Path) -> None:
    """It has no permit any more and will end; a new one is started."""
    async with opened(tmp_path) as place:
        place.tasks.fail_next("start", UnavailableError("no answer"), applied=True)
        await place.world.handle_next()
        old = place.task()
        place.world.processed.lose(permit_key(FILE_ID, old.delegation.run_id))
        place.tasks.does.append(place.commits)
        await place.again()
        assert len(place.tasks.all) == 2
        assert (await place.world.file()).status is Status.COMPLETED


async def test_two_tasks_of_one_file_give_one_commit(tmp_path: Path) -> None:
    """ECS did not list the first one yet: whichever writes the manifest first is the winner, and the other's outputs go."""
    async with opened(tmp_path) as place:
        place.tasks.fail_next("start", UnavailableError("no answer"), applied=True)
        await place.world.handle_next()
        first = place.task()
        first.known = False

        async def both(delegation: Delegation) -> None:
            await place.commits(first.delegation)
            await place.commits(delegation)

        place.tasks.does.append(both)
        await place.again()
        assert len(place.tasks.all) == 2
        assert (await place.world.file()).run_id == first.delegation.run_id
        await place.world.janitor.sweep()
        assert place.world.run_folders() == {first.delegation.run_id}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (
            ReportedError(kind="rejected", code=ErrorCode.CORRUPT_MEDIA, detail="it is cut"),
            Status.FAILED,
            ErrorCode.CORRUPT_MEDIA,
        ),
        (ReportedError(kind="transient", code=ErrorCode.OUT_OF_DISK, detail="full"), Status.UPLOADED, ErrorCode.OUT_OF_DISK),
        (ReportedError(kind="interrupted", code=ErrorCode.DRAINED, detail="told to"), Status.UPLOADED, None),
    ],
)
async def test_what_the_task_says_itself_is_what_counts(
    tmp_path: Path, error: ReportedError, status: Status, code: ErrorCode | None
) -> None:
    async with opened(tmp_path) as place, task_group() as tasks:
        tasks.start_soon(place.world.handle_next)
        task = await place.watched()
        await place.says(task, Report(ended=True, error=error))
        with anyio.fail_after(10):
            while not (await place.attempt()).ended_at:
                await anyio.lowlevel.checkpoint()
        attempt = await place.attempt()
        assert (attempt.error_code, attempt.error_detail) == (code, error.detail if code else None)
        assert (await place.world.file()).status is status
        tasks.cancel_scope.cancel()


async def test_ecs_that_is_away_while_the_task_works_is_waited_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        place.tasks.fail_next("look", UnavailableError("throttled"), times=5)
        place.tasks.looks.append(lambda task: None)
        async with task_group() as tasks:
            tasks.start_soon(place.world.handle_next)
            await place.tasks.called("look", 6)
            await place.commits(place.task().delegation)
        assert (await place.world.file()).status is Status.COMPLETED


async def test_a_lost_lease_leaves_the_task_to_its_next_holder(tmp_path: Path) -> None:
    """Nothing of its outputs is removed: they are being made."""
    async with opened(tmp_path) as place:
        async with task_group() as tasks:
            tasks.start_soon(place.world.handle_next)
            task = await place.watched()
            await place.world.processed.put(run_prefix(FILE_ID, task.delegation.run_id) + "x", b"x", content_type="a/b")
            await place.world.given.expire_leases()
        assert place.tasks.stopped == []
        assert any(key.endswith("/x") for key in place.world.processed.keys)
        assert len(place.channel()) == 1


class _Named:
    """A runner that does nothing but remember who came."""

    def __init__(self) -> None:
        self.came: list[str] = []

    async def run(self, job: Job, progress: Progress, figures: JobFigures) -> Manifest:
        self.came.append(f"run {job.file.profile}")
        raise TransientError(ErrorCode.STALLED, "it does nothing")

    async def discard(self, file: File, run_id: str) -> None:
        self.came.append(f"discard {file.profile}")

    async def stop(self, file: File, run_id: str | None) -> None:
        self.came.append(f"stop {file.profile}")


async def test_a_file_goes_to_the_runner_that_its_profile_names(tmp_path: Path) -> None:
    """By its name without rungs; what nobody opened, and a profile that is none, go to the default or the first."""
    runners = {kind: _Named() for kind in (RunnerKind.LOCAL, RunnerKind.ECS)}
    profiles = {name: replace(builtin_profiles()["abr"], name=name) for name in ("plain", "there", "elsewhere")}
    profiles["there"] = replace(profiles["there"], runner=RunnerKind.ECS)
    profiles["elsewhere"] = replace(profiles["elsewhere"], runner=RunnerKind.DOCKER)
    dispatcher = Dispatcher(runners, profiles=profiles, default=RunnerKind.LOCAL)
    async with open_world(tmp_path) as world:
        file = await world.given.pending()
        for name in ("plain", "there:360", "elsewhere", "none"):
            await dispatcher.discard(replace(file, profile=name), "r")
            await dispatcher.stop(replace(file, profile=name), None)
    assert runners[RunnerKind.ECS].came == ["discard there:360", "stop there:360"]
    told = runners[RunnerKind.LOCAL].came
    assert told == [f"{act} {name}" for name in ("plain", "elsewhere", "none") for act in ("discard", "stop")]


def test_a_profile_chooses_its_runner() -> None:
    """What no profile and no setting names need not be opened."""
    profiles = dict(builtin_profiles())
    assert runners_wanted(profiles, default=RunnerKind.ECS) == {RunnerKind.ECS}
    profiles["mine"] = replace(profiles["abr"], name="mine", runner=RunnerKind.DOCKER)
    assert runners_wanted(profiles, default=RunnerKind.LOCAL) == {RunnerKind.LOCAL, RunnerKind.DOCKER}
