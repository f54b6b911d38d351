"""Whether an upload would reach the queue, and whether nothing is thrown away before it is done with: what `vproc doctor`
reads of a bucket and two queues, judged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vproc.core.keys import UPLOAD_PREFIX

Document = Mapping[str, Any]

_DAY_S = 86_400
_LEAST_MESSAGE_BYTES = 64 * 1024
_FEW_RECEIVES = 10
_CREATED = "s3:ObjectCreated:"
_MAKE = "`vproc aws init` makes it; docs/how-to/run-on-aws.md"


@dataclass(frozen=True, slots=True)
class Wiring:
    """What stands. ``polices``: the service asks the queue's policy before it lets the bucket send, as SQS does."""

    queue_arn: str
    notifications: Document
    lifecycle: Sequence[Document]
    queue: Mapping[str, str]
    dead_letters: Mapping[str, str] | None
    polices: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that was looked at. Without a remedy all is well; ``serious`` where files are lost or never begun."""

    check: str
    detail: str
    remedy: str | None = None
    serious: bool = False


def judge(wiring: Wiring) -> list[Verdict]:
    """A verdict or more for each of ``notification``, ``queue_policy``, ``retention`` and ``lifecycle``."""
    return [
        _notification(wiring),
        *(_policy(wiring) if wiring.polices and _of_queue(wiring) else ()),
        *_queue(wiring),
        *_lifecycle(wiring),
    ]


def _of_queue(wiring: Wiring) -> list[Document]:
    entries = wiring.notifications.get("QueueConfigurations", ())
    return [
        entry
        for entry in entries
        if entry.get("QueueArn") == wiring.queue_arn and any(str(event).startswith(_CREATED) for event in entry.get("Events", ()))
    ]


def _notification(wiring: Wiring) -> Verdict:
    check = "notification"
    ours = _of_queue(wiring)
    if ours:
        events = {event for entry in ours for event in entry["Events"]}
        if not events & {f"{_CREATED}*", f"{_CREATED}CompleteMultipartUpload"}:
            return Verdict(check, f"uploads in parts are not told: {', '.join(sorted(events))}", _MAKE, serious=True)
        rules = [rule for entry in ours for rule in entry.get("Filter", {}).get("Key", {}).get("FilterRules", ())]
        if rules:
            words = ", ".join(f"{rule['Name'].lower()} {rule['Value']}" for rule in rules)
            return Verdict(check, f"only some keys are told to the queue: {words}", f"uploads begin with {UPLOAD_PREFIX}")
        return Verdict(check, "the raw bucket tells the queue of uploads")
    if wiring.notifications.get("TopicConfigurations") or "EventBridgeConfiguration" in wiring.notifications:
        words = "the bucket tells a topic or EventBridge, not the queue"
        return Verdict(check, words, "see that it sends on to the queue: an upload by `vproc submit --wait` tells")
    return Verdict(check, "the raw bucket tells nobody of uploads: they would lie there", _MAKE, serious=True)


def _policy(wiring: Wiring) -> Iterator[Verdict]:
    check = "queue_policy"
    text = wiring.queue.get("Policy")
    statements = json.loads(text).get("Statement", []) if text else []
    letting = [one for one in (statements if isinstance(statements, list) else [statements]) if _lets_s3_in(one)]
    if not letting:
        yield Verdict(check, "the queue's policy does not let S3 send", _MAKE, serious=True)
    elif not all("aws:sourceaccount" in json.dumps(one.get("Condition", {})).lower() for one in letting):
        yield Verdict(check, "the queue's policy lets in the buckets of every account", f"bind it to aws:SourceAccount: {_MAKE}")
    else:
        yield Verdict(check, "S3 may send, for this account alone")


def _lets_s3_in(statement: Document) -> bool:
    principal = statement.get("Principal", {})
    services = principal.get("Service", ()) if isinstance(principal, Mapping) else principal
    actions = statement.get("Action", ())
    named = {action.lower() for action in ([actions] if isinstance(actions, str) else actions)}
    lets = "s3.amazonaws.com" in services if isinstance(principal, Mapping) else principal == "*"
    return statement.get("Effect") == "Allow" and lets and bool(named & {"sqs:sendmessage", "sqs:*", "*"})


def _queue(wiring: Wiring) -> Iterator[Verdict]:
    check = "retention"
    if int(wiring.queue.get("MaximumMessageSize", _LEAST_MESSAGE_BYTES)) < _LEAST_MESSAGE_BYTES:
        words = f"messages over {wiring.queue['MaximumMessageSize']} bytes are refused, and a notification takes up to 64 KB"
        yield Verdict(check, words, "set the queue's MaximumMessageSize to 262144", serious=True)
    redrive = json.loads(wiring.queue.get("RedrivePolicy") or "{}")
    receives = int(redrive.get("maxReceiveCount", _FEW_RECEIVES))
    if receives < _FEW_RECEIVES:
        words = f"SQS gives a message up after {receives} receives, and each drain of a daemon is one"
        yield Verdict(check, words, "set maxReceiveCount to 100: VPROC_MAX_ATTEMPTS is what counts")
    if wiring.dead_letters is None:
        return
    ours, theirs = _retention(wiring.queue), _retention(wiring.dead_letters)
    if ours is not None and theirs is not None and theirs <= ours:
        # SQS counts a dead letter's age from when the message was first sent
        words = f"dead letters are kept for {_days(theirs)}, no longer than the queue keeps messages ({_days(ours)})"
        yield Verdict(check, words, "set the dead letters' MessageRetentionPeriod to 1209600", serious=True)
    elif ours is not None and theirs is not None:
        yield Verdict(check, f"messages are kept for {_days(ours)}, dead letters for {_days(theirs)}")


def _lifecycle(wiring: Wiring) -> Iterator[Verdict]:
    check = "lifecycle"
    rules = [rule for rule in wiring.lifecycle if rule.get("Status") == "Enabled" and UPLOAD_PREFIX.startswith(_prefix(rule))]
    if not any("AbortIncompleteMultipartUpload" in rule for rule in rules):
        yield Verdict(check, "uploads in parts that nobody completes stay, and are paid for", _MAKE)
    days = [int(rule["Expiration"]["Days"]) for rule in rules if "Days" in rule.get("Expiration", {})]
    if not days:
        yield Verdict(check, "originals that are never processed stay for ever", _MAKE)
        return
    kept_s = sum(_retention(queue) or 0 for queue in (wiring.queue, wiring.dead_letters or {}))
    if min(days) * _DAY_S < kept_s:
        words = f"originals expire after {min(days)} days, and a dead letter may be redriven for {_days(kept_s)}"
        yield Verdict(check, words, f"let them stay for {-(-kept_s // _DAY_S)} days or more", serious=True)
    else:
        yield Verdict(check, f"originals that are never processed go after {min(days)} days")


def _prefix(rule: Document) -> str:
    found = rule.get("Filter", {})
    return str(found.get("Prefix", found.get("And", {}).get("Prefix", rule.get("Prefix", ""))))


def _retention(attributes: Mapping[str, str]) -> int | None:
    value = attributes.get("MessageRetentionPeriod")
    return None if value is None else int(value)


def _days(seconds: int) -> str:
    return f"{seconds / _DAY_S:g} days"
