"""`vproc doctor`: what it says of a daemon's surroundings, whole ones and broken ones."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from click.testing import CliRunner

from tests.support.ecs import DEFINITION, fake_ecs
from tests.support.fake_engine import IMAGE, engine_beside
from tests.support.issuer import JWKS, Signer, running_issuer
from tests.support.samples import capabilities, tool_pair
from vproc.cli import checks, cli
from vproc.cli.checks import examine
from vproc.cli.findings import Finding, Level
from vproc.core.hardware import HardwareTrial
from vproc.core.profile import Packaging, Profile, VideoCodec
from vproc.errors import ConfigError, UnavailableError
from vproc.profiles import builtin_profiles
from vproc.settings import Settings, load_partial_settings
from vproc.workers.ffmpeg import ToolPair

GIB = 1024**3


@pytest.fixture
def around(moto_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """Settings that are right, over an embedded S3 and SQS; jobs would run unconfined."""
    name = f"d{uuid4().hex[:12]}"
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    for bucket in ("raw", "processed"):
        s3.create_bucket(Bucket=f"{name}-{bucket}")
        monkeypatch.setenv(f"VPROC_{bucket.upper()}_BUCKET", f"{name}-{bucket}")
    dlq_url = sqs.create_queue(QueueName=f"{name}-dead", Attributes={"MessageRetentionPeriod": "1209600"})["QueueUrl"]
    monkeypatch.setenv("VPROC_QUEUE_URL", sqs.create_queue(QueueName=name)["QueueUrl"])
    told = {"QueueArn": f"arn:aws:sqs:us-east-1:123456789012:{name}", "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(Bucket=f"{name}-raw", NotificationConfiguration={"QueueConfigurations": [told]})
    rule = {
        "ID": "vproc", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 21},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }  # fmt: skip
    s3.put_bucket_lifecycle_configuration(Bucket=f"{name}-raw", LifecycleConfiguration={"Rules": [rule]})
    monkeypatch.setenv("VPROC_DLQ_URL", dlq_url)
    monkeypatch.setenv("VPROC_SCRATCH_DIR", str(tmp_path))
    monkeypatch.setenv("VPROC_SANDBOX", "off")
    yield monkeypatch
    s3.close()
    sqs.close()


@pytest.fixture
def quick(around: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The same with an ffmpeg that is there and can do everything, so that no program is run."""

    async def found(*_: Any, **__: Any) -> tuple[ToolPair, ...]:
        return (tool_pair(),)

    around.setattr(checks, "find_pairs", found)
    return around


def examined(code: int) -> dict[str, list[dict[str, str | None]]]:
    """The findings of a run that ends with that code, by check."""
    ran = CliRunner().invoke(cli, ["doctor", "--json"])
    assert ran.exit_code == code, ran.output
    assert ran.stderr == ""
    found: dict[str, list[dict[str, str | None]]] = {}
    for line in ran.stdout.splitlines():
        told = json.loads(line)
        found.setdefault(told.pop("check"), []).append(told)
    return found


def failures(found: dict[str, list[dict[str, str | None]]]) -> dict[str, str]:
    """What failed, by check; each has its remedy."""
    failed = {name: told for name, all_told in found.items() for told in all_told if told["level"] == "failure"}
    assert all(told["remedy"] for told in failed.values())
    return {name: str(told["detail"]) for name, told in failed.items()}


def test_where_all_is_right_every_check_says_so_and_the_exit_code_is_0(around: pytest.MonkeyPatch) -> None:
    """With the real ffmpegs of this machine, in the real sandbox."""
    around.setenv("VPROC_SANDBOX", "auto")
    ran = CliRunner().invoke(cli, ["doctor"])
    assert (ran.exit_code, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert [line.split()[1] for line in lines if line.split()[1] != "ffmpeg"] == [
        *("settings", "scratch", "sandbox", "tone_mapping", "profiles", "database", "raw_bucket", "processed_bucket", "queue"),
        *("notification", "retention", "lifecycle"),
    ]  # fmt: skip
    assert {line.split()[0] for line in lines} <= {"ok", "warning"}
    assert any("package: " in line and "; beside it " in line for line in lines)
    # one: S3 sends a test message where a notification is set
    assert any(line.endswith("1 in main, 0 in dlq") for line in lines)


def test_nothing_is_made_by_looking(quick: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quick.setenv("VPROC_DATABASE_URL", f"sqlite:///{tmp_path / 'new.db'}")
    assert failures(examined(0)) == {}
    assert list(tmp_path.iterdir()) == []


def test_with_nothing_set_each_missing_setting_is_a_line_and_the_rest_is_looked_at(
    quick: pytest.MonkeyPatch,
) -> None:
    for name in ("RAW_BUCKET", "PROCESSED_BUCKET", "QUEUE_URL", "SCRATCH_DIR"):
        quick.delenv(f"VPROC_{name}")
    found = examined(1)
    assert [told["detail"] for told in found["settings"]] == [
        "VPROC_RAW_BUCKET: not set, and required",
        "VPROC_PROCESSED_BUCKET: not set, and required",
        "VPROC_QUEUE_URL: not set, and required",
    ]
    assert found.keys() == {"settings", "scratch", "sandbox", "ffmpeg", "tone_mapping", "profiles", "database"}
    assert failures(found).keys() == {"settings"}


def test_a_process_that_takes_no_jobs_needs_no_ffmpeg(around: pytest.MonkeyPatch) -> None:
    around.setenv("VPROC_ROLES", "api")
    around.setenv("VPROC_FFMPEG", "/nowhere")
    around.setenv("VPROC_SCRATCH_DIR", "/nowhere")
    assert examined(0).keys() == {"settings", "database", "raw_bucket", "processed_bucket", "queue"}


@pytest.mark.parametrize(
    ("name", "value", "check", "words"),
    [
        ("VPROC_PORT", "http", "settings", "VPROC_PORT: takes a whole number"),
        ("VPROC_CONFIG", "/nowhere.toml", "settings", "VPROC_CONFIG: no file at /nowhere.toml"),
        ("VPROC_PROFILE", "vhs", "settings", "VPROC_PROFILE: there is no profile 'vhs'"),
        ("VPROC_PROFILES_FILE", "/nowhere.toml", "settings", "VPROC_PROFILES_FILE: takes a TOML file"),
        ("VPROC_SCRATCH_DIR", "/nowhere", "scratch", "takes a directory that can be written"),
        ("VPROC_DATABASE_URL", "sqlite:////nowhere/v.db", "database", "the directory /nowhere does not exist"),
        ("VPROC_DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:9/v", "database", "127.0.0.1"),
        ("VPROC_DATABASE_URL", "mysql://u:hunter2@h/v", "database", "takes sqlite:///PATH or postgresql://"),
        ("VPROC_RAW_BUCKET", "no-such-bucket", "raw_bucket", "no such bucket (got 'no-such-bucket')"),
        ("VPROC_PROCESSED_BUCKET", "no-such-bucket", "processed_bucket", "no such bucket"),
        ("VPROC_QUEUE_URL", "http://127.0.0.1:9/q", "queue", "no such queue"),
        ("VPROC_DLQ_URL", "", "queue", "dead letters would have no place"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9", "raw_bucket", "cannot reach bucket"),
        ("AWS_PROFILE", "no-such-profile", "aws", "no-such-profile"),
        ("AWS_ACCESS_KEY_ID", "", "aws", "no credentials were found"),
    ],
)
def test_what_is_wrong_is_a_failure_of_its_check_with_a_remedy(
    quick: pytest.MonkeyPatch, name: str, value: str, check: str, words: str
) -> None:
    quick.setenv(name, value)
    found = failures(examined(1))
    assert words in found.pop(check)
    assert found.keys() <= {"processed_bucket"}, "what else fails fails for the same reason"
    assert "hunter2" not in str(found)


def test_an_ffmpeg_that_is_not_there(around: pytest.MonkeyPatch) -> None:
    around.setenv("VPROC_FFMPEG", "/nowhere/ffmpeg")
    found = failures(examined(1))
    assert found == {"ffmpeg": found["ffmpeg"]}
    assert found["ffmpeg"].startswith("VPROC_FFMPEG: no program '/nowhere/ffmpeg'")


@pytest.mark.parametrize(
    "error", [ConfigError("VPROC_SANDBOX: require, and this machine gives less"), UnavailableError("no child")]
)
def test_a_sandbox_that_cannot_be_had(quick: pytest.MonkeyPatch, error: Exception) -> None:
    """ffmpeg is looked at all the same."""

    async def refused(*_: Any, **__: Any) -> None:
        raise error

    quick.setattr(checks, "probe_sandbox", refused)
    found = examined(1)
    assert failures(found).keys() == {"sandbox"}
    assert "ffmpeg" in found


# --- single findings -------------------------------------------------------------------------------------------------


def levels(found: Sequence[Finding]) -> list[str]:
    return [finding.level.value for finding in found]


@pytest.mark.parametrize(
    ("free_bytes", "level", "words"),
    [(0, "failure", "no job is taken"), (GIB, "warning", "large sources will wait"), (500 * GIB, "ok", "500.0 GiB free in /s")],
)
def test_room_on_the_scratch_disk(free_bytes: int, level: str, words: str) -> None:
    finding = checks._room(free_bytes, Path("/s"))
    assert (finding.level, words in finding.detail, finding.remedy is None) == (level, True, level == "ok")


def test_what_the_chosen_ffmpeg_lacks_is_no_warning_where_another_has_it() -> None:
    new = tool_pair(version="8.1", codecs=capabilities().codecs - {"av1"}, filters=capabilities().filters - {"zscale"})
    old = tool_pair(version="5.1")
    alone, both = checks._builds([new]), checks._builds([new, old])
    assert levels(alone) == ["ok", "warning", "ok", "ok"]
    assert alone[1].detail == "8.1 lacks a decoder of av1: sources in av1 are refused, unless the profile copies them"
    assert levels(both) == ["ok"] * 4
    assert both[1].detail == "8.1 lacks a decoder of av1: such jobs are done by 5.1"
    assert both[0].detail.endswith("; beside it 5.1 (path: /bin/ffmpeg)")
    assert [finding.check for finding in alone] == ["ffmpeg", "ffmpeg", "ffmpeg", "tone_mapping"]


@pytest.mark.parametrize(("default", "level"), [("hevc", Level.FAILURE), ("abr", Level.WARNING)])
def test_a_profile_that_nothing_makes_fails_where_it_is_the_default(default: str, level: Level) -> None:
    settings = Settings(raw_bucket="raw", processed_bucket="processed", queue_url="http://q/", profile=default)
    lacking = [tool_pair(encoders=capabilities().encoders - {"libx265"})]
    found = {finding.detail.split()[0]: finding for finding in checks._made(settings, builtin_profiles(), lacking)}
    assert found.keys() == {"hevc", "swap", "hdr"}
    assert found["hevc"].level is level
    assert found["hevc"].detail == "hevc takes the encoder libx265, which no ffmpeg here has"
    assert found["swap"].level is Level.WARNING
    assert levels(checks._made(settings, builtin_profiles(), [tool_pair()])) == ["ok"]


CARD = {"card": Profile("card", Packaging.PROGRESSIVE, VideoCodec.H264, hardware=True)}


@pytest.mark.parametrize(
    ("trials", "level", "words"),
    [
        ((HardwareTrial("h264_nvenc", works=True),), "ok", "h264 is encoded by h264_nvenc"),
        (
            (HardwareTrial("h264_nvenc", works=False, reason="Cannot load libcuda.so.1"),),
            "warning",
            "in software by libx264 (h264_nvenc: Cannot load libcuda.so.1)",
        ),
        ((), "warning", "in software by libx264 (no ffmpeg here has an encoder for any)"),
    ],
)
def test_hardware_is_told_of_only_where_a_profile_asks_for_it(trials: tuple[HardwareTrial, ...], level: str, words: str) -> None:
    pair = tool_pair()
    pair = replace(pair, capabilities=replace(pair.capabilities, trials=trials))
    (finding,) = checks._hardware(CARD, [pair])
    assert (finding.level, words in finding.detail) == (level, True)
    assert checks._hardware(builtin_profiles(), [pair]) == []


def test_the_trials_of_the_profiles_are_run(around: pytest.MonkeyPatch) -> None:
    """Without a card software is a warning, and the exit code 0."""
    around.setattr(checks, "read_profiles", lambda _: builtin_profiles() | CARD)
    (told,) = examined(0)["hardware"]
    assert told["level"] in {"ok", "warning"}
    assert str(told["detail"]).startswith("h264 is encoded ")


# --- the issuer of tokens ----------------------------------------------------------------------------------------------


async def issuer_finding(around: pytest.MonkeyPatch, **settings: str) -> Finding | None:
    """What is said of the issuer, by a process without a worker."""
    for name, value in {"ROLES": "api", "AUTH": "jwt", "JWT_AUDIENCE": "api", **settings}.items():
        around.setenv(f"VPROC_{name}", value)
    found: list[Finding] = []
    await examine(load_partial_settings(), found.append)
    return next((finding for finding in found if finding.check == "issuer"), None)


async def test_an_issuer_that_gives_its_keys(around: pytest.MonkeyPatch) -> None:
    async with running_issuer(Signer("a"), Signer("b", "RS256")) as issuer:
        found = await issuer_finding(around, JWT_ISSUER=issuer.issuer)
        assert found == Finding("issuer", Level.OK, f"{issuer.issuer} gives 2 keys, for ES256, RS256")
        assert await issuer_finding(around, JWT_ISSUER="https://a.example", JWT_JWKS_URL=issuer.url + JWKS) is not None


async def test_an_issuer_that_gives_none_fails_with_what_is_wrong(around: pytest.MonkeyPatch) -> None:
    async with running_issuer() as issuer:
        found = await issuer_finding(around, JWT_ISSUER=f"{issuer.issuer}/")
        assert found is not None
        assert found.level is Level.FAILURE
        assert f"names the issuer '{issuer.issuer}': VPROC_JWT_ISSUER must be the same to the letter" in found.detail
        assert "VPROC_JWT_ISSUER" in (found.remedy or "")
        found = await issuer_finding(around, JWT_ISSUER=issuer.issuer, JWT_JWKS_URL=f"{issuer.url}/gone")
        assert found is not None
        assert found.detail == f"{issuer.url}/gone answers 404"


@pytest.mark.parametrize(
    "settings", [{}, {"JWT_ISSUER": "http://a.example"}, {"AUTH": "none", "JWT_ISSUER": "https://a.example"}]
)
async def test_an_issuer_that_is_not_named_is_not_asked(around: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    assert await issuer_finding(around, **settings) is None


def test_uploads_that_nobody_would_hear_of_are_a_failure(quick: pytest.MonkeyPatch) -> None:
    """A bucket without a notification, and without a lifecycle: a failure with its remedy, and a warning."""
    s3, bucket = boto3.client("s3"), os.environ["VPROC_RAW_BUCKET"]
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    s3.delete_bucket_lifecycle(Bucket=bucket)
    found = examined(1)
    (told,) = found["notification"]
    assert told["level"] == "failure"
    assert "vproc aws init" in (told["remedy"] or "")
    assert {one["level"] for one in found["lifecycle"]} == {"warning"}


def test_what_the_credentials_may_not_see_is_a_warning(quick: pytest.MonkeyPatch) -> None:
    """The daemon's own role has no right to look at notifications: that is no fault of theirs."""

    async def refused(*_: Any, **__: Any) -> Any:
        raise UnavailableError("cannot read the bucket's notifications: AccessDenied (HTTP 403)")

    quick.setattr(checks, "read_wiring", refused)
    (told,) = examined(0)["notification"]
    assert told["level"] == "warning"
    assert "s3:GetBucketNotification" in (told["remedy"] or "")


# --- containers ------------------------------------------------------------------------------------------------------


def test_with_the_runner_docker_the_engine_and_the_images_ffmpeg_are_looked_at(
    around: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    around.setenv("VPROC_RUNNER", "docker")
    around.setenv("VPROC_DOCKER_IMAGE", IMAGE)
    around.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    with engine_beside(tmp_path) as engine:
        found = examined(0)
        assert engine.containers == {}
    [containers] = found["containers"]
    assert containers["level"] == "warning", "what the fake runs is not confined"
    assert str(containers["detail"]).startswith("partial: containers of engine 20.10")
    assert "(path: " in str(found["ffmpeg"][0]["detail"]).lower()
    assert "sandbox" not in found


def test_an_engine_that_is_away_and_an_image_that_is_not_there_are_failures_with_remedies(
    around: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    around.setenv("VPROC_RUNNER", "docker")
    around.setenv("VPROC_DOCKER_IMAGE", "none")
    around.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    assert "no container engine answers at" in failures(examined(1))["containers"]
    with engine_beside(tmp_path):
        assert failures(examined(1))["containers"].endswith("has no image 'none': docker pull none")


@pytest.mark.parametrize(
    ("name", "level", "words"),
    [
        (DEFINITION, "ok", f"{DEFINITION} in the cluster videos, by FARGATE_SPOT, then FARGATE"),
        ("other", "failure", "VPROC_ECS_TASK_DEFINITION: takes a task definition that is active (got 'other')"),
        ("", "failure", "VPROC_ECS_TASK_DEFINITION: not set, and required by the runner ecs"),
    ],
)
def test_with_the_runner_ecs_the_task_definition_is_looked_at(
    quick: pytest.MonkeyPatch, name: str, level: str, words: str
) -> None:
    """Nothing is started, and no ffmpeg of this machine is asked for."""
    with fake_ecs() as ecs:
        for variable, value in (ecs.settings | {"VPROC_ECS_CAPACITY": "FARGATE_SPOT,FARGATE"}).items():
            quick.setenv(variable, value)
        quick.setenv("VPROC_ECS_TASK_DEFINITION", name)
        quick.setenv("VPROC_FFMPEG", "/nowhere")
        (told,) = examined(0 if level == "ok" else 1)["tasks"]
        assert (told["level"], str(told["detail"])[: len(words)]) == (level, words)
        assert ecs.tasks == {}
