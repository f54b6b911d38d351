"""From what AWS has to what is wanted: every plan, made on an account in memory, comes to its end and spares others."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.source import ROOT
from vproc.core.infrastructure import OWN, Deployment, Document, alarms, check_deployment, policies, queue_attributes
from vproc.core.provisioning import (
    OWNER_TAG,
    Call,
    Found,
    FoundBucket,
    FoundPolicy,
    FoundQueue,
    chosen,
    in_the_way,
    lacking,
    removal,
)
from vproc.errors import ConfigError

WANTED = Deployment("acme", region="eu-west-1", account="123456789012")
names = st.text(alphabet="abcdef", min_size=1, max_size=4)


class Account:
    """What AWS does with the calls of a plan, as far as `Found` shows it."""

    def __init__(self, found: Found | None = None) -> None:
        self.found = found or Found()

    def make(self, calls: list[Call]) -> None:
        for call in calls:
            getattr(self, f"_{call.service}")(call.operation, dict(call.arguments))

    def _s3(self, operation: str, arguments: dict[str, Any]) -> None:
        side = "raw" if arguments.pop("Bucket").endswith("-raw") else "processed"
        bucket: FoundBucket = getattr(self.found, side)
        self.found = replace(self.found, **{side: replace(bucket, **_made_of_bucket(operation, arguments))})

    def _sqs(self, operation: str, arguments: dict[str, Any]) -> None:
        name = arguments.get("QueueName") or arguments["QueueUrl"].rpartition("/")[2]
        side = "dead_letters" if name.endswith("-dead-letters") else "queue"
        standing: FoundQueue | None = getattr(self.found, side)
        made: FoundQueue | None
        if operation == "delete_queue":
            made = None
        else:
            made = FoundQueue(f"https://sqs/1/{name}", {**(standing.attributes if standing else {}), **arguments["Attributes"]})
        self.found = replace(self.found, **{side: made})

    def _iam(self, operation: str, arguments: dict[str, Any]) -> None:
        role = str(arguments.get("PolicyName") or arguments["PolicyArn"]).rpartition("-")[2]
        standing = dict(self.found.policies)
        if operation == "create_policy":
            standing[role] = FoundPolicy(json.loads(arguments["PolicyDocument"]))
        elif operation == "create_policy_version":
            others = (*standing[role].other_versions, f"v{len(standing[role].other_versions) + 1}")
            standing[role] = FoundPolicy(json.loads(arguments["PolicyDocument"]), others)
        elif operation == "delete_policy_version":
            kept = tuple(one for one in standing[role].other_versions if one != arguments["VersionId"])
            standing[role] = replace(standing[role], other_versions=kept)
        elif operation.startswith("detach_"):
            standing[role] = replace(standing[role], attached_to=standing[role].attached_to[1:])
        else:
            assert not standing[role].other_versions, "AWS deletes no policy that has other versions"
            assert not standing[role].attached_to, "nor one that is in use"
            del standing[role]
        self.found = replace(self.found, policies=standing)

    def _cloudwatch(self, operation: str, arguments: dict[str, Any]) -> None:
        standing = dict(self.found.alarms)
        if operation == "put_metric_alarm":
            standing[arguments["AlarmName"]] = arguments
        else:
            standing = {name: alarm for name, alarm in standing.items() if name not in arguments["AlarmNames"]}
        self.found = replace(self.found, alarms=standing)


def _made_of_bucket(operation: str, given: dict[str, Any]) -> dict[str, Any]:
    """What a call changes of a `FoundBucket`."""
    match operation:
        case "create_bucket":
            return {"exists": True}
        case "delete_bucket":
            return {name: getattr(FoundBucket(), name) for name in FoundBucket.__dataclass_fields__}
        case "put_bucket_tagging":
            return {"tags": {tag["Key"]: tag["Value"] for tag in given["Tagging"]["TagSet"]}}
        case "put_public_access_block":
            return {"public_access_block": given["PublicAccessBlockConfiguration"]}
        case "put_bucket_encryption":
            return {"encrypted": bool(given["ServerSideEncryptionConfiguration"]["Rules"])}
        case "put_bucket_versioning":
            return {"versioning": given["VersioningConfiguration"]["Status"]}
    return _made_of_lists(operation, given)


def _made_of_lists(operation: str, given: dict[str, Any]) -> dict[str, Any]:
    match operation:
        case "put_bucket_policy" | "delete_bucket_policy":
            return {"policy": json.loads(given["Policy"]) if given else None}
        case "put_bucket_cors" | "delete_bucket_cors":
            return {"cors": given["CORSConfiguration"]["CORSRules"] if given else ()}
        case "put_bucket_lifecycle_configuration" | "delete_bucket_lifecycle":
            return {"lifecycle": given["LifecycleConfiguration"]["Rules"] if given else ()}
    assert operation == "put_bucket_notification_configuration"
    return {"notifications": given["NotificationConfiguration"]}


def made(wanted: Deployment = WANTED, found: Found | None = None) -> Account:
    account = Account(found)
    account.make(lacking(wanted, account.found))
    return account


def test_nothing_becomes_all_and_then_nothing_is_lacking() -> None:
    account = made()
    assert lacking(WANTED, account.found) == []
    assert account.found.raw.notifications["QueueConfigurations"][0]["QueueArn"] == "arn:aws:sqs:eu-west-1:123456789012:acme"
    account.make(removal(WANTED, account.found))
    assert account.found == Found()
    assert removal(WANTED, account.found) == []


def test_the_queue_lets_s3_in_before_the_bucket_tells_it() -> None:
    """S3 asks the queue when it takes the notification; and what was made first is taken away last."""
    calls = lacking(WANTED, Found())
    order = [(call.resource, call.operation) for call in calls]
    assert order.index(("queue acme-dead-letters", "create_queue")) < order.index(("queue acme", "create_queue"))
    assert order.index(("queue acme", "create_queue")) < order.index(
        ("bucket acme-raw", "put_bucket_notification_configuration")
    )  # fmt: skip
    statement = json.loads(calls[1].arguments["Attributes"]["Policy"])["Statement"][0]
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}
    assert statement["Condition"]["ArnEquals"] == {"aws:SourceArn": "arn:aws:s3:::acme-raw"}
    assert removal(WANTED, made().found)[0].operation == "put_bucket_notification_configuration"


rules = st.lists(
    names.map(lambda name: {"ID": f"theirs-{name}", "AllowedOrigins": ["https://x"], "AllowedMethods": ["GET"]}), max_size=3
)
lifecycles = st.lists(
    names.map(lambda name: {"ID": f"theirs-{name}", "Status": "Enabled", "Filter": {"Prefix": name}}), max_size=3
)
statements = st.lists(names.map(lambda name: {"Sid": f"Theirs{name}", "Effect": "Deny", "Principal": "*"}), max_size=3)
told = st.fixed_dictionaries(
    {},
    optional={
        "QueueConfigurations": st.lists(
            names.map(lambda name: {"Id": f"theirs-{name}", "QueueArn": "q", "Events": ["s3:*"]}), min_size=1
        ),
        "TopicConfigurations": st.just([{"Id": "t", "TopicArn": "t", "Events": ["s3:ObjectRemoved:*"]}]),
        "LambdaFunctionConfigurations": st.just([{"Id": "l", "LambdaFunctionArn": "l", "Events": ["s3:ObjectRestore:*"]}]),
        "EventBridgeConfiguration": st.just({}),
    },
)


@given(rules, lifecycles, statements, told)
def test_what_others_put_there_is_kept_and_ours_goes_alone(
    cors: list[Document], lifecycle: list[Document], theirs: list[Document], notifications: Document
) -> None:
    """A bucket that was there before: their entries stand beside ours, and after the end as at the beginning."""
    policy = {"Version": "2012-10-17", "Id": "theirs", "Statement": theirs} if theirs else None
    bucket = FoundBucket(
        exists=True, cors=cors, lifecycle=lifecycle, policy=policy, notifications=notifications, holds_objects=True
    )
    account = made(found=Found(raw=bucket))
    raw = account.found.raw
    assert [rule for rule in raw.cors if rule["ID"] != OWN] == cors
    assert [rule for rule in raw.lifecycle if rule["ID"] != OWN] == lifecycle
    assert (raw.policy or {})["Statement"][:-1] == theirs
    for kind, entries in notifications.items():
        kept = raw.notifications[kind]
        assert (kept if isinstance(kept, dict) else [entry for entry in kept if entry["Id"] != OWN]) == entries
    assert lacking(WANTED, account.found) == []
    assert in_the_way(WANTED, account.found) == []
    account.make(removal(WANTED, account.found))
    left = account.found.raw
    assert (list(left.cors), list(left.lifecycle), left.policy, left.notifications) == (cors, lifecycle, policy, notifications)
    assert left.exists
    assert left.versioning == "Enabled", "what may protect their data stays"
    assert account.found.queue is None


def drifted() -> list[tuple[str, Found, str]]:
    found = made().found
    assert found.queue is not None
    assert found.dead_letters is not None
    attributes = found.queue.attributes
    ours = found.raw.cors[0]
    alarm = found.alarms["acme-dead-letters"]
    return [
        (
            "visibility",
            replace(found, queue=replace(found.queue, attributes={**attributes, "VisibilityTimeout": "30"})),
            "set VisibilityTimeout",
        ),
        (
            "size",
            replace(found, queue=replace(found.queue, attributes={**attributes, "MaximumMessageSize": "1024"})),
            "set MaximumMessageSize",
        ),
        ("policy", replace(found, queue=replace(found.queue, attributes={**attributes, "Policy": ""})), "set Policy"),
        ("versions", replace(found, raw=replace(found.raw, versioning="Suspended")), "keep versions"),
        ("public", replace(found, processed=replace(found.processed, public_access_block=None)), "block public access"),
        (
            "cors",
            replace(found, raw=replace(found.raw, cors=[{**ours, "ExposeHeaders": []}])),
            "allow uploads and playback by pages",
        ),
        ("rights", replace(found, policies={**found.policies, "api": FoundPolicy({"Statement": []})}), "change it"),
        ("alarm", replace(found, alarms={**found.alarms, "acme-dead-letters": {**alarm, "Threshold": 9}}), "change it"),
    ]


@pytest.mark.parametrize(("found", "words"), [case[1:] for case in drifted()], ids=[case[0] for case in drifted()])
def test_what_somebody_changed_is_one_call(found: Found, words: str) -> None:
    (call,) = lacking(WANTED, found)
    assert call.words == words
    account = Account(found)
    account.make([call])
    assert lacking(WANTED, account.found) == []


def test_more_than_is_wanted_is_no_fault() -> None:
    """A larger message, an encryption of their own choice, numbers that come back as strings, lists in another order."""
    found = made().found
    assert found.queue is not None
    redrive = json.loads(found.queue.attributes["RedrivePolicy"])
    attributes = {
        **found.queue.attributes,
        "MaximumMessageSize": "1048576",
        "RedrivePolicy": json.dumps(redrive | {"maxReceiveCount": "100"}),
    }
    cors = [{**found.raw.cors[0], "AllowedMethods": [*reversed(found.raw.cors[0]["AllowedMethods"])]}]
    assert lacking(WANTED, replace(found, queue=FoundQueue("u", attributes), raw=replace(found.raw, cors=cors))) == []


def test_an_attribute_that_a_service_never_tells_is_not_set_for_ever() -> None:
    found = made().found
    assert found.dead_letters is not None
    told_less = {key: value for key, value in found.dead_letters.attributes.items() if key != "RedriveAllowPolicy"}
    assert [call.words for call in lacking(WANTED, replace(found, dead_letters=FoundQueue("u", told_less)))] == [
        "set RedriveAllowPolicy"
    ]
    assert lacking(WANTED, replace(found, dead_letters=FoundQueue("u", told_less, ("RedriveAllowPolicy",)))) == []


def test_a_policy_with_five_versions_forgets_its_oldest() -> None:
    found = made().found
    crowded = FoundPolicy({"Statement": []}, ("v1", "v2", "v3", "v4"))
    calls = lacking(WANTED, replace(found, policies={**found.policies, "api": crowded}))
    assert [(call.operation, call.arguments.get("VersionId")) for call in calls] == [
        ("delete_policy_version", "v1"), ("create_policy_version", None),
    ]  # fmt: skip


def test_what_holds_videos_or_is_in_use_is_in_the_way() -> None:
    found = made().found
    used = replace(found.policies["api"], attached_to=(("role", "web"),), other_versions=("v1",))
    found = replace(found, raw=replace(found.raw, holds_objects=True), policies={**found.policies, "api": used})
    assert in_the_way(WANTED, found) == ["bucket acme-raw is not empty", "policy acme-eu-west-1-api is in use by the role web"]
    account = Account(found)
    account.make(removal(WANTED, found))
    assert account.found == Found()


def test_a_bucket_of_another_deployment_is_left() -> None:
    other = FoundBucket(exists=True, tags={OWNER_TAG: "else"}, holds_objects=True)
    calls = removal(WANTED, made(found=Found(raw=other)).found)
    assert [call.resource for call in calls if call.operation == "delete_bucket"] == ["bucket acme-processed"]


def test_what_the_owner_chose_is_read_back() -> None:
    wanted = replace(WANTED, origins=("https://a.example", "https://b.example"), raw_days=30, alarm_topic="arn:aws:sns:::t")
    assert chosen(made(wanted).found) == {"origins": wanted.origins, "raw_days": 30, "alarm_topic": "arn:aws:sns:::t"}
    assert chosen(Found()) == {}


def test_originals_outlast_their_letters() -> None:
    """The lifecycle of the raw bucket waits for longer than queue and dead letters keep a message together."""
    kept = sum(
        int(queue.attributes["MessageRetentionPeriod"]) for queue in (made().found.queue, made().found.dead_letters) if queue
    )
    assert WANTED.raw_days * 86_400 > kept


_INSTEAD_OF_RESOURCES = (
    {"StringEquals": {"cloudwatch:namespace": "vproc/acme"}},
    {"ArnEquals": {"ecs:cluster": "arn:aws:ecs:eu-west-1:123456789012:cluster/acme"}},
)


def test_no_policy_allows_everything() -> None:
    """Least privilege: verbs by name, resources of this deployment alone."""
    for role, policy in policies(WANTED).items():
        for statement in policy["Statement"]:
            assert not [action for action in statement["Action"] if "*" in action], role
            resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            # CloudWatch's numbers are no resources: the namespace is what bounds them.
            # Of tasks' definitions ECS knows no resource to read, and lists tasks by their cluster.
            bounded = resources == ["*"] and (
                statement.get("Condition") in _INSTEAD_OF_RESOURCES or statement["Action"] == ["ecs:DescribeTaskDefinition"]
            )
            assert bounded or all("acme" in resource or ":task/" in resource for resource in resources), role
    assert "s3:PutObject" not in json.dumps([one for one in policies(WANTED)["worker"]["Statement"] if "acme-raw/*" in str(one)])


def test_alarms_look_at_both_queues() -> None:
    assert {alarm["Dimensions"][0]["Value"] for alarm in alarms(WANTED)} == {"acme", "acme-dead-letters"}
    assert queue_attributes(WANTED)["VisibilityTimeout"] == "120"


@pytest.mark.parametrize("name", ["ab", "Acme", "a_b", "-ab", "ab-", "a--b", "a" * 51, "a.b"])
def test_a_name_that_no_bucket_could_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--name: takes 3 to 50"):
        check_deployment(replace(WANTED, name=name))


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        check_deployment(replace(WANTED, raw_days=1, origins=("https://x/path",)))
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["--raw-days", "--origin"]
    check_deployment(replace(WANTED, origins=("https://www.example.org", "http://127.0.0.1:8080", "*")))


# --- rights are what the code calls ----------------------------------------------------------------------------------------

_BY_OPERATION = {
    "head_bucket": {"s3:ListBucket"},
    "list_objects_v2": {"s3:ListBucket"},
    "list_multipart_uploads": {"s3:ListBucketMultipartUploads"},
    "head_object": {"s3:GetObject", "s3:GetObjectVersion"},
    "get_object": {"s3:GetObject", "s3:GetObjectVersion"},
    "put_object": {"s3:PutObject"},
    "create_multipart_upload": {"s3:PutObject"},
    "upload_part": {"s3:PutObject"},
    "complete_multipart_upload": {"s3:PutObject"},
    "abort_multipart_upload": {"s3:AbortMultipartUpload"},
    "list_parts": {"s3:ListMultipartUploadParts"},
    "delete_object": {"s3:DeleteObject", "s3:DeleteObjectVersion"},
    "delete_objects": {"s3:DeleteObject"},
    "receive_message": {"sqs:ReceiveMessage"},
    "send_message": {"sqs:SendMessage"},
    "delete_message": {"sqs:DeleteMessage"},
    "change_message_visibility": {"sqs:ChangeMessageVisibility"},
    "get_queue_attributes": {"sqs:GetQueueAttributes"},
    "get_queue_url": {"sqs:GetQueueUrl"},
    "change_message_visibility_batch": {"sqs:ChangeMessageVisibility"},
    "start_message_move_task": {"sqs:StartMessageMoveTask"},
    "list_message_move_tasks": {"sqs:ListMessageMoveTasks"},
    "put_metric_data": {"cloudwatch:PutMetricData"},
}
_OF_THE_OPERATOR = {"provision.py", "wiring.py"}
"""Called by commands with the operator's own credentials, never by the daemon."""
_OF_COMMANDS = {"purge_queue"}
"""Likewise: operations beside others that the daemon calls."""


def test_the_daemon_may_do_what_its_code_calls_and_nothing_else() -> None:
    session = boto3.session.Session(region_name=WANTED.region, aws_access_key_id="a", aws_secret_access_key="b")
    operations = {name for service in ("s3", "sqs", "cloudwatch") for name in session.client(service).meta.method_to_api_mapping}
    called = {
        word
        for path in (ROOT / "vproc/aws").glob("*.py")
        if path.name not in _OF_THE_OPERATOR
        for node in ast.walk(ast.parse(path.read_text()))
        for word in _words(node)
        if word in operations - _OF_COMMANDS
    }
    assert called <= set(_BY_OPERATION), "a call of which this table knows no right"
    needed = {action for operation in called for action in _BY_OPERATION[operation]}
    granted = {action for statement in policies(WANTED)["daemon"]["Statement"] for action in statement["Action"]}
    assert granted - {"ecs:GetTaskProtection", "ecs:UpdateTaskProtection"} == needed
    for role in ("api", "worker", "task"):
        assert {action for statement in policies(WANTED)[role]["Statement"] for action in statement["Action"]} <= needed


def test_the_launcher_may_do_what_its_code_calls_and_nothing_else() -> None:
    """Each call of `aws.ecs`, for tasks of this deployment alone; and the two roles may be given to tasks, to nothing else."""
    session = boto3.session.Session(region_name=WANTED.region, aws_access_key_id="a", aws_secret_access_key="b")
    operations = session.client("ecs").meta.method_to_api_mapping
    tree = ast.parse((ROOT / "vproc/aws/ecs.py").read_text())
    called = {operations[word] for node in ast.walk(tree) for word in _words(node) if word in operations}
    statements = policies(WANTED)["launcher"]["Statement"]
    granted = {action for statement in statements for action in statement["Action"]}
    assert granted == {f"ecs:{operation}" for operation in called} | {"iam:PassRole"}
    (passes,) = [statement for statement in statements if statement["Action"] == ["iam:PassRole"]]
    assert [arn.rpartition("/")[2] for arn in passes["Resource"]] == ["acme-eu-west-1-task", "acme-eu-west-1-task-execution"]
    assert passes["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


def _words(node: ast.AST) -> list[str]:
    """Methods that are named, and names of operations that stand as text (paginators)."""
    if isinstance(node, ast.Attribute):
        return [node.attr]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
