"""What stands of a file in the processed bucket: its commit, and what follows from it. The same whoever ran the job."""

from __future__ import annotations

from uuid import UUID

import structlog

from vproc.core.files import Stage
from vproc.core.keys import manifest_key, run_prefix
from vproc.core.manifest import Manifest
from vproc.ports import ObjectStore
from vproc.workers.figures import JobFigures
from vproc.workers.keeper import Progress
from vproc.workers.publisher import Publisher

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Commits:
    """Looks for a file's manifest, and finishes from it."""

    def __init__(self, *, processed: ObjectStore, publisher: Publisher) -> None:
        self._processed = processed
        self._publisher = publisher

    async def find(self, file_id: UUID) -> Manifest | None:
        """The manifest that stands, whichever run wrote it."""
        body = await self._processed.get(manifest_key(file_id))
        return Manifest.from_json(body) if body is not None else None

    async def prove(self, manifest: Manifest, figures: JobFigures) -> None:
        """See that all that it lists stands."""
        log.info("commit_found", run_id=manifest.run_id)
        with figures.stage(Stage.FINISH):
            await self._publisher.prove(manifest.outputs)

    async def finish(self, manifest: Manifest, progress: Progress, figures: JobFigures) -> None:
        """Put the entry points in their places."""
        progress.enter(Stage.FINISH)
        with figures.stage(Stage.FINISH):
            await self._publisher.place_entry_points(manifest)

    async def discard(self, file_id: UUID, run_id: str) -> None:
        """Remove a run's outputs, unless they are what was committed."""
        manifest = await self.find(file_id)
        if manifest is None or manifest.run_id != run_id:
            await self._processed.delete_prefix(run_prefix(file_id, run_id))
