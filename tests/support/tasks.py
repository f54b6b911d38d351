"""`ports.Tasks` in memory: tasks that a test moves along, or that do what they are given at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.support.faults import Faults, faulty
from vproc.core.delegation import Delegation
from vproc.core.task_end import TaskEnd
from vproc.ports import JOB_VARIABLE, LiveTask, TaskOrder, TaskState

Does = Callable[[Delegation], Awaitable[None]]


@dataclass
class MemoryTask:
    """One task. ``known``: whether it is heard of already."""

    name: str
    order: TaskOrder
    state: TaskState = field(default_factory=lambda: TaskState(running=True))
    known: bool = True

    @property
    def delegation(self) -> Delegation:
        """What it was given."""
        delegation = Delegation.read(self.order.environment[JOB_VARIABLE])
        assert delegation is not None
        return delegation

    def end(self, **told: object) -> None:
        """It stops."""
        self.state = TaskState(running=False, end=TaskEnd(**told))  # type: ignore[arg-type]


class MemoryTasks(Faults):
    """All tasks. ``does``, one for each start, is what a task does before its start is answered; after that it has stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.all: dict[str, MemoryTask] = {}
        self.does: list[Does] = []
        self.stopped: list[str] = []
        self.looks: list[Callable[[MemoryTask], None]] = []

    @faulty
    async def start(self, order: TaskOrder) -> str:
        """As the port says."""
        for task in self.all.values():
            if task.order.token == order.token:
                return task.name
        name = f"task-{len(self.all) + 1}"
        task = self.all[name] = MemoryTask(name, order)
        if self.does:
            await self.does.pop(0)(task.delegation)
            task.end(stop_code="EssentialContainerExited", exit_code=0)
        return name

    @faulty
    async def find(self, started_by: str) -> tuple[LiveTask, ...]:
        """As the port says."""
        live = [task for task in self.all.values() if task.state.end is None and task.known]
        return tuple(
            LiveTask(task.name, task.order.environment[JOB_VARIABLE]) for task in live if task.order.started_by == started_by
        )

    @faulty
    async def look(self, name: str) -> TaskState:
        """As the port says. Each look first does what ``looks`` has next."""
        task = self.all[name]
        if self.looks:
            self.looks.pop(0)(task)
        return task.state if task.known else TaskState(running=False, end=TaskEnd(missing=True))

    @faulty
    async def stop(self, name: str, *, reason: str) -> None:
        """As the port says."""
        self.stopped.append(name)
        self.all[name].end(stop_code="UserInitiated", exit_code=143, reason=reason)
