"""How bucket and queue hang together: what is well, what is a warning, what loses files."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from vproc.core.infrastructure import (
    Deployment,
    dead_letter_attributes,
    events_statement,
    notification,
    queue_attributes,
    raw_lifecycle,
)
from vproc.core.wiring import Wiring, judge

WANTED = Deployment("acme", region="eu-west-1", account="123456789012")
POLICY = {"Version": "2012-10-17", "Statement": [events_statement(WANTED)]}
MADE = Wiring(
    queue_arn=WANTED.queue_arn("acme"),
    notifications={"QueueConfigurations": [notification(WANTED)]},
    lifecycle=[raw_lifecycle(WANTED)],
    queue={**queue_attributes(WANTED), "Policy": json.dumps(POLICY)},
    dead_letters=dead_letter_attributes(WANTED),
)


def test_what_init_makes_is_well() -> None:
    assert [(verdict.check, verdict.remedy) for verdict in judge(MADE)] == [
        ("notification", None), ("queue_policy", None), ("retention", None), ("lifecycle", None),
    ]  # fmt: skip


def queue(**attributes: str) -> Wiring:
    return replace(MADE, queue={**MADE.queue, **attributes})


def told(entry: dict[str, Any]) -> Wiring:
    return replace(MADE, notifications={"QueueConfigurations": [{**notification(WANTED), **entry}]})


def lasting(**changed: Any) -> Wiring:
    return replace(MADE, lifecycle=[{**raw_lifecycle(WANTED), **changed}])


def policy(statement: dict[str, Any]) -> Wiring:
    return queue(Policy=json.dumps({"Statement": statement}))


@pytest.mark.parametrize(
    ("wiring", "check", "words", "serious"),
    [
        (replace(MADE, notifications={}), "notification", "tells nobody", True),
        (told({"QueueArn": "arn:else"}), "notification", "tells nobody", True),
        (told({"Events": ["s3:ObjectRemoved:*"]}), "notification", "tells nobody", True),
        (told({"Events": ["s3:ObjectCreated:Put"]}), "notification", "uploads in parts are not told", True),
        (
            told({"Filter": {"Key": {"FilterRules": [{"Name": "Prefix", "Value": "in/"}]}}}),
            "notification", "only some keys are told to the queue: prefix in/", False,
        ),
        (replace(MADE, notifications={"TopicConfigurations": [{}]}), "notification", "a topic or EventBridge", False),
        (replace(MADE, notifications={"EventBridgeConfiguration": {}}), "notification", "a topic or EventBridge", False),
        (queue(Policy=""), "queue_policy", "does not let S3 send", True),
        (policy({**events_statement(WANTED), "Effect": "Deny"}), "queue_policy", "does not let S3 send", True),
        (policy({**events_statement(WANTED), "Principal": {"Service": "sns.amazonaws.com"}}), "queue_policy", "not let S3", True),
        (policy({**events_statement(WANTED), "Condition": {}}), "queue_policy", "every account", False),
        (policy({**events_statement(WANTED), "Principal": "*", "Condition": {}}), "queue_policy", "every account", False),
        (queue(MaximumMessageSize="1024"), "retention", "messages over 1024 bytes", True),
        (queue(RedrivePolicy=json.dumps({"maxReceiveCount": "3"})), "retention", "after 3 receives", False),
        (queue(MessageRetentionPeriod="1209600"), "retention", "dead letters are kept for 14 days, no longer", True),
        (lasting(Expiration={"Days": 2}), "lifecycle", "expire after 2 days, and a dead letter may be", True),
        (lasting(Expiration={}), "lifecycle", "stay for ever", False),
        (lasting(Status="Disabled"), "lifecycle", "stay for ever", False),
        (lasting(Filter={"Prefix": "logs/"}), "lifecycle", "stay for ever", False),
        (replace(MADE, lifecycle=[]), "lifecycle", "nobody completes", False),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_a_remedy(wiring: Wiring, check: str, words: str, serious: bool) -> None:
    found = [verdict for verdict in judge(wiring) if verdict.remedy and words in verdict.detail]
    assert [(verdict.check, verdict.serious) for verdict in found] == [(check, serious)]


def test_a_store_that_asks_no_policy_is_not_judged_by_one() -> None:
    assert "queue_policy" not in {verdict.check for verdict in judge(replace(queue(Policy=""), polices=False))}


def test_without_a_place_for_dead_letters_the_queue_alone_counts() -> None:
    short = replace(lasting(Expiration={"Days": 5}), dead_letters=None)
    assert [verdict for verdict in judge(short) if verdict.remedy] == []
