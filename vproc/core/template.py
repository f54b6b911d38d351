"""The same deployment for CloudFormation and for Terraform, from the documents of `core.infrastructure`.

Names are put together from placeholders of each, so no resource waits for another's address, and the queue's policy can
stand before the bucket whose events it lets in.
"""

from __future__ import annotations

import json
from typing import Any

from vproc.core.infrastructure import (
    ENCRYPTION,
    POLICIES,
    PUBLIC_ACCESS_BLOCK,
    RAW_DAYS,
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

_IN_CLOUDFORMATION = Deployment(
    name="${Name}", region="${AWS::Region}", account="${AWS::AccountId}", partition="${AWS::Partition}"
)  # fmt: skip
_NUMBERS = frozenset({"VisibilityTimeout", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds", "MaximumMessageSize"})
_VERSION = "2012-10-17"


def cloudformation() -> Document:
    """The template, as JSON's types. Parameters: the name, the origins of pages, the days that originals stay, a topic."""
    wanted = _IN_CLOUDFORMATION
    resources: Document = {
        "DeadLetters": _resource("AWS::SQS::Queue", _queue_properties(wanted.dead_letters, dead_letter_attributes(wanted))),
        "Queue": _resource("AWS::SQS::Queue", _queue_properties(wanted.queue, queue_attributes(wanted)), after=["DeadLetters"]),
        "QueuePolicy": _resource(
            "AWS::SQS::QueuePolicy",
            {"Queues": [{"Ref": "Queue"}], "PolicyDocument": {"Version": _VERSION, "Statement": [events_statement(wanted)]}},
        ),
        "RawBucket": _resource("AWS::S3::Bucket", _raw_properties(wanted), after=["QueuePolicy"], kept=True),
        "ProcessedBucket": _resource(
            "AWS::S3::Bucket", _bucket_properties(wanted, wanted.processed_bucket, processed_lifecycle()), kept=True
        ),
    }  # fmt: skip
    for title, bucket in (("Raw", wanted.raw_bucket), ("Processed", wanted.processed_bucket)):
        document = {"Version": _VERSION, "Statement": [tls_only(wanted, bucket)]}
        resources[f"{title}BucketPolicy"] = _resource(
            "AWS::S3::BucketPolicy", {"Bucket": {"Ref": f"{title}Bucket"}, "PolicyDocument": document}
        )
    for role, document in policies(wanted).items():
        properties = {"ManagedPolicyName": wanted.policy_name(role), "Description": POLICIES[role], "PolicyDocument": document}
        resources[f"{role.title()}Policy"] = _resource("AWS::IAM::ManagedPolicy", properties)
    for alarm in alarms(wanted):
        title = "".join(word.title() for word in alarm["AlarmName"].removeprefix(f"{wanted.name}-").split("-"))
        topic = {"Fn::If": ["HasTopic", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]}
        resources[f"{title}Alarm"] = _resource("AWS::CloudWatch::Alarm", {**alarm, "AlarmActions": topic})
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "vproc: buckets, queue, dead letters, notification, policies and alarms",
        "Parameters": _PARAMETERS,
        "Conditions": {"HasTopic": {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopic"}, ""]}]}},
        "Resources": substituted(resources),
        "Outputs": _outputs(wanted),
    }


_PARAMETERS: Document = {
    "Name": {
        "Type": "String",
        "Default": "vproc",
        "AllowedPattern": "[a-z0-9](-?[a-z0-9]){2,49}",
        "Description": "Begins every name; buckets' names are the world's",
    },
    "Origins": {"Type": "CommaDelimitedList", "Default": "*", "Description": "Pages that may upload and play, as https://HOST"},
    "RawDays": {
        "Type": "Number",
        "Default": RAW_DAYS,
        "MinValue": 2,
        "Description": "Days that originals stay which were never processed",
    },
    "AlarmTopic": {"Type": "String", "Default": "", "Description": "ARN of an SNS topic that alarms go to, or nothing"},
}


def _resource(kind: str, properties: Document, *, after: list[str] | None = None, kept: bool = False) -> Document:
    made: Document = {"Type": kind}
    if after:
        made["DependsOn"] = after
    if kept:
        # Videos outlive a stack that is deleted by mistake.
        made |= {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
    return made | {"Properties": properties}


def _queue_properties(name: str, attributes: dict[str, str]) -> Document:
    properties: Document = {"QueueName": name}
    for key, value in attributes.items():
        if key in _NUMBERS:
            properties[key] = int(value)
        elif key == "SqsManagedSseEnabled":
            properties[key] = value == "true"
        else:
            properties[key] = json.loads(value)
    return properties


def _raw_properties(wanted: Deployment) -> Document:
    told = notification(wanted)
    events = [{"Event": event, "Queue": told["QueueArn"]} for event in told["Events"]]
    properties = _bucket_properties(wanted, wanted.raw_bucket, raw_lifecycle(wanted))
    return properties | {
        "VersioningConfiguration": {"Status": "Enabled"},
        "NotificationConfiguration": {"QueueConfigurations": events},
    }


def _bucket_properties(wanted: Deployment, bucket: str, lifecycle: Document) -> Document:
    (encryption,) = ENCRYPTION["Rules"]
    cors = cors_rule(wanted)
    rule: Document = {"Id": lifecycle["ID"], "Status": lifecycle["Status"]}
    if "Expiration" in lifecycle:
        rule["ExpirationInDays"] = {"Ref": "RawDays"}
    rule |= {key: lifecycle[key] for key in ("NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload") if key in lifecycle}
    return {
        "BucketName": bucket,
        "PublicAccessBlockConfiguration": PUBLIC_ACCESS_BLOCK,
        "BucketEncryption": {
            "ServerSideEncryptionConfiguration": [
                {
                    "ServerSideEncryptionByDefault": encryption["ApplyServerSideEncryptionByDefault"],
                    "BucketKeyEnabled": encryption["BucketKeyEnabled"],
                }
            ]
        },
        "CorsConfiguration": {
            "CorsRules": [
                {
                    "Id": cors["ID"],
                    "AllowedOrigins": {"Ref": "Origins"},
                    "AllowedMethods": cors["AllowedMethods"],
                    "AllowedHeaders": cors["AllowedHeaders"],
                    "ExposedHeaders": cors["ExposeHeaders"],
                    "MaxAge": cors["MaxAgeSeconds"],
                }
            ]
        },
        "LifecycleConfiguration": {"Rules": [rule]},
    }


def _outputs(wanted: Deployment) -> Document:
    """What the daemon's settings are, by their names without the prefix."""
    values = {
        "RawBucketName": ("VPROC_RAW_BUCKET", {"Ref": "RawBucket"}),
        "ProcessedBucketName": ("VPROC_PROCESSED_BUCKET", {"Ref": "ProcessedBucket"}),
        "QueueUrl": ("VPROC_QUEUE_URL", {"Ref": "Queue"}),
        "DeadLettersUrl": ("VPROC_DLQ_URL", {"Ref": "DeadLetters"}),
    }
    values |= {f"{role.title()}PolicyArn": (POLICIES[role], {"Ref": f"{role.title()}Policy"}) for role in policies(wanted)}
    return {name: {"Description": words, "Value": value} for name, (words, value) in values.items()}


def substituted(value: Any) -> Any:
    """The document with every string that has a placeholder as ``Fn::Sub``."""
    if isinstance(value, dict):
        return {key: substituted(one) for key, one in value.items()}
    if isinstance(value, list):
        return [substituted(one) for one in value]
    return {"Fn::Sub": value} if isinstance(value, str) and "${" in value else value
