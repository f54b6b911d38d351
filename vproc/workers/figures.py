"""What an attempt takes, added up while it runs: time by stage, bytes, and what `vproc.usage` counts for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from vproc.core.files import Stage
from vproc.core.leases import AttemptFigures
from vproc.core.manifest import Receipt
from vproc.tracing import NoTracer, Tracer
from vproc.usage import Usage, current_usage


@dataclass(slots=True)
class JobFigures:
    """What the attempt took so far. ``media_s`` is the source's duration once it is known, and stays 0 where nothing of it is
    encoded. ``task``: what is known of the task that did it elsewhere, in the words of ECS."""

    seconds: dict[str, float] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0
    media_s: float = 0.0
    usage: Usage = field(default_factory=current_usage)
    begun: float = field(default_factory=perf_counter)
    tracer: Tracer = field(default_factory=NoTracer)
    task: dict[str, object] = field(default_factory=dict)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Add the time of the block to the stage, also when it raises. It is a span of the job's."""
        begun = perf_counter()
        try:
            with self.tracer.span(stage.value):
                yield
        finally:
            self.seconds[stage.value] = self.seconds.get(stage.value, 0.0) + perf_counter() - begun

    def values(self) -> AttemptFigures:
        """The figures as the catalog keeps them."""
        return AttemptFigures(
            stage_seconds=dict(self.seconds),
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            cpu_s=round(self.usage.cpu_s, 3),
            peak_memory_bytes=self.usage.peak_memory_bytes,
            s3_requests=self.usage.s3_requests.total(),
            sqs_requests=self.usage.sqs_requests.total(),
            speed=self.speed,
            task=dict(self.task) or None,
        )

    @property
    def speed(self) -> float | None:
        """Seconds of source in a second since the attempt began; None where no source was taken up."""
        return self._speed(perf_counter() - self.begun)

    def _speed(self, wall_s: float) -> float | None:
        return round(self.media_s / wall_s, 3) if self.media_s and wall_s > 0 else None

    def receipt(self) -> Receipt:
        """The figures as the manifest keeps them."""
        wall_s = perf_counter() - self.begun
        return Receipt(
            wall_s=round(wall_s, 3),
            cpu_s=round(self.usage.cpu_s, 3),
            peak_memory_bytes=self.usage.peak_memory_bytes,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            s3_requests=dict(self.usage.s3_requests),
            sqs_requests=dict(self.usage.sqs_requests),
            speed=self._speed(wall_s),
        )
