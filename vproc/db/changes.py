"""Who waits for news of which file, within this process. Another process's writes are not heard: see `Catalog.changed`."""

from __future__ import annotations

from uuid import UUID

from anyio import Event, move_on_after


class ChangeHub:
    """Wakes those who wait for a file. Holds nothing for a file that nobody waits for."""

    def __init__(self) -> None:
        self._waiting: dict[UUID, set[Event]] = {}

    def tell(self, file_id: UUID) -> None:
        """Wake everybody who waits for that file. Call it after the commit."""
        for event in self._waiting.get(file_id, ()):
            event.set()

    async def wait(self, file_id: UUID, *, within_s: float) -> None:
        """Return at the next `tell` for that file, or after ``within_s``."""
        event = Event()
        self._waiting.setdefault(file_id, set()).add(event)
        try:
            with move_on_after(within_s):
                await event.wait()
        finally:
            waiting = self._waiting[file_id]
            waiting.discard(event)
            if not waiting:
                del self._waiting[file_id]
