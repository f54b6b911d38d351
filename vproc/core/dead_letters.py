"""Dead letters: what a message says of itself once it was put aside, and how a person names one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from vproc.core.notification import named_objects
from vproc.errors import LetterNotFoundError

CODE_ATTRIBUTE = "vproc-code"
"""The message attribute that holds a dead letter's reason. A redrive keeps it: so a redriven message is no mere duplicate."""
DETAIL_ATTRIBUTE = "vproc-detail"
FILE_ID_ATTRIBUTE = "vproc-file-id"
MESSAGE_ID_ATTRIBUTE = "vproc-message-id"
ATTEMPTS_ATTRIBUTE = "vproc-attempts"

MOVED_BY_SQS = "received too often"
"""What is known of a letter without a reason: the queue's redrive policy moved it."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One letter. ``attributes`` are those of the message; ``receive_count`` counts every delivery, a look at it included."""

    message_id: str
    receipt_handle: str
    body: str
    sent_at: datetime | None = None
    receive_count: int = 1
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def code(self) -> str | None:
        """The error's code; None where SQS itself moved it."""
        return self.attributes.get(CODE_ATTRIBUTE)

    @property
    def detail(self) -> str:
        """The reason in words."""
        return self.attributes.get(DETAIL_ATTRIBUTE) or MOVED_BY_SQS

    @property
    def file_id(self) -> str | None:
        """The file that it is about, where that was known."""
        return self.attributes.get(FILE_ID_ATTRIBUTE)

    @property
    def attempts(self) -> int | None:
        """How often its job was begun, where that was known."""
        told = self.attributes.get(ATTEMPTS_ATTRIBUTE, "")
        return int(told) if told.isdecimal() else None

    @property
    def objects(self) -> tuple[str, ...]:
        """``bucket/key`` of each object that the body names, as far as it can be read."""
        return named_objects(self.body)

    def answers_to(self, name: str) -> bool:
        """Whether a person means this letter: by its id, the original message's or the file's."""
        return name in {self.message_id, self.attributes.get(MESSAGE_ID_ATTRIBUTE), self.file_id}

    def document(self, *, whole: bool = False) -> dict[str, object]:
        """For programs; ``whole`` adds body and attributes."""
        told: dict[str, object] = {
            "message_id": self.message_id,
            "code": self.code,
            "detail": self.detail,
            "file_id": self.file_id,
            "attempts": self.attempts,
            "objects": list(self.objects),
            "sent_at": self.sent_at.isoformat() if self.sent_at else None,
            "receive_count": self.receive_count,
        }
        return told | {"attributes": dict(self.attributes), "body": self.body} if whole else told


@dataclass(frozen=True, slots=True)
class Redriven:
    """How many letters went back to the queue, and who sent them: ``sqs`` itself, which counts about, or vproc by ``hand``.
    ``failure``: why SQS stopped before the end."""

    letters: int
    by: Literal["sqs", "hand"]
    failure: str | None = None


def letters_named(letters: Sequence[DeadLetter], names: Sequence[str]) -> list[DeadLetter]:
    """The letters that these names mean. All of them, or `LetterNotFoundError`: half of what was asked for is no answer."""
    for name in names:
        if not any(letter.answers_to(name) for letter in letters):
            raise LetterNotFoundError(name, among=len(letters))
    return [letter for letter in letters if any(letter.answers_to(name) for name in names)]
