"""CloudFormation and Terraform say the same as `vproc aws init`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.source import ROOT
from vproc.core.infrastructure import (
    Deployment,
    alarms,
    dead_letter_attributes,
    events_statement,
    notification,
    policies,
    queue_attributes,
    raw_lifecycle,
    tls_only,
)
from vproc.core.template import cloudformation
from vproc.core.terraform import terraform

WANTED = Deployment("acme", region="eu-west-1", account="123456789012")
_VALUES = {"${Name}": "acme", "${AWS::Region}": "eu-west-1", "${AWS::AccountId}": "123456789012", "${AWS::Partition}": "aws"}
_VARIABLES = {
    "${var.name}": "acme",
    "${data.aws_region.here.region}": "eu-west-1",
    "${data.aws_caller_identity.us.account_id}": "123456789012",
    "${data.aws_partition.here.partition}": "aws",
}


def filled(value: Any, values: dict[str, str]) -> Any:
    """The document with the placeholders of its tool filled in."""
    if isinstance(value, dict):
        if set(value) == {"Fn::Sub"}:
            return filled(value["Fn::Sub"], values)
        return {key: filled(one, values) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, values) for one in value]
    if isinstance(value, str):
        for placeholder, text in values.items():
            value = value.replace(placeholder, text)
    return value


def test_the_template_is_clean(tmp_path: Path) -> None:
    """cfn-lint finds nothing, not even to hint at."""
    path = tmp_path / "vproc.json"
    path.write_text(json.dumps(cloudformation()))
    linter = Path(sys.executable).parent / "cfn-lint"
    done = subprocess.run([linter, "--include-checks", "I", "--", path], check=False, capture_output=True, text=True)
    findings = [line for line in done.stdout.splitlines() if line.startswith(("E", "W"))]
    assert (findings, done.returncode & 6) == ([], 0), done.stdout + done.stderr


def test_cloudformation_makes_what_init_makes() -> None:
    resources = filled(cloudformation()["Resources"], _VALUES)

    def properties(name: str) -> dict[str, Any]:
        found: dict[str, Any] = resources[name]["Properties"]
        return found

    for name, attributes in (("Queue", queue_attributes(WANTED)), ("DeadLetters", dead_letter_attributes(WANTED))):
        for key, value in attributes.items():
            assert str(properties(name)[key]).lower() == value.lower() or properties(name)[key] == json.loads(value), (name, key)
    assert properties("QueuePolicy")["PolicyDocument"]["Statement"] == [events_statement(WANTED)]
    assert properties("RawBucketPolicy")["PolicyDocument"]["Statement"] == [tls_only(WANTED, "acme-raw")]
    assert properties("ProcessedBucketPolicy")["PolicyDocument"]["Statement"] == [tls_only(WANTED, "acme-processed")]
    (events,) = properties("RawBucket")["NotificationConfiguration"]["QueueConfigurations"]
    assert events == {"Event": "s3:ObjectCreated:*", "Queue": notification(WANTED)["QueueArn"]}
    (rule,) = properties("RawBucket")["LifecycleConfiguration"]["Rules"]
    assert rule["NoncurrentVersionExpiration"] == raw_lifecycle(WANTED)["NoncurrentVersionExpiration"]
    assert cloudformation()["Parameters"]["RawDays"]["Default"] == raw_lifecycle(WANTED)["Expiration"]["Days"]
    for role, document in policies(WANTED).items():
        assert properties(f"{role.title()}Policy")["PolicyDocument"] == document
    shown = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::CloudWatch::Alarm"]
    assert [{**one, "AlarmActions": []} for one in shown] == alarms(WANTED)
    assert {one["DeletionPolicy"] for one in resources.values() if one["Type"] == "AWS::S3::Bucket"} == {"Retain"}


def test_terraform_makes_what_init_makes() -> None:
    resources = filled(terraform()["resource"], _VARIABLES)
    queues = resources["aws_sqs_queue"]
    assert json.loads(queues["queue"]["redrive_policy"]) == json.loads(queue_attributes(WANTED)["RedrivePolicy"])
    assert json.loads(queues["dead_letters"]["redrive_allow_policy"]) == json.loads(
        dead_letter_attributes(WANTED)["RedriveAllowPolicy"]
    )
    assert queues["queue"]["visibility_timeout_seconds"] == 120
    assert json.loads(resources["aws_sqs_queue_policy"]["queue"]["policy"])["Statement"] == [events_statement(WANTED)]
    for label, bucket in (("raw", "acme-raw"), ("processed", "acme-processed")):
        assert json.loads(resources["aws_s3_bucket_policy"][label]["policy"])["Statement"] == [tls_only(WANTED, bucket)]
    for role, document in policies(WANTED).items():
        assert json.loads(resources["aws_iam_policy"][role]["policy"]) == document
    assert [one["alarm_name"] for one in resources["aws_cloudwatch_metric_alarm"].values()] == [
        alarm["AlarmName"] for alarm in alarms(WANTED)
    ]
    (told,) = resources["aws_s3_bucket_notification"]["raw"]["queue"]
    assert told == {"id": "vproc", "queue_arn": notification(WANTED)["QueueArn"], "events": ["s3:ObjectCreated:*"]}


def test_every_reference_of_the_module_is_declared() -> None:
    """No binary of Terraform's is at hand: at least each `var.` and each resource that a string names stands in the module."""
    module = terraform()
    text = json.dumps(module)
    for name in re.findall(r"\$\{var\.(\w+)", text):
        assert name in module["variable"]
    for kind, name in re.findall(r"\$\{(aws_\w+)\.(\w+)\.", text):
        assert name in module["resource"][kind]
    for kind, name in re.findall(r"\$\{data\.(\w+)\.(\w+)\.", text):
        assert name in module["data"][kind]


def test_the_module_in_the_tree_is_the_one_that_is_printed() -> None:
    """`deploy/terraform/main.tf.json` and `deploy/cloudformation.json`: `vproc aws template` writes both."""
    assert json.loads((ROOT / "deploy/terraform/main.tf.json").read_text()) == terraform()
    assert json.loads((ROOT / "deploy/cloudformation.json").read_text()) == cloudformation()
