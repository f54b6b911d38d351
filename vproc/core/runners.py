"""Where a job's ffmpeg can run."""

from __future__ import annotations

from enum import StrEnum


class RunnerKind(StrEnum):
    """Where ffmpeg runs: the default of a daemon, which a profile may overrule for its own files."""

    LOCAL = "local"
    """A confined child of the daemon."""
    DOCKER = "docker"
    """A container of its own for each child, beside the daemon."""
    ECS = "ecs"
    """A task of ECS for the whole job, elsewhere."""
