"""From what AWS has to what vproc needs: the calls that are lacking. What others put beside ours is kept.

Lists that S3 only takes whole (notifications, CORS, lifecycle, policies) are read, our entry is put in by its id, and the rest
goes back as it was.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vproc.core.infrastructure import (
    ENCRYPTION,
    OWN,
    POLICIES,
    PUBLIC_ACCESS_BLOCK,
    TLS_SID,
    Deployment,
    Document,
    alarms,
    cors_rule,
    dead_letter_attributes,
    events_statement,
    notification,
    policies,
    processed_lifecycle,
    queue_attributes,
    raw_lifecycle,
    tls_only,
)

OWNER_TAG = "vproc-deployment"
"""Says which deployment made a bucket. A bucket without it was there before, and is never deleted."""
_MOST_POLICY_VERSIONS = 5


@dataclass(frozen=True, slots=True)
class Call:
    """A call to AWS, and what it does for people. ``deletes``: what it takes away comes back by nothing."""

    resource: str
    words: str
    service: str
    operation: str
    arguments: Mapping[str, Any]
    deletes: bool = False


@dataclass(frozen=True, slots=True)
class FoundBucket:
    """A bucket as it is; empty where there is none. ``lifecycle_options`` go back with the rules."""

    exists: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    versioning: str | None = None
    public_access_block: Document | None = None
    encrypted: bool = False
    policy: Document | None = None
    cors: Sequence[Document] = ()
    lifecycle: Sequence[Document] = ()
    lifecycle_options: Document = field(default_factory=dict)
    notifications: Document = field(default_factory=dict)
    holds_objects: bool = False


@dataclass(frozen=True, slots=True)
class FoundQueue:
    """A queue that stands, with all its attributes. ``untold``: those that this service takes and never tells again."""

    url: str
    attributes: Mapping[str, str]
    untold: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class FoundPolicy:
    """A policy that stands: its document, its versions that are not in force, oldest first, and who has it, as
    ``(kind, name)`` with ``role``, ``user`` or ``group`` for the kind."""

    document: Document
    other_versions: Sequence[str] = ()
    attached_to: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """All that AWS has of a deployment."""

    raw: FoundBucket = field(default_factory=FoundBucket)
    processed: FoundBucket = field(default_factory=FoundBucket)
    queue: FoundQueue | None = None
    dead_letters: FoundQueue | None = None
    policies: Mapping[str, FoundPolicy] = field(default_factory=dict)
    alarms: Mapping[str, Document] = field(default_factory=dict)


def lacking(wanted: Deployment, found: Found) -> list[Call]:
    """The calls that make what stands into what is wanted, in order; none where nothing is lacking."""
    return [
        *_queue_calls(wanted.dead_letters, found.dead_letters, dead_letter_attributes(wanted), statement=None),
        *_queue_calls(wanted.queue, found.queue, queue_attributes(wanted), statement=events_statement(wanted)),
        *_bucket_calls(wanted, wanted.raw_bucket, found.raw, raw_lifecycle(wanted), versioned=True),
        *_bucket_calls(wanted, wanted.processed_bucket, found.processed, processed_lifecycle(), versioned=False),
        *_notification_calls(wanted, found.raw),
        *_policy_calls(wanted, found.policies),
        *_alarm_calls(wanted, found.alarms),
    ]


# --- queues ------------------------------------------------------------------------------------------------------------


def _queue_calls(
    name: str, found: FoundQueue | None, attributes: Mapping[str, str], statement: Document | None
) -> Iterator[Call]:
    resource = f"queue {name}"
    if found is None:
        policy = {} if statement is None else {"Policy": json.dumps(_with_statement(None, statement))}
        yield Call(resource, "make it", "sqs", "create_queue", {"QueueName": name, "Attributes": {**attributes, **policy}})
        return
    changed = {
        key: value
        for key, value in attributes.items()
        if not _same_attribute(key, value, found.attributes.get(key)) and (key in found.attributes or key not in found.untold)
    }
    if statement is not None:
        policy_now = found.attributes.get("Policy")
        now = json.loads(policy_now) if policy_now else None
        if (policy_then := _with_statement(now, statement)) != now:
            changed["Policy"] = json.dumps(policy_then)
    if changed:
        arguments = {"QueueUrl": found.url, "Attributes": changed}
        yield Call(resource, f"set {', '.join(sorted(changed))}", "sqs", "set_queue_attributes", arguments)


def _same_attribute(key: str, wanted: str, found: str | None) -> bool:
    if found is None:
        return False
    if key in ("RedrivePolicy", "RedriveAllowPolicy"):
        return _as_strings(json.loads(found)) == _as_strings(json.loads(wanted))
    if key == "MaximumMessageSize":
        return int(found) >= int(wanted)
    return found.lower() == wanted.lower()


def _as_strings(document: Document) -> dict[str, str]:
    """``maxReceiveCount`` comes back as a number or as a string, as it was set."""
    return {key: str(value) for key, value in document.items()}


# --- buckets -----------------------------------------------------------------------------------------------------------


def _bucket_calls(wanted: Deployment, bucket: str, found: FoundBucket, lifecycle: Document, *, versioned: bool) -> Iterator[Call]:
    resource = f"bucket {bucket}"

    def call(words: str, operation: str, **arguments: Any) -> Call:
        return Call(resource, words, "s3", operation, {"Bucket": bucket, **arguments})

    if not found.exists:
        place = {} if wanted.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": wanted.region}}
        yield call("make it", "create_bucket", **place)
        tags = [{"Key": OWNER_TAG, "Value": wanted.name}]
        yield call("say whose it is", "put_bucket_tagging", Tagging={"TagSet": tags})
    if found.public_access_block != PUBLIC_ACCESS_BLOCK:
        yield call("block public access", "put_public_access_block", PublicAccessBlockConfiguration=PUBLIC_ACCESS_BLOCK)
    if not found.encrypted:
        yield call("encrypt", "put_bucket_encryption", ServerSideEncryptionConfiguration=ENCRYPTION)
    if versioned and found.versioning != "Enabled":
        yield call("keep versions", "put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})
    if wanted.tls and (policy := _with_statement(found.policy, tls_only(wanted, bucket))) != found.policy:
        yield call("refuse requests without TLS", "put_bucket_policy", Policy=json.dumps(policy))
    if not _has(found.cors, cors_rule(wanted), "ID"):
        rules = with_entry(found.cors, cors_rule(wanted), "ID")
        yield call("allow uploads and playback by pages", "put_bucket_cors", CORSConfiguration={"CORSRules": rules})
    if not _has(found.lifecycle, lifecycle, "ID"):
        configuration = {"Rules": with_entry(found.lifecycle, lifecycle, "ID")}
        yield call(
            "clear away what nobody needs",
            "put_bucket_lifecycle_configuration",
            LifecycleConfiguration=configuration,
            **found.lifecycle_options,
        )


def _notification_calls(wanted: Deployment, found: FoundBucket) -> Iterator[Call]:
    ours = notification(wanted)
    queues = found.notifications.get("QueueConfigurations", ())
    if not _has(queues, ours, "Id"):
        merged = {**found.notifications, "QueueConfigurations": with_entry(queues, ours, "Id")}
        yield _put_notifications(wanted, merged, "tell the queue of uploads")


def _put_notifications(wanted: Deployment, configuration: Document, words: str) -> Call:
    arguments = {"Bucket": wanted.raw_bucket, "NotificationConfiguration": configuration}
    return Call(f"bucket {wanted.raw_bucket}", words, "s3", "put_bucket_notification_configuration", arguments)


# --- rights and alarms ---------------------------------------------------------------------------------------------------


def _policy_calls(wanted: Deployment, found: Mapping[str, FoundPolicy]) -> Iterator[Call]:
    for role, document in policies(wanted).items():
        resource, arn = f"policy {wanted.policy_name(role)}", wanted.policy_arn(role)
        if (standing := found.get(role)) is None:
            arguments = {
                "PolicyName": wanted.policy_name(role),
                "PolicyDocument": json.dumps(document),
                "Description": POLICIES[role],
            }
            yield Call(resource, "make it", "iam", "create_policy", arguments)
        elif standing.document != document:
            if len(standing.other_versions) + 1 >= _MOST_POLICY_VERSIONS:
                arguments = {"PolicyArn": arn, "VersionId": standing.other_versions[0]}
                yield Call(resource, "forget its oldest version", "iam", "delete_policy_version", arguments)
            changed = {"PolicyArn": arn, "PolicyDocument": json.dumps(document), "SetAsDefault": True}
            yield Call(resource, "change it", "iam", "create_policy_version", changed)


def _alarm_calls(wanted: Deployment, found: Mapping[str, Document]) -> Iterator[Call]:
    for alarm in alarms(wanted):
        standing = found.get(alarm["AlarmName"])
        if standing is None or any(standing.get(key) != value for key, value in alarm.items()):
            words = "make it" if standing is None else "change it"
            yield Call(f"alarm {alarm['AlarmName']}", words, "cloudwatch", "put_metric_alarm", alarm)


# --- the way back ------------------------------------------------------------------------------------------------------


def removal(wanted: Deployment, found: Found) -> list[Call]:
    """The calls that take away what `lacking` made: the notification first, so that nothing more comes in."""
    calls: list[Call] = []
    queues = found.raw.notifications.get("QueueConfigurations", ())
    if any(entry.get("Id") == OWN for entry in queues):
        rest = {**found.raw.notifications, "QueueConfigurations": _without(queues, "Id", OWN)}
        # an empty EventBridgeConfiguration means that events go there
        kept = {key: value for key, value in rest.items() if value or key == "EventBridgeConfiguration"}
        calls.append(_put_notifications(wanted, kept, "tell the queue no more"))
    for bucket, standing in ((wanted.raw_bucket, found.raw), (wanted.processed_bucket, found.processed)):
        if standing.exists:
            ours = standing.tags.get(OWNER_TAG) == wanted.name
            calls += [_deleted(bucket)] if ours else list(_left_as_before(bucket, standing))
    for name, queue in ((wanted.queue, found.queue), (wanted.dead_letters, found.dead_letters)):
        if queue is not None:
            calls.append(Call(f"queue {name}", "delete it", "sqs", "delete_queue", {"QueueUrl": queue.url}, deletes=True))
    for role, policy in found.policies.items():
        resource, arn = f"policy {wanted.policy_name(role)}", wanted.policy_arn(role)
        for kind, name in policy.attached_to:
            arguments = {"PolicyArn": arn, f"{kind.title()}Name": name}
            calls.append(Call(resource, f"take it from the {kind} {name}", "iam", f"detach_{kind}_policy", arguments))
        calls += [
            Call(resource, "forget a version", "iam", "delete_policy_version", {"PolicyArn": arn, "VersionId": version})
            for version in policy.other_versions
        ]
        calls.append(Call(resource, "delete it", "iam", "delete_policy", {"PolicyArn": arn}, deletes=True))
    if found.alarms:
        names = sorted(found.alarms)
        calls.append(
            Call(f"alarms {', '.join(names)}", "delete them", "cloudwatch", "delete_alarms", {"AlarmNames": names}, deletes=True)
        )
    return calls


def in_the_way(wanted: Deployment, found: Found) -> list[str]:
    """Why `removal` needs ``--force``, a sentence each."""
    reasons = [
        f"bucket {bucket} is not empty"
        for bucket, standing in ((wanted.raw_bucket, found.raw), (wanted.processed_bucket, found.processed))
        if standing.exists and standing.holds_objects and standing.tags.get(OWNER_TAG) == wanted.name
    ]
    for role, policy in found.policies.items():
        reasons += [f"policy {wanted.policy_name(role)} is in use by the {kind} {name}" for kind, name in policy.attached_to]
    return reasons


def _deleted(bucket: str) -> Call:
    return Call(f"bucket {bucket}", "delete it", "s3", "delete_bucket", {"Bucket": bucket}, deletes=True)


def _left_as_before(bucket: str, found: FoundBucket) -> Iterator[Call]:
    """Ours taken out of a bucket that somebody else made. What may protect its data (versions, encryption, the block of
    public access) stays."""
    resource = f"bucket {bucket}, which was there before and stays"

    def call(words: str, operation: str, **arguments: Any) -> Call:
        return Call(resource, words, "s3", operation, {"Bucket": bucket, **arguments})

    statements = (found.policy or {}).get("Statement", ())
    if rest := _without(statements, "Sid", TLS_SID):
        if len(rest) < len(statements):
            policy = {**(found.policy or {}), "Statement": rest}
            yield call("take our statement from its policy", "put_bucket_policy", Policy=json.dumps(policy))
    elif statements:
        yield call("take away the policy, which is ours alone", "delete_bucket_policy")
    if any(rule.get("ID") == OWN for rule in found.cors):
        if rest := _without(found.cors, "ID", OWN):
            yield call("take our rule from its CORS", "put_bucket_cors", CORSConfiguration={"CORSRules": rest})
        else:
            yield call("take away CORS, which is ours alone", "delete_bucket_cors")
    if any(rule.get("ID") == OWN for rule in found.lifecycle):
        if rest := _without(found.lifecycle, "ID", OWN):
            yield call(
                "take our rule from its lifecycle", "put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": rest},
                **found.lifecycle_options,
            )  # fmt: skip
        else:
            yield call("take away the lifecycle, which is ours alone", "delete_bucket_lifecycle")


# --- lists with an entry of ours -----------------------------------------------------------------------------------------


def with_entry(entries: Sequence[Document], ours: Document, key: str) -> list[Document]:
    """The list with our entry in the place of the one of that id, else at its end."""
    if any(entry.get(key) == ours[key] for entry in entries):
        return [ours if entry.get(key) == ours[key] else entry for entry in entries]
    return [*entries, ours]


def _without(entries: Sequence[Document], key: str, name: str) -> list[Document]:
    return [entry for entry in entries if entry.get(key) != name]


def _has(entries: Sequence[Document], ours: Document, key: str) -> bool:
    return any(_plain(entry) == _plain(ours) for entry in entries if entry.get(key) == ours[key])


def _plain(value: Any) -> Any:
    """Without order, which AWS does not keep, and without what it adds empty."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items() if one not in (None, [], "", {})}
    if isinstance(value, list | tuple):
        return sorted((_plain(one) for one in value), key=repr)
    return value


def _with_statement(policy: Document | None, statement: Document) -> Document:
    if policy is None:
        return {"Version": "2012-10-17", "Statement": [statement]}
    statements = policy.get("Statement", [])
    listed = statements if isinstance(statements, list) else [statements]
    return {**policy, "Statement": with_entry(listed, statement, "Sid")}


def chosen(found: Found) -> dict[str, Any]:
    """What `Deployment` leaves to its owner, as it stands: origins, days, topic. Empty where nothing stands."""
    options: dict[str, Any] = {}
    for rule in found.raw.cors:
        if rule.get("ID") == OWN:
            options["origins"] = tuple(rule.get("AllowedOrigins", ()))
    for rule in found.raw.lifecycle:
        if rule.get("ID") == OWN and "Days" in rule.get("Expiration", {}):
            options["raw_days"] = int(rule["Expiration"]["Days"])
    topics = {action for alarm in found.alarms.values() for action in alarm.get("AlarmActions", ())}
    if len(topics) == 1:
        options["alarm_topic"] = topics.pop()
    return options
