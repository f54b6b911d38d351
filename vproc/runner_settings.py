"""The settings of ``VPROC_RUNNER``: where ffmpeg runs, and what a runner other than the daemon's own children must know."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from vproc.core.runners import RunnerKind
from vproc.errors import ConfigError

FARGATE = "FARGATE"


class RunnerSettings(BaseSettings):
    """Part of `settings.Settings`."""

    runner: Annotated[RunnerKind, Field(validation_alias=AliasChoices("VPROC_RUNNER"))] = RunnerKind.LOCAL
    docker_image: Annotated[str | None, Field(validation_alias=AliasChoices("VPROC_DOCKER_IMAGE"))] = None
    ecs_cluster: Annotated[str, Field(validation_alias=AliasChoices("VPROC_ECS_CLUSTER"))] = "default"
    ecs_task_definition: Annotated[str | None, Field(validation_alias=AliasChoices("VPROC_ECS_TASK_DEFINITION"))] = None
    ecs_capacity: Annotated[tuple[str, ...], NoDecode, Field(validation_alias=AliasChoices("VPROC_ECS_CAPACITY"))] = (FARGATE,)
    ecs_subnets: Annotated[tuple[str, ...], NoDecode, Field(validation_alias=AliasChoices("VPROC_ECS_SUBNETS"))] = ()
    ecs_security_groups: Annotated[
        tuple[str, ...], NoDecode, Field(validation_alias=AliasChoices("VPROC_ECS_SECURITY_GROUPS"))
    ] = ()
    ecs_public_ip: Annotated[bool, Field(validation_alias=AliasChoices("VPROC_ECS_PUBLIC_IP"))] = False

    @field_validator("ecs_capacity", "ecs_subnets", "ecs_security_groups", mode="before")
    @classmethod
    def _split_words(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("ecs_capacity")
    @classmethod
    def _some_capacity(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("takes FARGATE, EC2, or the name of a capacity provider such as FARGATE_SPOT; several with commas")
        return value

    def check_runners(self, kinds: Collection[RunnerKind]) -> None:
        """Raise `ConfigError` where one of these lacks what it must know. Profiles name runners, too."""
        if RunnerKind.ECS in kinds and self.ecs_task_definition is None:
            raise ConfigError(
                "VPROC_ECS_TASK_DEFINITION: not set, and required by the runner ecs: takes the family or ARN of a task "
                "definition whose container runs `vproc job`"
            )
