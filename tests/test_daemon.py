"""The daemon in this process, over an embedded AWS: what it says when ready, what stops its start, how it ends."""

from __future__ import annotations

import gc
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import aiohttp
import anyio
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.support.aws import Aws, open_aws
from tests.support.changes import eventually
from tests.support.children import names_in
from tests.support.issuer import AUDIENCE, JWKS, Signer, bearer, running_issuer
from vproc import daemon, outside
from vproc.core.hardware import Api
from vproc.core.profile import Packaging, Profile, VideoCodec
from vproc.daemon import ReadyInfo, run
from vproc.errors import ConfigError, DependencyError, ErrorCode, TransientError, UnavailableError
from vproc.oidc import keys
from vproc.profiles import builtin_profiles
from vproc.settings import Settings, load_settings
from vproc.workers import tooling
from vproc.workers.consumer import Consumer
from vproc.workers.ffmpeg import ToolPair
from vproc.workers.scratch import open_scratch


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of this shell's; and what the daemon hides from the garbage collector is shown to it again."""
    for name in [name for name in os.environ if name.startswith(("VPROC_", "S3_", "SQS_", "DATABASE_URL", "STATE_DIR"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scratch").mkdir()
    yield
    gc.unfreeze()


def settings_for(aws: Aws, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "raw_bucket": aws.raw.bucket,
        "processed_bucket": aws.processed.bucket,
        "queue_url": aws.queue_url,
        "database_url": f"sqlite:///{Path.cwd() / 'vproc.db'}",
        "scratch_dir": Path.cwd() / "scratch",
        "port": 0,
        "sandbox": "off",
        "visibility_timeout_s": 4,
        "concurrency": 1,
    }
    return load_settings(**values | changes)


@pytest.fixture
async def aws(moto_url: str) -> AsyncIterator[Aws]:
    async with open_aws(moto_url) as opened:
        yield opened


@asynccontextmanager
async def running(settings: Settings, *, end: signal.Signals = signal.SIGTERM) -> AsyncIterator[ReadyInfo]:
    """A daemon that is ready; after the block it gets a signal, and must end well in time."""
    infos: list[ReadyInfo] = []
    codes: list[int] = []
    ready = anyio.Event()

    def on_ready(info: ReadyInfo) -> None:
        infos.append(info)
        ready.set()

    async def daemon_runs() -> None:
        codes.append(await run(settings, on_ready=on_ready))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(daemon_runs)
        with anyio.fail_after(20):
            await ready.wait()
        yield infos[0]
        os.kill(os.getpid(), end)
        with anyio.fail_after(15):
            await eventually(lambda: _is(codes == [0]))
    assert len(infos) == 1


async def _is(value: bool) -> bool:
    return value


async def ask(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200, await answer.text()
        told: dict[str, Any] = await answer.json()
        return told


async def check_does_not_start(settings: Settings, branch: type[Exception], words: str) -> str:
    """It stops in time, with that error, and leaves nothing open."""
    with anyio.fail_after(outside.CHECK_WITHIN_S + 5), pytest.raises(branch, match=words) as caught:
        await run(settings, on_ready=lambda _: pytest.fail("it is not ready"))
    assert names_in(Path.cwd() / "scratch") == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- ready -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_a_signal_and_leaves_nothing(aws: Aws, end: signal.Signals) -> None:
    async with running(settings_for(aws), end=end) as info:
        assert info.api_url is not None
        assert info.api_url.startswith("http://127.0.0.1:")
        state = await ask(f"{info.api_url}/readyz")
        assert state["status"] == "ready"
        assert state["checks"].keys() == {"database", "queue", "raw_bucket", "processed_bucket", "intake"}
        assert set(state["checks"].values()) == {"ok"}
        (own,) = names_in(Path("scratch"))
        assert own.startswith("vproc-scratch-")
    assert names_in(Path("scratch")) == []
    with pytest.raises(OSError, match="connection"):
        await anyio.connect_tcp("127.0.0.1", int(info.api_url.rpartition(":")[2]))


async def test_an_api_alone_needs_neither_ffmpeg_nor_scratch_nor_dead_letters(aws: Aws) -> None:
    await aws.clients.sqs.set_queue_attributes(QueueUrl=aws.queue_url, Attributes={"RedrivePolicy": ""})
    settings = settings_for(aws, roles="api", ffmpeg="/nowhere/ffmpeg", scratch_dir=Path("/nowhere"))
    async with running(settings) as info:
        state = await ask(f"{info.api_url}/readyz")
        assert "intake" not in state["checks"]
        assert await aws.queue.receive(max_messages=1, wait_s=0) == []


async def test_an_issuer_that_is_away_holds_no_start_up_and_is_asked_again(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens wait for it; the daemon is ready, since jobs, keys and sessions go on."""
    monkeypatch.setattr(keys, "APART_S", 0.0)
    async with running_issuer() as issuer, aiohttp.ClientSession() as session:

        async def away(_: web.Request) -> web.Response:
            return web.Response(status=500)

        issuer.answers[JWKS] = away
        settings = settings_for(aws, roles="api", auth="jwt", jwt_issuer=issuer.issuer, jwt_audience=AUDIENCE)
        async with running(settings) as info:
            assert (await ask(f"{info.api_url}/readyz"))["status"] == "ready"
            statuses = []
            for _ in range(2):
                async with session.get(f"{info.api_url}/uploads", headers=bearer(issuer.token())) as answer:
                    statuses.append((answer.status, answer.headers.get("Retry-After")))
                issuer.answers.clear()
            assert statuses == [(503, "1"), (200, None)]
            async with session.get(f"{info.api_url}/uploads", headers=bearer(Signer(number=2).sign(issuer.claims()))) as answer:
                assert answer.status == 401


async def test_a_worker_alone_listens_nowhere_and_does_its_work(aws: Aws) -> None:
    """A file that is no video comes to its end, by the whole way that the daemon put together."""
    await aws.raw.put("in/notes.txt", b"no video at all", content_type="text/plain")
    await aws.queue.send(f'{{"bucket": "{aws.raw.bucket}", "key": "in/notes.txt"}}')
    async with running(settings_for(aws, roles="worker")) as info:
        assert info.api_url is None
        await eventually(lambda: drained(aws))
    async with running(settings_for(aws, roles="api")) as info:
        (file,) = (await ask(f"{info.api_url}/uploads"))["uploads"]
        assert (file["processing_status"], file["error"]["code"]) == ("failed", "unsupported_media")


async def drained(aws: Aws) -> bool:
    depth = (await aws.queue.depths())["main"]
    return depth.visible == depth.in_flight == 0


# --- what stops the start --------------------------------------------------------------------------------------------


async def test_a_profile_that_there_is_not(aws: Aws) -> None:
    await check_does_not_start(settings_for(aws, profile="vhs"), ConfigError, "^VPROC_PROFILE: takes one of .*abr.* 'vhs'")


@pytest.mark.parametrize("setting", ["raw_bucket", "processed_bucket"])
async def test_a_bucket_that_there_is_not(aws: Aws, setting: str) -> None:
    settings = settings_for(aws, **{setting: "no-such-bucket"})
    await check_does_not_start(settings, ConfigError, rf"^VPROC_{setting.upper()}: no such bucket \(got 'no-such-bucket'\)$")


async def test_a_queue_that_there_is_not(aws: Aws) -> None:
    settings = settings_for(aws, queue_url=f"{aws.queue_url}-not")
    await check_does_not_start(settings, ConfigError, "^VPROC_QUEUE_URL: no such queue .*-not'")


async def test_a_dead_letter_queue_that_there_is_not(aws: Aws) -> None:
    settings = settings_for(aws, dlq_url=f"{aws.dlq_url}-not")
    await check_does_not_start(settings, ConfigError, "^VPROC_DLQ_URL: no such queue .*-not'")


async def test_no_place_for_dead_letters(aws: Aws) -> None:
    await aws.clients.sqs.set_queue_attributes(QueueUrl=aws.queue_url, Attributes={"RedrivePolicy": ""})
    await check_does_not_start(settings_for(aws), ConfigError, "^VPROC_DLQ_URL: not set, and the queue has no redrive policy")


def test_a_fifo_queue(aws: Aws) -> None:
    with pytest.raises(ConfigError, match=r"^VPROC_QUEUE_URL: takes a standard queue"):
        settings_for(aws, queue_url=f"{aws.queue_url}.fifo")


@pytest.mark.parametrize("program", ["ffmpeg", "ffprobe"])
async def test_a_program_that_is_missing(aws: Aws, program: str) -> None:
    settings = settings_for(aws, **{program: "/nowhere/at-all"})
    await check_does_not_start(settings, ConfigError, f"^VPROC_{program.upper()}: no program '/nowhere/at-all'")


async def test_a_program_that_is_another(aws: Aws) -> None:
    await check_does_not_start(settings_for(aws, ffmpeg="true"), ConfigError, "^VPROC_FFMPEG: .*/true does not answer")


@contextmanager
def ffmpegs_without(encoder: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Every ffmpeg that the daemon finds lacks an encoder; gives the log."""
    find = tooling.find_pairs

    async def find_lacking(*args: Any, **kwargs: Any) -> list[ToolPair]:
        pairs = await find(*args, **kwargs)
        told = [replace(pair.capabilities, encoders=pair.capabilities.encoders - {encoder}) for pair in pairs]
        return [replace(pair, capabilities=lacking) for pair, lacking in zip(pairs, told, strict=True)]

    monkeypatch.setattr(tooling, "find_pairs", find_lacking)
    with capture_logs() as logs:
        yield logs


async def test_a_default_profile_whose_encoder_no_ffmpeg_has(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    with ffmpegs_without("libx265", monkeypatch):
        said = await check_does_not_start(settings_for(aws, profile="hevc"), ConfigError, "^VPROC_PROFILE: hevc takes ")
    assert re.search(r"takes the encoder libx265, which ffmpeg n?\d.* \(/.*\) lacks$", said)


async def test_another_profile_of_that_kind_is_only_told_of(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    with ffmpegs_without("libx265", monkeypatch) as logs:
        async with running(settings_for(aws)):
            pass
    told = {entry["profile"]: entry["lacks"] for entry in logs if entry["event"] == "profile_unavailable"}
    assert told == {key: ["the encoder libx265"] for key in ("hevc", "swap", "hdr")}


@pytest.mark.parametrize("hardware", [False, True])
async def test_hardware_is_tried_at_the_start_only_where_a_profile_asks_for_it(
    aws: Aws, hardware: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In software it starts all the same, and says what became of each trial."""
    card = Profile("card", Packaging.PROGRESSIVE, VideoCodec.H264, hardware=hardware)
    monkeypatch.setattr(daemon, "read_profiles", lambda _: {**builtin_profiles(), "card": card})
    with capture_logs() as logs:
        async with running(settings_for(aws)):
            pass
    trials = [entry for entry in logs if entry["event"] == "hardware_tried"]
    assert bool(trials) is hardware
    assert all({*entry["works"], *entry["fails"]} <= {f"h264_{api}" for api in Api} for entry in trials)


async def test_a_scratch_directory_that_there_is_not(aws: Aws) -> None:
    settings = settings_for(aws, scratch_dir=Path.cwd() / "missing")
    await check_does_not_start(settings, ConfigError, "^VPROC_SCRATCH_DIR: takes a directory that can be written .*missing")


async def test_a_port_that_is_taken(aws: Aws) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        await check_does_not_start(settings_for(aws, port=port), ConfigError, f"^VPROC_PORT: port {port} .* in use")


async def test_credentials_that_are_nowhere(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for(aws)
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    await check_does_not_start(settings, ConfigError, "^AWS configuration: .*no-such-profile")


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def test_a_queue_that_is_down(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    with silent_server() as port:
        pass
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", f"http://127.0.0.1:{port}")
    settings = settings_for(aws, queue_url=f"http://127.0.0.1:{port}/1/jobs")
    await check_does_not_start(settings, DependencyError, "^VPROC_QUEUE_URL: cannot reach the queue: EndpointConnectionError")


@pytest.mark.parametrize("service", ["SQS", "S3"])
async def test_a_store_or_a_queue_that_does_not_answer(aws: Aws, monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    assert outside.CHECK_WITHIN_S == 10
    monkeypatch.setattr(outside, "CHECK_WITHIN_S", 0.5)
    with silent_server() as port:
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", f"http://127.0.0.1:{port}")
        variable = "VPROC_QUEUE_URL" if service == "SQS" else "VPROC_RAW_BUCKET"
        await check_does_not_start(settings_for(aws), DependencyError, rf"^{variable}: no answer within 0\.5 s$")


@pytest.mark.parametrize(
    "error", [UnavailableError("S3 is away"), TransientError(ErrorCode.INTERNAL, "cannot reach it: InvalidAddress (HTTP 404)")]
)
async def test_any_refusal_at_the_start_names_its_setting(error: TransientError) -> None:
    async def check() -> None:
        raise error

    with pytest.raises(DependencyError, match=r"^VPROC_RAW_BUCKET: ") as caught:
        await outside.at_start("VPROC_RAW_BUCKET", check())
    assert error.detail in str(caught.value)


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_the_first_signal_drains_and_the_second_hands_everything_back() -> None:
    async def signals() -> AsyncIterator[signal.Signals]:
        yield signal.SIGTERM
        assert draining.is_set()
        yield signal.SIGINT

    draining, drains = anyio.Event(), list[bool]()
    consumer = SimpleNamespace(drain=lambda *, at_once, within_s: drains.append(at_once and within_s is None))
    await daemon._listen(signals(), daemon._Drain(draining, cast("Any", consumer), 90))
    assert drains == [False, True]


async def test_a_service_that_crashes_ends_the_daemon_with_its_own_error(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a group of errors; and everything is closed."""

    async def crash(self: Consumer) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Consumer, "run", crash)
    with anyio.fail_after(20), pytest.raises(ZeroDivisionError, match="a bug"):
        await run(settings_for(aws))
    assert names_in(Path("scratch")) == []


async def test_it_removes_a_dead_ones_scratch_and_keeps_its_own_from_others(aws: Aws) -> None:
    dead = Path("scratch") / f"vproc-scratch-{uuid4().hex}"
    dead.mkdir()
    (dead / "lock").touch()
    async with running(settings_for(aws)):
        (own,) = names_in(Path("scratch"))
        assert own != dead.name
        async with open_scratch(Path("scratch")):
            assert own in names_in(Path("scratch"))
