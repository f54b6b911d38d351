"""The settings that a worker's jobs go by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobRules:
    """The settings that jobs go by. ``worker`` names this process in the attempts' rows."""

    worker: str
    visibility_timeout_s: int
    max_attempts: int
    job_timeout_s: float
    default_profile: str
    delete_raw: bool
