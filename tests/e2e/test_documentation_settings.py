"""The documentation's commands that need no daemon, typed in as they stand: settings, profiles, accounts, webhooks, AWS."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.documents import SETTINGS, Shell, runs, runs_each, script_of
from tests.support.source import ROOT
from vproc.aws.cloudwatch import METRIC
from vproc.core.notification import parse_message
from vproc.core.webhook_signing import show_secret, signed_headers

pytestmark = pytest.mark.xdist_group("e2e-documentation-settings")

SHOWN = {"serve": "vproc config", "migrate": "vproc config >/dev/null", "doctor": "vproc config"}
"""Instead of a start far from AWS: are the settings right, and what are they?"""


@runs_each(
    "README.md#on-aws",
    "docs/how-to/run-several.md#run-several-daemons",
    "docs/how-to/identity.md#tokens-of-an-issuer",
    "docs/how-to/cognito.md#the-pool",
    "docs/how-to/cognito.md#at-the-pools-own-pages",
    "docs/how-to/private-playback-and-cdn.md#a-cdn",
)
def test_settings_are_taken(script: str, tmp_path: Path) -> None:
    """What the block sets loads, and is in force."""
    pool = {"VPROC_COGNITO_USER_POOL_ID": "eu-central-1_A", "VPROC_COGNITO_CLIENT_ID": "a"}
    told = Shell(tmp_path, instead=SHOWN, settings=SETTINGS | pool).run(f"{script}\nvproc config")
    set_here = re.findall(r"\b(VPROC_\w+)=(\S+)", script)
    assert set_here
    for name, value in set_here:
        if "SECRET" not in name and "://vproc:" not in value:
            assert re.search(rf"^{name} *=? *{re.escape(value)}", told, re.MULTILINE), (name, told)


@runs("docs/how-to/own-profiles.md#profiles-of-your-own")
def test_profiles_of_your_own(script: str, tmp_path: Path) -> None:
    """The page's file of profiles passes the page's check, and a fault in it does not."""
    shell = Shell(tmp_path)
    written = script_of("docs/how-to/own-profiles.md#profiles-of-your-own", language="toml")
    (tmp_path / "profiles.toml").write_text(written)
    shell.run(script)
    (tmp_path / "profiles.toml").write_text(written.replace("crf", "crv", 1))
    with pytest.raises(AssertionError, match="crv"):
        shell.run(script)


@runs("docs/how-to/cognito.md#give-people-accounts")
def test_accounts_without_aws(script: str, tmp_path: Path) -> None:
    """It says when it is ready, and which code confirms everybody."""
    with Shell(tmp_path).running(script, VPROC_PORT="0") as line:
        assert json.loads(line)["cognito_code"]


@runs("docs/how-to/cognito.md#what-is-kept", language="sql")
def test_a_user_is_taken_out_of_the_catalog(script: str, tmp_path: Path) -> None:
    """The statement takes the row away."""
    Shell(tmp_path, settings=SETTINGS).run("vproc migrate")
    with contextlib.closing(sqlite3.connect(tmp_path / "vproc.db")) as catalog:
        columns = [row[1] for row in catalog.execute("PRAGMA table_info(users)") if row[3]]
        catalog.execute(f"INSERT INTO users ({','.join(columns)}) VALUES ({','.join('?' * len(columns))})", ["…"] * len(columns))
        catalog.executescript(script)
        assert catalog.execute("SELECT count(*) FROM users").fetchone() == (0,)


@runs("docs/how-to/receive-webhooks.md#verify-it", language="js")
def test_the_pages_javascript_verifies(script: str, tmp_path: Path) -> None:
    """It takes what vproc signs, and nothing else."""
    (tmp_path / "verify.mjs").write_text(script)
    secret, body = b"n" * 32, '{"type":"video.completed"}'
    headers = signed_headers((bytes(32), secret), webhook_id="msg_1", timestamp=int(time.time()), body=body.encode())
    asked = f"""
        import {{ verify }} from "./verify.mjs";
        const [secret, other, headers, body] = {json.dumps([show_secret(secret), show_secret(b"x" * 32), headers, body])};
        const all = [[secret, headers, body], [other, headers, body], [secret, headers, body + " "],
                     [secret, {{ ...headers, "webhook-timestamp": "1700000000" }}, body]];
        console.log(JSON.stringify(all.map(([s, h, b]) => verify(s, h, Buffer.from(b)))));
    """
    (tmp_path / "ask.mjs").write_text(asked)
    told = subprocess.run(["node", "ask.mjs"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert json.loads(told) == [True, False, False, False]


def test_the_direct_job_is_one() -> None:
    """The page's message is read as it means to be."""
    envelope = parse_message(script_of("docs/reference/messages.md#direct-jobs", language="json"), raw_bucket="acme-video-raw")
    assert "archive/1999/tape 12.avi" in repr(envelope)


@runs(
    "docs/how-to/run-on-aws.md#run-on-aws",
    "docs/how-to/run-on-aws.md#prove-it",
    "docs/how-to/run-on-aws.md#run",
    "docs/how-to/run-on-aws.md#take-it-away",
)
def test_the_set_up_on_aws(script: str, moto_url: str, tmp_path: Path) -> None:
    """The commands show, make, look at, would serve with, and would take away; an upload to what they made is announced."""
    name = f"acme-{uuid4().hex[:8]}"
    variables = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": moto_url, "AWS_PAGER": ""}
    shell = Shell(tmp_path, instead=SHOWN, settings=variables)
    queue = f"{moto_url}/123456789012/{name}"
    told = shell.run(script.replace("acme-video", name), raw=f"{name}-raw", processed=f"{name}-processed", queue=queue)
    assert f"VPROC_RAW_BUCKET={name}-raw\n" in told
    assert "all stands\n" in told
    assert "nothing was done\n" in told.splitlines(keepends=True)[-1]
    received = shell.run(
        f"""
        printf x >clip.mp4
        aws s3 cp --quiet clip.mp4 "s3://{name}-raw/a clip.mp4"
        aws sqs receive-message --queue-url {queue} --max-number-of-messages 10
        """,
        AWS_DEFAULT_REGION="eu-west-1",
    )
    bodies = [json.loads(message["Body"]) for message in json.loads(received)["Messages"]]
    assert [record["s3"]["object"]["key"] for body in bodies for record in body.get("Records", [])] == ["a+clip.mp4"]


@runs("docs/how-to/run-jobs-as-tasks.md#set-it-up")
def test_the_stack_of_tasks(script: str, moto_url: str, tmp_path: Path) -> None:
    """CloudFormation, moto's, makes the cluster and the definition that the page's settings name; the runner takes them."""
    variables = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": moto_url, "AWS_PAGER": ""}
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    shell = Shell(tmp_path, settings=SETTINGS | variables | {"AWS_DEFAULT_REGION": "eu-west-1"})
    settings = dict(
        line.split("=", 1) for line in script_of("docs/how-to/run-jobs-as-tasks.md#set-it-up", language="dotenv").splitlines()
    )
    shell.run("vproc aws init --name acme-video")
    shell.run(script)
    told = json.loads(shell.run(f"aws ecs describe-task-definition --task-definition {settings['VPROC_ECS_TASK_DEFINITION']}"))
    (container,) = told["taskDefinition"]["containerDefinitions"]
    assert (container["name"], container["command"]) == ("vproc", ["job"])
    clusters = json.loads(shell.run("aws ecs list-clusters"))["clusterArns"]
    assert [arn.rpartition("/")[2] for arn in clusters if "acme" in arn] == [settings["VPROC_ECS_CLUSTER"]]
    shown = shell.run("vproc config", **settings)
    assert "FARGATE_SPOT" in shown


@runs("docs/how-to/run-jobs-as-tasks.md#how-a-task-ends", language="sql")
def test_the_ends_of_tasks_are_asked_for(script: str, tmp_path: Path) -> None:
    """The catalog answers."""
    Shell(tmp_path, settings=SETTINGS).run("vproc migrate")
    with contextlib.closing(sqlite3.connect(tmp_path / "vproc.db")) as catalog:
        assert catalog.execute(script).fetchall() == []


@runs("docs/how-to/scale.md#by-cloudwatch")
def test_the_policies_that_scale(script: str, moto_url: str, tmp_path: Path) -> None:
    """AWS takes both policies, which ask for the number by the name that the daemon tells it under."""
    for file in ("ec2.json", "ecs.json"):
        shutil.copy(ROOT / "deploy/autoscaling" / file, tmp_path)
    variables = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": moto_url, "AWS_PAGER": ""}
    shell = Shell(tmp_path, settings=variables | {"AWS_DEFAULT_REGION": "us-east-1"})
    shell.run("""
        aws autoscaling create-launch-configuration --launch-configuration-name any --image-id ami-1 --instance-type t3.micro
        aws autoscaling create-auto-scaling-group --auto-scaling-group-name NAME --launch-configuration-name any \
          --min-size 1 --max-size 4 --availability-zones us-east-1a
        aws ecs create-cluster --cluster-name CLUSTER
        aws ecs register-task-definition --family any --container-definitions '[{"name": "any", "image": "any", "memory": 64}]'
        aws ecs create-service --cluster CLUSTER --service-name NAME --task-definition any --desired-count 1
        aws application-autoscaling register-scalable-target --service-namespace ecs --resource-id service/CLUSTER/NAME \
          --scalable-dimension ecs:service:DesiredCount --min-capacity 1 --max-capacity 4
    """)
    shell.run(script)
    held = json.loads(shell.run("aws autoscaling describe-policies"))["ScalingPolicies"]
    [policy] = [one for one in held if one["PolicyName"] == "backlog"]
    numbers = policy["TargetTrackingConfiguration"]["CustomizedMetricSpecification"]["Metrics"]
    assert {number["Id"] for number in numbers} == {"backlog", "instances", "each"}
    for file in ("ec2.json", "ecs.json"):
        policy = json.loads((ROOT / "deploy/autoscaling" / file).read_text())
        [backlog] = [one for one in policy["CustomizedMetricSpecification"]["Metrics"] if one["Id"] == "backlog"]
        assert backlog["MetricStat"]["Metric"]["MetricName"] == METRIC
