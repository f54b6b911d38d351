"""``vproc aws`` over moto: made, made again, shown, proved by a daemon, taken away; and what others have is left to them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from click.testing import CliRunner, Result

from tests.support.daemon import run, serve
from vproc.cli import cli

FOREIGN = {"Id": "theirs", "TopicArn": "arn:aws:sns:eu-west-1:123456789012:theirs", "Events": ["s3:ObjectRemoved:*"]}
REGION = "eu-west-1"


@dataclass(frozen=True, slots=True)
class Account:
    """An account of moto's, a name in it, and the command."""

    name: str
    url: str

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name=REGION, endpoint_url=self.url)

    def __call__(self, word: str, *words: str, **options: Any) -> Result:
        """``vproc aws WORD --name … --region …``."""
        return CliRunner().invoke(cli, ["aws", word, "--name", self.name, "--region", REGION, *words], **options)

    def told(self, *words: str, code: int = 0) -> Any:
        """The JSON that a command prints, which ends with ``code``."""
        result = self(*words, "--json")
        assert result.exit_code == code, result.output
        (line,) = result.stdout.splitlines()
        return json.loads(line)

    def stands(self) -> tuple[list[str], list[str], list[str], list[str]]:
        """Buckets, queues, policies and alarms of this name."""
        buckets = [bucket["Name"] for bucket in self.client("s3").list_buckets()["Buckets"]]
        queues = self.client("sqs").list_queues(QueueNamePrefix=self.name).get("QueueUrls", [])
        policies = [policy["PolicyName"] for policy in self.client("iam").list_policies(Scope="Local")["Policies"]]
        alarms = [alarm["AlarmName"] for alarm in self.client("cloudwatch").describe_alarms()["MetricAlarms"]]
        return (
            sorted(bucket for bucket in buckets if bucket.startswith(f"{self.name}-")),
            sorted(url.rpartition("/")[2] for url in queues),
            sorted(policy for policy in policies if policy.startswith(f"{self.name}-")),
            sorted(alarm for alarm in alarms if alarm.startswith(f"{self.name}-")),
        )


@pytest.fixture
def account(moto_url: str) -> Iterator[Account]:
    made = Account(f"a{uuid4().hex[:10]}", moto_url)
    yield made
    made("destroy", "--yes", "--force")


NOTHING: tuple[list[str], list[str], list[str], list[str]] = ([], [], [], [])


def test_all_is_made_shown_and_taken_away_twice(account: Account) -> None:
    for _ in range(2):
        made = account.told("init")
        assert made["done"]
        assert made["settings"]["VPROC_RAW_BUCKET"] == f"{account.name}-raw"
        name = account.name
        assert account.stands() == (
            [f"{name}-processed", f"{name}-raw"],
            [name, f"{name}-dead-letters"],
            [f"{name}-{REGION}-{role}" for role in ("api", "daemon", "launcher", "task", "worker")],
            [f"{name}-dead-letters", f"{name}-oldest-message"],
        )
        assert account.told("init")["calls"] == []
        assert account.told("status", "--no-upload")["lacking"] == []
        gone = account.told("destroy", "--yes")
        assert gone["done"]
        assert account.stands() == NOTHING
    assert account.told("destroy", "--yes")["calls"] == []


def test_a_dry_run_shows_and_does_nothing(account: Account) -> None:
    shown = account("init", "--dry-run")
    assert f"+ bucket {account.name}-raw: make it\n" in shown.stdout
    assert "nothing was done" in shown.stdout
    assert account.stands() == NOTHING
    account("init")
    standing = account.stands()
    shown = account("destroy", "--dry-run")
    assert f"- queue {account.name}: delete it\n" in shown.stdout
    assert account.stands() == standing
    assert account("init").stdout.startswith("nothing is lacking\n")


def test_an_upload_is_announced_to_the_queue(account: Account) -> None:
    """Policy, notification and queue fit together: what S3 asks of them is in order."""
    settings = account.told("init")["settings"]
    account.client("s3").put_object(Bucket=settings["VPROC_RAW_BUCKET"], Key="a b.mp4", Body=b"x")
    found = account.client("sqs").receive_message(QueueUrl=settings["VPROC_QUEUE_URL"], MaxNumberOfMessages=10)["Messages"]
    keys = [record["s3"]["object"]["key"] for one in found for record in json.loads(one["Body"]).get("Records", ())]
    assert keys == ["a+b.mp4"]


def test_a_bucket_that_was_there_keeps_what_it_had(account: Account) -> None:
    """A foreign notification, a rule of CORS and videos: still there after init, and after destroy, which leaves the bucket."""
    s3, bucket = account.client("s3"), f"{account.name}-raw"
    account.client("sns").create_topic(Name="theirs")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    theirs = {"ID": "theirs", "AllowedOrigins": ["https://x.example"], "AllowedMethods": ["GET"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [theirs]})
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [FOREIGN]})
    s3.put_object(Bucket=bucket, Key="theirs.mp4", Body=b"x")

    def told() -> dict[str, Any]:
        return {key: value for key, value in s3.get_bucket_notification_configuration(Bucket=bucket).items() if key[0] != "R"}

    for _ in range(2):
        account.told("init")
        assert [one["Id"] for one in told()["TopicConfigurations"]] == ["theirs"]
        assert [one["Id"] for one in told()["QueueConfigurations"]] == ["vproc"]
        assert {rule["ID"] for rule in s3.get_bucket_cors(Bucket=bucket)["CORSRules"]} == {"theirs", "vproc"}
        assert account.told("init")["calls"] == []
        shown = account("destroy", "--yes")
        assert f"bucket {bucket}, which was there before and stays: take our rule from its CORS" in shown.stdout
        assert told()["TopicConfigurations"][0]["TopicArn"] == FOREIGN["TopicArn"]
        assert "QueueConfigurations" not in told()
        assert [rule["ID"] for rule in s3.get_bucket_cors(Bucket=bucket)["CORSRules"]] == ["theirs"]
        assert s3.get_object(Bucket=bucket, Key="theirs.mp4")["Body"].read() == b"x"
    assert account.stands() == ([bucket], [], [], [])


def test_a_bucket_with_videos_is_deleted_by_force_alone(account: Account) -> None:
    settings = account.told("init")["settings"]
    s3, raw, processed = account.client("s3"), settings["VPROC_RAW_BUCKET"], settings["VPROC_PROCESSED_BUCKET"]
    for _ in range(2):
        s3.put_object(Bucket=raw, Key="a", Body=b"x")
    s3.delete_object(Bucket=raw, Key="a")
    s3.put_object(Bucket=processed, Key="b", Body=b"x")
    s3.create_multipart_upload(Bucket=processed, Key="c")
    standing = account.stands()
    refused = account("destroy", "--yes")
    assert refused.exit_code == 1
    assert refused.stderr.splitlines()[:2] == [
        f"vproc: bucket {bucket} is not empty: nothing was deleted; --force deletes it all the same"
        for bucket in (raw, processed)
    ]
    assert account.stands() == standing
    assert account("destroy", "--yes", "--force").exit_code == 0
    assert account.stands() == NOTHING


def test_a_policy_in_use_is_taken_from_its_role_by_force_alone(account: Account) -> None:
    account("init")
    iam = account.client("iam")
    (arn,) = [one["Arn"] for one in iam.list_policies(Scope="Local")["Policies"] if one["PolicyName"].endswith(f"{REGION}-api")]
    iam.create_role(RoleName=f"{account.name}-web", AssumeRolePolicyDocument="{}")
    iam.attach_role_policy(RoleName=f"{account.name}-web", PolicyArn=arn)
    refused = account("destroy", "--yes")
    assert refused.exit_code == 1
    assert f"is in use by the role {account.name}-web" in refused.stderr
    assert account("destroy", "--yes", "--force").exit_code == 0
    assert account.stands() == NOTHING
    iam.delete_role(RoleName=f"{account.name}-web")


def test_destroy_asks_for_the_name(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    account("init")
    standing = account.stands()
    nobody = account("destroy")
    assert nobody.exit_code == 2
    assert "--yes" in nobody.stderr
    monkeypatch.setattr("vproc.cli.provisioning.can_be_asked", lambda: True)
    assert account("destroy", input="else\n").exit_code == 1
    assert account.stands() == standing
    assert account("destroy", input=f"{account.name}\n").exit_code == 0
    assert account.stands() == NOTHING


def test_what_somebody_changed_is_shown_and_mended(account: Account) -> None:
    settings = account.told("init", "--origin", "https://www.example.org", "--raw-days", "30")["settings"]
    assert account.told("status", "--no-upload")["lacking"] == []
    account.client("sqs").set_queue_attributes(QueueUrl=settings["VPROC_QUEUE_URL"], Attributes={"VisibilityTimeout": "30"})
    account.client("s3").delete_bucket_cors(Bucket=settings["VPROC_RAW_BUCKET"])
    shown = account("status")
    assert shown.exit_code == 1
    # moto forgets the policy where another attribute is set
    assert re.search(rf"^lacking: queue {account.name}: set .*VisibilityTimeout$", shown.stdout, re.MULTILINE)
    assert "nothing was uploaded" in shown.stdout
    assert account("init", "--origin", "https://www.example.org").exit_code == 0
    s3 = account.client("s3")
    assert s3.get_bucket_cors(Bucket=settings["VPROC_RAW_BUCKET"])["CORSRules"][0]["AllowedOrigins"] == [
        "https://www.example.org"
    ]
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=settings["VPROC_RAW_BUCKET"])["Rules"]
    assert rule["Expiration"]["Days"] == 30, "what is not given again stays"


def test_status_proves_the_path_with_a_daemon_and_says_so_without(account: Account, tmp_path: Path) -> None:
    """Through a real daemon, with the settings that init printed; nothing of the proof is left in either bucket."""
    settings = account.told("init")["settings"]
    nobody = account("status", "--within", "1")
    assert nobody.exit_code == 1
    assert "NOT proved: nothing came out within" in nobody.stdout
    environment = settings | {"AWS_ENDPOINT_URL": account.url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with serve(tmp_path, **environment):
        proved = account.told("status")
    assert proved["proof"]["completed"], proved
    assert proved["proof"]["took_s"] < 60
    for bucket in (settings["VPROC_RAW_BUCKET"], settings["VPROC_PROCESSED_BUCKET"]):
        assert not account.client("s3").list_object_versions(Bucket=bucket).get("Versions"), bucket


def test_without_aws_it_is_one_line(tmp_path: Path) -> None:
    """No credentials, an endpoint that is away, no region: what is wrong and what to do, and no traceback."""
    away = run(tmp_path, "aws", "status", "--name", "acme", AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_REGION=REGION,
               AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")  # fmt: skip
    assert (away.code, len(away.faults)) == (75, 1)
    assert "cannot reach AWS" in away.faults[0]
    nowhere = run(tmp_path, "aws", "init", "--name", "acme", AWS_EC2_METADATA_DISABLED="true", HOME=str(tmp_path))
    assert nowhere.code == 78
    assert "AWS_REGION" in nowhere.faults[0]
    nobody = run(
        tmp_path, "aws", "init", "--name", "acme", AWS_REGION=REGION, AWS_EC2_METADATA_DISABLED="true", HOME=str(tmp_path)
    )  # fmt: skip
    assert nobody.code == 75
    assert "no credentials were found" in nobody.faults[0]


@pytest.mark.parametrize("kind", ["cloudformation", "terraform"])
def test_a_template_needs_no_aws(kind: str, tmp_path: Path) -> None:
    printed = run(tmp_path, "aws", "template", "--format", kind)
    assert printed.code == 0
    assert json.loads(printed.stdout)
