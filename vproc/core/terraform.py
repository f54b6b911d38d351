"""The deployment as a Terraform module, in Terraform's JSON: its placeholders are those of its strings, so that the documents of
`core.infrastructure` go in as they are."""

from __future__ import annotations

import json
from typing import Any

from vproc.core.infrastructure import (
    POLICIES,
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

_WANTED = Deployment(
    name="${var.name}",
    region="${data.aws_region.here.region}",
    account="${data.aws_caller_identity.us.account_id}",
    partition="${data.aws_partition.here.partition}",
)
_ATTRIBUTES = {
    "VisibilityTimeout": "visibility_timeout_seconds",
    "MessageRetentionPeriod": "message_retention_seconds",
    "ReceiveMessageWaitTimeSeconds": "receive_wait_time_seconds",
    "MaximumMessageSize": "max_message_size",
    "SqsManagedSseEnabled": "sqs_managed_sse_enabled",
    "RedrivePolicy": "redrive_policy",
    "RedriveAllowPolicy": "redrive_allow_policy",
}
_VERSION = "2012-10-17"


def terraform() -> Document:
    """The module, as ``main.tf.json`` holds it."""
    wanted = _WANTED
    told = notification(wanted)
    resources: Document = {
        "aws_sqs_queue": {
            "dead_letters": _queue(wanted.dead_letters, dead_letter_attributes(wanted)),
            "queue": {**_queue(wanted.queue, queue_attributes(wanted)), "depends_on": ["aws_sqs_queue.dead_letters"]},
        },
        "aws_sqs_queue_policy": {
            "queue": {"queue_url": "${aws_sqs_queue.queue.id}", "policy": _policy(events_statement(wanted))}
        },
        **_buckets(wanted),
        "aws_s3_bucket_versioning": {"raw": {**_of("raw"), "versioning_configuration": {"status": "Enabled"}}},
        "aws_s3_bucket_notification": {
            "raw": {
                **_of("raw"),
                "queue": [{"id": told["Id"], "queue_arn": told["QueueArn"], "events": told["Events"]}],
                "depends_on": ["aws_sqs_queue_policy.queue"],
            }
        },
        "aws_iam_policy": {
            role: {"name": wanted.policy_name(role), "description": POLICIES[role], "policy": json.dumps(document)}
            for role, document in policies(wanted).items()
        },
        "aws_cloudwatch_metric_alarm": {_label(wanted, alarm): _alarm(alarm) for alarm in alarms(wanted)},
    }
    return {
        "terraform": {
            "required_version": ">= 1.5",
            "required_providers": {"aws": {"source": "hashicorp/aws", "version": ">= 6.0"}},
        },
        "variable": _VARIABLES,
        "data": {"aws_region": {"here": {}}, "aws_caller_identity": {"us": {}}, "aws_partition": {"here": {}}},
        "resource": resources,
        "output": _outputs(),
    }


_VARIABLES: Document = {
    "name": {"type": "string", "description": "Begins every name; buckets' names are the world's"},
    "origins": {"type": "list(string)", "default": ["*"], "description": "Pages that may upload and play, as https://HOST"},
    "raw_days": {"type": "number", "default": RAW_DAYS, "description": "Days that originals stay which were never processed"},
    "alarm_topics": {"type": "list(string)", "default": [], "description": "ARNs of SNS topics that alarms go to"},
}


def _of(bucket: str) -> Document:
    return {"bucket": f"${{aws_s3_bucket.{bucket}.id}}"}


def _queue(name: str, attributes: dict[str, str]) -> Document:
    shown: Document = {"name": name}
    for key, value in attributes.items():
        plain = int(value) if value.isdecimal() else value == "true" if value in ("true", "false") else value
        shown[_ATTRIBUTES[key]] = plain
    return shown


def _buckets(wanted: Deployment) -> Document:
    names = {"raw": wanted.raw_bucket, "processed": wanted.processed_bucket}
    cors = cors_rule(wanted)
    rule = {
        "id": cors["ID"], "allowed_origins": "${var.origins}", "allowed_methods": cors["AllowedMethods"],
        "allowed_headers": cors["AllowedHeaders"], "expose_headers": cors["ExposeHeaders"],
        "max_age_seconds": cors["MaxAgeSeconds"],
    }  # fmt: skip
    lifecycles = {"raw": raw_lifecycle(wanted), "processed": processed_lifecycle()}
    block = {"block_public_acls": True, "ignore_public_acls": True, "block_public_policy": True, "restrict_public_buckets": True}
    encryption = {"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}, "bucket_key_enabled": True}
    return {
        "aws_s3_bucket": {bucket: {"bucket": name, "lifecycle": {"prevent_destroy": True}} for bucket, name in names.items()},
        "aws_s3_bucket_public_access_block": {bucket: {**_of(bucket), **block} for bucket in names},
        "aws_s3_bucket_server_side_encryption_configuration": {bucket: {**_of(bucket), "rule": [encryption]} for bucket in names},
        "aws_s3_bucket_policy": {
            bucket: {**_of(bucket), "policy": _policy(tls_only(wanted, name))} for bucket, name in names.items()
        },
        "aws_s3_bucket_cors_configuration": {bucket: {**_of(bucket), "cors_rule": [rule]} for bucket in names},
        "aws_s3_bucket_lifecycle_configuration": {
            bucket: {**_of(bucket), "rule": [_lifecycle(lifecycle)]} for bucket, lifecycle in lifecycles.items()
        },
    }


def _lifecycle(rule: Document) -> Document:
    shown: Document = {"id": rule["ID"], "status": rule["Status"], "filter": {"prefix": ""}}
    if "Expiration" in rule:
        shown["expiration"] = {"days": "${var.raw_days}"}
    if "NoncurrentVersionExpiration" in rule:
        shown["noncurrent_version_expiration"] = {"noncurrent_days": rule["NoncurrentVersionExpiration"]["NoncurrentDays"]}
    days = rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
    shown["abort_incomplete_multipart_upload"] = {"days_after_initiation": days}
    return shown


def _policy(statement: Document) -> str:
    return json.dumps({"Version": _VERSION, "Statement": [statement]})


def _label(wanted: Deployment, alarm: Document) -> str:
    return str(alarm["AlarmName"]).removeprefix(f"{wanted.name}-").replace("-", "_")


def _alarm(alarm: Document) -> dict[str, Any]:
    return {
        "alarm_name": alarm["AlarmName"], "alarm_description": alarm["AlarmDescription"], "namespace": alarm["Namespace"],
        "metric_name": alarm["MetricName"], "dimensions": {one["Name"]: one["Value"] for one in alarm["Dimensions"]},
        "statistic": alarm["Statistic"], "period": alarm["Period"], "evaluation_periods": alarm["EvaluationPeriods"],
        "threshold": alarm["Threshold"], "comparison_operator": alarm["ComparisonOperator"],
        "treat_missing_data": alarm["TreatMissingData"], "alarm_actions": "${var.alarm_topics}",
    }  # fmt: skip


def _outputs() -> Document:
    values = {
        "raw_bucket": "${aws_s3_bucket.raw.id}",
        "processed_bucket": "${aws_s3_bucket.processed.id}",
        "queue_url": "${aws_sqs_queue.queue.id}",
        "dead_letters_url": "${aws_sqs_queue.dead_letters.id}",
    }
    values |= {f"{role}_policy_arn": f"${{aws_iam_policy.{role}.arn}}" for role in POLICIES}
    return {name: {"value": value} for name, value in values.items()}
