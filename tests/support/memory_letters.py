"""Dead letters in memory: a small true implementation of the port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from tests.support.faults import Faults, faulty
from vproc.core.dead_letters import (
    ATTEMPTS_ATTRIBUTE,
    CODE_ATTRIBUTE,
    DETAIL_ATTRIBUTE,
    FILE_ID_ATTRIBUTE,
    DeadLetter,
    Redriven,
    letters_named,
)


def dead_letter(name: str, *, file_id: str | None = None, code: str | None = "stalled", attempts: int = 3) -> DeadLetter:
    """A letter as the daemon puts one aside; without a code, as SQS does."""
    attributes = (
        {CODE_ATTRIBUTE: code, DETAIL_ATTRIBUTE: "no progress for 60 s", ATTEMPTS_ATTRIBUTE: str(attempts)} if code else {}
    )
    known = {FILE_ID_ATTRIBUTE: file_id} if file_id else {}
    body = '{"bucket": "raw", "key": "a.mp4"}'
    return DeadLetter(name, f"handle-{name}", body, datetime(2026, 1, 2, tzinfo=UTC), 1, attributes | known)


class MemoryLetters(Faults):
    """Letters that lie there; ``sent`` are those that went back. ``redriven``: what SQS would say that it did, in its place."""

    def __init__(self, *letters: DeadLetter) -> None:
        super().__init__()
        self.letters = list(letters)
        self.sent: list[DeadLetter] = []
        self.redriven: Redriven | None = None
        self.looking = 0

    @asynccontextmanager
    async def held(self, *, most: int | None = None) -> AsyncIterator[list[DeadLetter]]:
        """As the port says. Who looks while another does sees nothing, as with SQS."""
        await self._look()
        seen = [] if self.looking else self.letters[:most]
        self.looking += 1
        try:
            yield seen
        finally:
            self.looking -= 1

    @faulty
    async def _look(self) -> None:
        """A call that can fail or be held."""

    @faulty
    async def send_back(self, names: Sequence[str] = ()) -> Redriven:
        """As the port says."""
        if self.redriven is not None:
            return self.redriven
        async with self.held() as held:
            chosen = letters_named(held, names) if names else list(held)
        self.sent += chosen
        self.letters = [letter for letter in self.letters if letter not in chosen]
        return Redriven(len(chosen), "hand")
