"""What SQS may do and the embedded one never does: deliver twice, deliver what was deleted, ignore the deletion by an old handle,
keep no order, and move dead letters by itself. Installed before the embedded one by a `FaultProxy`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import web

from tests.support.fault_proxy import Asked, FaultProxy, Verb, answered, drop_answer, drop_request, garbage, status


@dataclass
class SqsManners:
    """``twice``: the share of messages that are delivered again while the first delivery is worked on; ``replayed``: of those
    that were deleted, likewise. ``delivered`` counts what came that way, ``old_handles`` the deletions that did nothing."""

    dice: random.Random
    twice: float = 0.0
    replayed: float = 0.0
    delivered: int = 0
    old_handles: int = 0
    _again: list[dict[str, Any]] = field(default_factory=list)
    _twins: dict[str, str | None] = field(default_factory=dict)
    _newest: dict[str, str] = field(default_factory=dict)
    _known: dict[str, dict[str, Any]] = field(default_factory=dict)
    _tasks: list[dict[str, Any]] = field(default_factory=list)

    def install(self, proxy: FaultProxy) -> None:
        """From now on."""
        proxy.always |= {
            "ReceiveMessage": self._receive,
            "DeleteMessage": self._delete,
            "ChangeMessageVisibility": self._change,
            "StartMessageMoveTask": self._move,
            "ListMessageMoveTasks": self._moves,
        }

    async def _receive(self, proxy: FaultProxy, asked: Asked) -> web.StreamResponse:
        answer = await proxy.forward(asked)
        wanted = json.loads(asked.body)
        if answer.status != 200:
            return answered(asked, answer)
        messages = list(json.loads(answer.body).get("Messages", ()))
        earlier, self._again = self._again, []
        for message in messages:
            self._newest[message["MessageId"]] = message["ReceiptHandle"]
            self._known[message["ReceiptHandle"]] = message
            if self.dice.random() < self.twice:
                self._deliver_again(message, message["ReceiptHandle"])
        while earlier and len(messages) < wanted.get("MaxNumberOfMessages", 1):
            messages.append(earlier.pop(0))
            self.delivered += 1
        self._again = earlier + self._again
        self.dice.shuffle(messages)
        return web.json_response({"Messages": messages} if messages else {}, content_type="application/x-amz-json-1.0")

    def _deliver_again(self, message: dict[str, Any], handle: str | None) -> None:
        """``handle``: the delivery that this one is the twin of; None where the message is gone."""
        twin = f"twin-{uuid4()}"
        self._twins[twin] = handle
        self._again.append({**message, "ReceiptHandle": twin})

    async def _delete(self, proxy: FaultProxy, asked: Asked) -> web.StreamResponse:
        body = json.loads(asked.body)
        handle = self._twins.get(body["ReceiptHandle"], body["ReceiptHandle"])
        message = self._known.get(handle) if handle else None
        if handle is None:
            return web.json_response({})
        if message is not None and self._newest.get(message["MessageId"]) != handle:
            self.old_handles += 1
            return web.json_response({})  # "the message might not be deleted", as its API's reference has it
        if message is not None and self.dice.random() < self.replayed:
            self._deliver_again(message, None)
        return answered(asked, await proxy.forward(_with(asked, {**body, "ReceiptHandle": handle})))

    async def _change(self, proxy: FaultProxy, asked: Asked) -> web.StreamResponse:
        body = json.loads(asked.body)
        handle = self._twins.get(body["ReceiptHandle"], body["ReceiptHandle"])
        if handle is None:
            return web.json_response(
                {"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": "no such message"}, status=400
            )
        return answered(asked, await proxy.forward(_with(asked, {**body, "ReceiptHandle": handle})))

    async def _move(self, proxy: FaultProxy, asked: Asked) -> web.StreamResponse:
        """Receive, send, delete, until nothing is left; the task is done by the time it is answered."""
        body, moved = json.loads(asked.body), 0
        source, target = (proxy.queue_url(body[name]) for name in ("SourceArn", "DestinationArn"))
        while messages := (await proxy.sqs("ReceiveMessage", _EVERYTHING | {"QueueUrl": source})).get("Messages"):
            for message in messages:
                sent = {"QueueUrl": target, "MessageBody": message["Body"]}
                await proxy.sqs("SendMessage", sent | {"MessageAttributes": message.get("MessageAttributes", {})})
                await proxy.sqs("DeleteMessage", {"QueueUrl": source, "ReceiptHandle": message["ReceiptHandle"]})
                moved += 1
        self._tasks.append({"Status": "COMPLETED", "ApproximateNumberOfMessagesMoved": moved, "SourceArn": body["SourceArn"]})
        return web.json_response({"TaskHandle": str(len(self._tasks))})

    async def _moves(self, _proxy: FaultProxy, asked: Asked) -> web.StreamResponse:
        most = json.loads(asked.body).get("MaxResults", 1)
        return web.json_response({"Results": self._tasks[::-1][:most]})


_EVERYTHING = {"MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]}


def _with(asked: Asked, body: dict[str, Any]) -> Asked:
    return Asked(asked.operation, asked.request, json.dumps(body).encode())


def weather(dice: random.Random, share: float) -> Callable[[str], Verb | None]:
    """Every request meets some fault, with that probability: those that a job survives by trying again."""
    kinds: tuple[Callable[[], Verb], ...] = (
        drop_request,
        drop_answer,
        lambda: status(500, "InternalError"),
        lambda: status(503, "SlowDown"),
        garbage,
    )
    return lambda _name: dice.choice(kinds)() if dice.random() < share else None
