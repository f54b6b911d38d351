"""What is opened for the runners that profiles name: children, containers, both; and what is told of their confinement."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from tests.support.fake_engine import IMAGE, fake_engine
from vproc.core.profile import Profile
from vproc.core.runners import RunnerKind
from vproc.errors import ConfigError, DependencyError
from vproc.ffmpegs import Ffmpegs, layers_of, level_of, open_ffmpegs
from vproc.profiles import builtin_profiles
from vproc.settings import SandboxMode, Settings
from vproc.telemetry import Metrics
from vproc.workers.docker_runner import DockerRunner
from vproc.workers.runners import LocalRunner

BARE = {"raw_bucket": "raw", "processed_bucket": "processed", "queue_url": "http://127.0.0.1:1/queue"}


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (path := tmp_path / "scratch").mkdir()
    return path


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine's own is asked for nothing."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")


def settings(scratch: Path, **changes: object) -> Settings:
    given = BARE | {"scratch_dir": scratch, "sandbox": SandboxMode.OFF, "runner": RunnerKind.DOCKER, "docker_image": IMAGE}
    return Settings(_env_file=None, **(given | changes))  # type: ignore[call-arg]


def profiles(**runners: RunnerKind | None) -> Mapping[str, Profile]:
    """The built-in ones of these names, each with its runner."""
    return {name: replace(builtin_profiles()[name], runner=runner) for name, runner in runners.items()}


def value(metrics: Metrics, layer: str) -> float | None:
    return metrics.registry.get_sample_value("vproc_sandbox_enabled", {"layer": layer})


async def test_containers_alone_need_no_ffmpeg_beside_them(
    scratch: Path, tmp_path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this machine has is never looked for; what the image has is found by its own shell."""

    def never(*_: object) -> None:
        raise AssertionError("looked for on this machine")

    monkeypatch.setattr("vproc.workers.ffmpeg.shutil.which", never)
    monkeypatch.setattr("vproc.ffmpegs.probe_sandbox", never)
    async with fake_engine(tmp_path) as engine:
        with capture_logs() as logs:
            given = settings(scratch)
            async with open_ffmpegs(given, profiles(abr=None), {RunnerKind.DOCKER}, metrics, scratch_dir=scratch) as opened:
                assert opened.keys() == {RunnerKind.DOCKER}
                tools = opened[RunnerKind.DOCKER].tools
                assert isinstance(tools.runner, DockerRunner)
                assert tools.ffmpeg.endswith("/ffmpeg")
                assert tools.version[0].isdigit()
                assert len(engine.made) > 10
        assert engine.containers == {}
        [probed] = [entry for entry in logs if entry["event"] == "sandbox_probed"]
        assert (probed["runner"], probed["sandbox"].startswith("partial: containers of engine")) == ("docker", True)
        assert value(metrics, "rlimits") == 1
        assert value(metrics, "landlock") is None
        assert value(metrics, "container") is not None


async def test_both_are_opened_where_profiles_name_both_the_default_first(
    scratch: Path, tmp_path: Path, metrics: Metrics
) -> None:
    given, named = settings(scratch), profiles(abr=None, mp4=RunnerKind.LOCAL)
    async with fake_engine(tmp_path):
        kinds = {RunnerKind.LOCAL, RunnerKind.DOCKER}
        async with open_ffmpegs(given, named, kinds, metrics, scratch_dir=scratch) as opened:
            assert list(opened) == [RunnerKind.DOCKER, RunnerKind.LOCAL]
            assert isinstance(opened[RunnerKind.LOCAL].tools.runner, LocalRunner)
            assert level_of(opened) == "off"
            assert layers_of(opened)["rlimits"] is True
            assert value(metrics, "landlock") == 0


async def test_a_runner_of_elsewhere_opens_nothing_here(scratch: Path, metrics: Metrics) -> None:
    async with open_ffmpegs(settings(scratch), {}, {RunnerKind.ECS}, metrics, scratch_dir=scratch) as opened:
        assert opened == {}
        assert (level_of(opened), layers_of(opened)) == ("full", {})


async def test_an_engine_that_is_away_is_exit_75_and_names_what_asked_for_it(scratch: Path, metrics: Metrics) -> None:
    with pytest.raises(DependencyError, match=r"VPROC_RUNNER: docker: no container engine answers at .*engine\.sock: start one"):
        async with open_ffmpegs(settings(scratch), {}, {RunnerKind.DOCKER}, metrics, scratch_dir=scratch):
            pass


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"docker_image": "none"}, "VPROC_DOCKER_IMAGE: the engine at"),
        ({"ffmpeg": "ffmpeg-99"}, f"VPROC_FFMPEG: no program 'ffmpeg-99' in the image {IMAGE}"),
        ({"sandbox": SandboxMode.REQUIRE}, "VPROC_SANDBOX: require"),
    ],
)
async def test_a_wrong_setting_is_told_and_leaves_no_container(
    changes: dict[str, object], said: str, scratch: Path, tmp_path: Path, metrics: Metrics
) -> None:
    async with fake_engine(tmp_path) as engine:
        with pytest.raises(ConfigError, match=said):
            async with open_ffmpegs(settings(scratch, **changes), {}, {RunnerKind.DOCKER}, metrics, scratch_dir=scratch):
                pass
        assert engine.containers == {}


async def test_programs_of_the_image_are_named_as_this_machines_are(scratch: Path, tmp_path: Path, metrics: Metrics) -> None:
    """By a path, and the other of the two is the one beside it."""
    ffmpeg = shutil.which("ffmpeg")
    async with fake_engine(tmp_path):
        given = settings(scratch, ffmpeg=ffmpeg)
        async with open_ffmpegs(given, profiles(abr=None), {RunnerKind.DOCKER}, metrics, scratch_dir=scratch) as opened:
            [pair] = opened[RunnerKind.DOCKER].tools.pairs
            assert (pair.ffmpeg, pair.ffprobe) == (ffmpeg, str(ffmpeg).replace("ffmpeg", "ffprobe"))


class Report:
    """Of one runner."""

    def __init__(self, level: str, **layers: bool) -> None:
        self.level = level
        self.layers = layers

    def describe(self) -> str:
        return self.level


@pytest.mark.parametrize(
    ("local", "docker", "level", "layers"),
    [
        (Report("full", seccomp=True, landlock=True), Report("full", seccomp=True, container=True), "full", [True, True, True]),
        (
            Report("full", seccomp=True, landlock=True),
            Report("partial", seccomp=False, container=True),
            "partial",
            [False, True, True],
        ),
        (Report("off", seccomp=False, landlock=False), Report("full", seccomp=True, container=True), "off", [False, False, True]),
    ],
)
def test_of_two_runners_the_worse_is_told(local: Report, docker: Report, level: str, layers: list[bool]) -> None:
    opened = {
        RunnerKind.LOCAL: Ffmpegs(tools=None, sandbox=local),  # type: ignore[arg-type]
        RunnerKind.DOCKER: Ffmpegs(tools=None, sandbox=docker),  # type: ignore[arg-type]
    }
    assert level_of(opened) == level
    assert [layers_of(opened)[name] for name in ("seccomp", "landlock", "container")] == layers
