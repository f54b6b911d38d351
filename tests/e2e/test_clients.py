"""The daemon as clients use it: each stock tool uploads in its own way, each profile goes through once, outputs are probed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from boto3.s3.transfer import TransferConfig

from tests.support.caller import fetch
from tests.support.cluster import until
from tests.support.daemon import Daemon, command, dev, environment
from tests.support.media import FFPROBE, clip
from vproc.profiles import builtin_profiles

pytestmark = pytest.mark.xdist_group("e2e-clients")

AWS = str(Path(sys.executable).with_name("aws"))
MIB = 1024**2
ODD_KEY = "Ferien 2024/été + sonne & meer/añb=#%41?.mov"
TOOL_WITHIN_S = 60


@dataclass(frozen=True, slots=True)
class Client:
    """The daemon, and AWS clients that know its store and queue."""

    daemon: Daemon
    folder: Path
    s3: Any
    sqs: Any

    @property
    def raw(self) -> str:
        """The raw bucket."""
        return str(self.daemon.ready["raw_bucket"])

    def tool(self, *words: object) -> str:
        """Run a program in the environment that points AWS's own tools at the store; its output."""
        done = subprocess.run(
            list(map(str, words)),
            cwd=self.folder,
            env=environment(self.folder, **self.daemon.settings),
            check=False,
            capture_output=True,
            text=True,
            timeout=TOOL_WITHIN_S,
        )
        assert done.returncode == 0, f"{words}: {done.stdout} {done.stderr}"
        return done.stdout

    def aws(self, *words: object) -> str:
        """The AWS CLI. Version 1 takes no endpoint for SQS from the environment."""
        return self.tool(AWS, "--endpoint-url", self.daemon.ready["s3"], *words)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One daemon for all of them. At the end its queue is empty, and no letter is dead but those that a test sent."""
    folder = tmp_path_factory.mktemp("clients")
    with dev(folder) as daemon:
        daemon.until_ready()
        account: dict[str, Any] = {
            "endpoint_url": daemon.ready["s3"],
            "region_name": "us-east-1",
            "aws_access_key_id": "embedded",
            "aws_secret_access_key": "embedded",
        }
        client = Client(daemon, folder, boto3.client("s3", **account), boto3.client("sqs", **account))
        yield client
        until(lambda: waiting(client) == (0, 0), within_s=20, what=f"an empty queue: {waiting(client)}")
        client.s3.close()
        client.sqs.close()


def waiting(client: Client) -> tuple[int, int]:
    """Messages that are visible, and in flight."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    told = client.sqs.get_queue_attributes(QueueUrl=client.daemon.ready["queue_url"], AttributeNames=names)["Attributes"]
    return int(told[names[0]]), int(told[names[1]])


# --- ways to bring a file: each gives the file's id -------------------------------------------------------------------


def by_requests(client: Client, path: Path, profile: str) -> str:
    """requests, which sends nothing but what it is told."""
    announced = client.daemon.caller.announce(path.name, profile=profile, size=path.stat().st_size, metadata={"shelf": "12"})
    with path.open("rb") as body:
        put = requests.put(announced["upload_url"], data=body, headers=announced["headers"], timeout=TOOL_WITHIN_S)
    assert put.status_code == 200, put.text
    return str(announced["file_id"])


def by_curl(client: Client, path: Path, profile: str) -> str:
    """curl, with the headers of the answer."""
    announced = client.daemon.caller.announce(path.name, profile=profile)
    headers = [word for pair in announced["headers"].items() for word in ("-H", ": ".join(pair))]
    client.tool("curl", "-sS", "--fail", "-T", path, *headers, announced["upload_url"])
    return str(announced["file_id"])


def by_own_command(client: Client, path: Path, profile: str) -> str:
    """`vproc submit`."""
    said = client.tool(*command("submit", path, "--profile", profile, "--api", client.daemon.api, "--wait", "--json"))
    return str(json.loads(said)["file_id"])


def by_boto3(client: Client, path: Path, profile: str) -> str:
    """boto3, straight into the bucket, under a name that needs every kind of encoding on its way through the event."""
    key = f"{profile}/{ODD_KEY}"
    client.s3.put_object(Bucket=client.raw, Key=key, Body=path.read_bytes(), Metadata={"vproc-profile": profile})
    return client.daemon.caller.id_of(key)


def by_boto3_in_parts(client: Client, path: Path, profile: str) -> str:
    """boto3's own transfer, which cuts a large file into parts."""
    assert path.stat().st_size > 10 * MIB
    extra = {"Metadata": {"vproc-profile": profile}}
    in_parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    client.s3.upload_file(str(path), client.raw, "in parts.mkv", ExtraArgs=extra, Config=in_parts)
    return client.daemon.caller.id_of("in parts.mkv")


def by_aws_cli(client: Client, path: Path, profile: str) -> str:
    """`aws s3 cp` with the profile in the object's metadata."""
    client.aws("s3", "cp", path, f"s3://{client.raw}/cli/{path.name}", "--metadata", f"vproc-profile={profile}")
    return client.daemon.caller.id_of(f"cli/{path.name}")


def by_aws_cli_alone(client: Client, path: Path, profile: str) -> str:
    """`aws s3 cp` with nothing said: the default profile."""
    client.aws("s3", "cp", path, f"s3://{client.raw}/")
    file_id = client.daemon.caller.id_of(path.name)
    assert client.daemon.caller.status(file_id)["profile"] == profile
    return file_id


def by_direct_job(client: Client, path: Path, profile: str) -> str:
    """`aws sqs send-message` for an object that stands: one whose own profile, which nobody has, was refused."""
    key = f"refused/{path.name}"
    client.aws("s3", "cp", path, f"s3://{client.raw}/{key}", "--metadata", "vproc-profile=none-such")
    refused = client.daemon.caller.end_of(client.daemon.caller.id_of(key))
    assert refused["error"]["code"] == "unknown_profile"
    job = json.dumps({"bucket": client.raw, "key": key, "profile": profile})
    client.aws("sqs", "send-message", "--queue-url", client.daemon.ready["queue_url"], "--message-body", job)
    return client.daemon.caller.id_of(key, profile=profile)


Way = Callable[[Client, Path, str], str]


@dataclass(frozen=True, slots=True)
class Case:
    """A clip's way through the daemon. ``media``: codecs and size of each media file; of ``abr`` its rungs."""

    profile: str
    clip: str
    by: Way
    media: set[tuple[Any, ...]]
    length_s: float = 2.0


CASES = (
    Case("mp4", "main.mp4", by_requests, {("h264", 1280, 720, "aac"), ("h264", 640, 360, "aac")}, 6.0),
    Case("abr", "vp9.webm", by_aws_cli_alone, {("h264", 360, 360, "aac")}),
    Case("h264", "odd.mkv", by_boto3_in_parts, {("h264", 640, 358, "aac")}),
    Case("hevc", "xvid.avi", by_curl, {("hevc", 640, 360, "aac")}),
    Case("swap", "hevc10.mp4", by_direct_job, {("h264", 640, 360, "aac")}),
    Case("swap", "short.mp4", by_own_command, {("hevc", 640, 360, "aac")}),
    Case("audio", "prores.mov", by_boto3, {("aac",)}, 1.0),
    Case("copy", "h264.ts", by_aws_cli, {("h264", 640, 360, "aac")}, 3.0),
    Case("thumbnails", "film.mp4", by_curl, set(), 5.0),
    Case("av1", "short.mp4", by_boto3, {("av1", 640, 360, "aac")}),
    Case("hdr", "hevc10.mp4", by_curl, {("hevc", 640, 360, "aac")}),
    Case("auto", "vp9.webm", by_requests, {("h264", 360, 360, "aac")}),
)


def test_every_profile_has_its_case() -> None:
    """No built-in profile is left out below."""
    assert {case.profile for case in CASES} == builtin_profiles().keys()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.profile}-{case.by.__name__}")
def test_a_file_goes_through_whatever_brings_it(client: Client, tmp_path: Path, case: Case) -> None:
    """It is completed in one attempt, every output is what the manifest says and plays, and the original is gone."""
    caller = client.daemon.caller
    told = caller.completed(case.by(client, clip(case.clip), case.profile))
    assert (told["profile"], told["attempts"]) == (case.profile, 1)
    assert told["processing_time"] > 0
    outputs = caller.outputs(told["file_id"])
    save(outputs, tmp_path)
    media, lengths = look(outputs, tmp_path)
    assert media == case.media
    assert all(length == pytest.approx(case.length_s, abs=0.15) for length in lengths), lengths
    assert told["target_codec"] == next((codecs[0] for codecs in sorted(media, key=size)), None)
    pictures = {entry["kind"] for entry in outputs} & {"poster", "sprite", "sprite_vtt"}
    assert len(pictures) == (3 if builtin_profiles()[case.profile].pictures else 0)
    until(lambda: not stands(client, told["s3_key"]), within_s=10, what="the original deleted")
    assert caller.ask(f"/upload/{told['file_id']}/download/original").status == 404


def save(outputs: list[dict[str, Any]], folder: Path) -> None:
    """Fetch everything by its address, and check it against what was promised."""

    def one(output: dict[str, Any]) -> None:
        answer = fetch(output["url"])
        assert answer.status == 200, output
        assert len(answer.body) == output["bytes"] > 0
        assert hashlib.sha256(answer.body).hexdigest() == output["sha256"]
        assert answer.headers["content-type"] == output["content_type"]
        path = folder / output["key"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(answer.body)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(one, outputs)) == [None] * len(outputs)


def look(outputs: list[dict[str, Any]], folder: Path) -> tuple[set[tuple[Any, ...]], list[float]]:
    """What ffprobe finds in media files, or in the renditions of both presentations; and how long each is, in seconds."""
    media: set[tuple[Any, ...]] = set()
    lengths = []
    for output in outputs:
        path = folder / output["key"]
        if output["kind"] in {"video", "audio"}:
            streams, length = probe(path)
            media.add(tuple(value for stream in streams for value in stream))
            lengths.append(length)
            told = tuple(output[name] for name in ("codec", "width", "height") if name in output)
            assert streams[0] == told
            assert output["duration_s"] == pytest.approx(length, abs=0.1)
        elif output["kind"] in {"hls", "dash"}:
            streams, length = probe(path)
            assert ("aac",) in streams
            media |= {(*stream, "aac") for stream in streams if stream != ("aac",)}
            lengths.append(length)
        elif output["kind"] in {"poster", "sprite"}:
            [(codec, *size_px)], _ = probe(path)
            assert codec == "mjpeg"
            assert size_px == [output["width"], output["height"]]
    return media, lengths


def probe(path: Path) -> tuple[list[tuple[Any, ...]], float]:
    """Codec of each stream, with its size where it is a picture; the length in seconds."""
    fields = "format=duration:stream=codec_name,codec_type,width,height"
    argv = [FFPROBE, "-v", "error", "-show_entries", fields, "-of", "json", str(path)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=TOOL_WITHIN_S)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    streams = [
        (stream["codec_name"], *((stream["width"], stream["height"]) if stream["codec_type"] == "video" else ()))
        for stream in told["streams"]
    ]
    return sorted(streams, key=len, reverse=True), float(told["format"].get("duration", 0))


def size(media: tuple[Any, ...]) -> int:
    """For sorting: the largest first."""
    return -media[1] if len(media) > 1 else 0


def stands(client: Client, key: str) -> bool:
    """Whether the raw bucket holds it."""
    listed = client.s3.list_objects_v2(Bucket=client.raw, Prefix=key)
    return key in {entry["Key"] for entry in listed.get("Contents", ())}


# --- what does not go straight through --------------------------------------------------------------------------------


def test_curl_hears_every_change_to_the_end(client: Client) -> None:
    """`curl -N` shows the states in their order, progress that never falls, and ends by itself after the last one."""
    caller = client.daemon.caller
    announced = caller.announce("short.mp4", profile="h264")
    url = f"{client.daemon.api}/upload/{announced['file_id']}/events"
    with subprocess.Popen(["curl", "-sSN", "--max-time", "60", url], stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        try:
            first = [curl.stdout.readline() for _ in range(3)]
            put = fetch(announced["upload_url"], "PUT", clip("short.mp4").read_bytes(), announced["headers"])
            assert put.status == 200
            lines = "".join([*first, *curl.stdout]).replace("\r", "").splitlines()
        finally:
            curl.terminate()
    assert curl.returncode == 0
    named = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    heard = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    assert (named[0], named[-1]) == ("status", "end")
    reports = [report for report in heard if "processing_status" in report]
    states = list(dict.fromkeys(report["processing_status"] for report in reports))
    assert states in (["pending", "processing", "completed"], ["pending", "uploaded", "processing", "completed"])
    progress = [report["progress"] for report in reports]
    assert progress == sorted(progress)
    assert (progress[0], progress[-1]) == (0.0, 1.0)


def test_an_address_takes_one_upload(client: Client) -> None:
    """A second PUT to it is refused by the store, and a file that is no video stays failed with its reason."""
    caller = client.daemon.caller
    announced = caller.announce("fake.mp4")
    body = b"no video at all " * 5000
    assert fetch(announced["upload_url"], "PUT", body, announced["headers"]).status == 200
    assert fetch(announced["upload_url"], "PUT", b"another", announced["headers"]).status == 412
    told = caller.end_of(announced["file_id"])
    assert told["processing_status"] == "failed"
    assert told["error"]["code"] in {"unsupported_media", "corrupt_media"}
    answer = caller.ask(f"/upload/{announced['file_id']}/download/processed")
    assert answer.json["detail"] == "Processed file not available. Current status: failed"
    kept = caller.ask(f"/upload/{announced['file_id']}/download/original").json["download_url"]
    assert fetch(kept).body == body


def test_a_late_upload_to_a_finished_file_changes_nothing(client: Client) -> None:
    """Its original being gone, the store takes it; the daemon drops it, and the file stays as it is."""
    caller = client.daemon.caller
    path = clip("short.mp4")
    announced = caller.announce(path.name, profile="copy")
    assert fetch(announced["upload_url"], "PUT", path.read_bytes(), announced["headers"]).status == 200
    told = caller.completed(announced["file_id"])
    until(lambda: not stands(client, told["s3_key"]), within_s=10, what="the original deleted")
    before = {output["key"]: output["sha256"] for output in caller.outputs(told["file_id"])}
    late = clip("silent.mp4").read_bytes()
    assert fetch(announced["upload_url"], "PUT", late, announced["headers"]).status == 200
    dropped = client.daemon.logged("late_upload_dropped")
    assert dropped["key"] == told["s3_key"]
    until(lambda: waiting(client) == (0, 0), within_s=20, what="its message settled")
    after = caller.status(told["file_id"])
    assert {name: after[name] for name in ("processing_status", "attempts", "completed_at", "size")} == {
        name: told[name] for name in ("processing_status", "attempts", "completed_at", "size")
    }
    assert {output["key"]: output["sha256"] for output in caller.outputs(told["file_id"])} == before


def test_what_is_no_message_is_dead_with_its_reason(client: Client) -> None:
    """A stranger's message goes to the dead letters at once, body unchanged, and says why."""
    client.aws("sqs", "send-message", "--queue-url", client.daemon.ready["queue_url"], "--message-body", "hello")

    def letters() -> list[dict[str, Any]]:
        said = client.aws(
            *("sqs", "receive-message", "--queue-url", client.daemon.ready["dlq_url"]),
            *("--message-attribute-names", "All", "--output", "json"),
        )
        found: list[dict[str, Any]] = json.loads(said or "{}").get("Messages", [])
        return found

    [letter], _ = until(letters, within_s=20, what="a dead letter")
    assert letter["Body"] == "hello"
    assert letter["MessageAttributes"]["vproc-code"]["StringValue"] == "invalid_message"
    assert "JSON" in letter["MessageAttributes"]["vproc-detail"]["StringValue"]
