"""ffmpeg in containers of a real engine: the contract of runners, what a container may do, and a daemon that is killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.caller import Caller, fetch
from tests.support.children import MIB, limits
from tests.support.cluster import until
from tests.support.daemon import Daemon, dev, processes_in, serve
from tests.support.engine import IMAGE, Engine
from tests.support.media import clip
from tests.support.ports import free_port
from tests.support.runner_contract import RunnerContract
from tests.support.tree import run
from vproc.containers.engine import open_engine
from vproc.core.exits import encoder_failure
from vproc.errors import ErrorCode
from vproc.ports import ProcessResult, Runner
from vproc.settings import SandboxMode
from vproc.workers.container_site import open_docker_runner

GONE_WITHIN_S = 5.0
HEARD_WITHIN_S = 20.0
"""The next heartbeat."""


def ours(engine: Engine) -> list[str]:
    """Every container of a runner's, whatever its state."""
    return engine.docker("ps", "--all", "--filter", "label=vproc.daemon", "--format", "{{.Names}} {{.Status}}").splitlines()


class _RealRunner(Runner):
    """Opened for each run, with all of the confinement required; nothing may be left of it."""

    def __init__(self, engine: Engine, scratch: Path) -> None:
        self._engine = engine
        self._scratch = scratch

    async def run(self, argv: Sequence[str], **given: Any) -> ProcessResult:
        given = {"cwd": self._scratch / "job", "limits": limits()} | given
        try:
            async with (
                open_engine(self._engine.folder / "docker.sock") as client,
                open_docker_runner(client, image=IMAGE, scratch_dir=self._scratch, mode=SandboxMode.REQUIRE) as opened,
            ):
                return await opened.runner.run(argv, **given)
        finally:
            assert ours(self._engine) == []


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A job's directory, below the daemon's."""
    (path := tmp_path / "job").mkdir(mode=0o700)
    return path


@pytest.fixture
def runner(engine: Engine, place: Path) -> Runner:
    """One of the engine's."""
    return _RealRunner(engine, place.parent)


class TestDockerRunner(RunnerContract):
    """The contract."""

    @pytest.fixture
    def runner(self, engine: Engine, place: Path) -> Runner:
        return _RealRunner(engine, place.parent)


# --- what a container may do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempt", "refused"),
    [
        ("import socket; socket.create_connection(('169.254.169.254', 80), 2)", "Operation not permitted"),
        ("import socket; socket.socket(socket.AF_UNIX)", "Operation not permitted"),
        ("open('SOCKET')", "No such file"),
        ("open('/usr/bin/planted', 'w')", "Read-only file system"),
        ("open('/tmp/planted', 'w')", "Read-only file system"),
        ("open('/dev/shm/planted', 'w')", "No such file"),
        ("open('OUTSIDE')", "No such file"),
        ("import os; os.kill(DAEMON, 0)", "No such process"),
        ("import os; os.symlink('/etc/passwd', 'link')", "Operation not permitted"),
        ("import os; os.mkfifo('pipe')", "Operation not permitted"),
        ("import os; os.setuid(12345)", "Operation not permitted"),
        ("import os; os.mknod('device', 0o600 | 0o020000, 0x0801)", "Operation not permitted"),
        ("import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0", "AssertionError"),
    ],
)
async def test_what_is_refused_to_a_child(runner: Runner, engine: Engine, place: Path, attempt: str, refused: str) -> None:
    """As root without a capability, or as whoever the daemon is."""
    (outside := place.parent / "others").write_text("secret")
    words = {"SOCKET": engine.folder / "docker.sock", "OUTSIDE": outside, "DAEMON": os.getpid()}
    for word, meant in words.items():
        attempt = attempt.replace(word, str(meant))
    result = await runner.run(["python3", "-I", "-S", "-c", attempt])
    assert result.returncode == 1
    assert refused in result.stderr


async def test_memory_over_its_limit_is_out_of_memory(runner: Runner) -> None:
    """The kernel kills it, and that is what the job is told."""
    argv = ["python3", "-I", "-S", "-c", "held = b'x' * (400 << 20); print(len(held))"]
    assert (await runner.run(argv)).returncode == 0
    result = await runner.run(argv, limits=limits(data_bytes=128 * MIB))
    assert result.returncode == -signal.SIGKILL
    failure = encoder_failure(returncode=result.returncode, stderr=result.stderr, stopped=None)
    assert failure is not None
    assert failure.code is ErrorCode.OUT_OF_MEMORY


async def test_a_file_larger_than_its_memory_is_written(runner: Runner, place: Path) -> None:
    """What the kernel keeps of files counts for the container, and is given up."""
    result = await runner.run(["dd", "if=/dev/zero", "of=large", "bs=1M", "count=200"], limits=limits(data_bytes=64 * MIB))
    assert result.returncode == 0
    assert (place / "large").stat().st_size == 200 * MIB


async def test_memory_and_processor_time_of_a_long_child_are_told(runner: Runner) -> None:
    held = "import time; held = b'x' * (100 << 20); begun = time.monotonic()\nwhile time.monotonic() < begun + 3: pass"
    result = await runner.run(["python3", "-I", "-S", "-c", held])
    assert 100 * MIB <= result.peak_memory_bytes < 200 * MIB
    assert 0.5 < result.cpu_s < 4


async def test_who_left_the_group_ends_with_the_container(runner: Runner) -> None:
    """Of such a child its own kill would reach nothing."""
    away = "setsid sh -c 'trap \"\" TERM HUP; exec sleep 4242' & exit 0"
    assert (await runner.run(["sh", "-c", away])).returncode == 0
    assert processes_in(Path("sleep 4242")) == []


# --- whole jobs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A store and a queue on this machine, whose own daemon takes no jobs."""
    with dev(tmp_path_factory.mktemp("store"), VPROC_ROLES="api") as running:
        yield running


@contextmanager
def worker(engine: Engine, store: Daemon, folder: Path, **settings: str) -> Iterator[Daemon]:
    """A daemon whose jobs run in containers. Its host's ffmpeg is out of its reach."""
    own = {
        "DOCKER_HOST": f"unix://{engine.folder}/docker.sock",
        "VPROC_RUNNER": "docker",
        "VPROC_DOCKER_IMAGE": IMAGE,
        "VPROC_SANDBOX": "require",
        "VPROC_AUTH": "none",
        "PATH": "/nowhere",
    }
    with serve(folder, **store.settings, **own, **settings) as daemon:
        yield daemon


def scratch_in(folder: Path) -> list[str]:
    """What a daemon left of its work."""
    return [str(path.relative_to(folder)) for path in folder.glob("vproc-scratch-*/**/*") if path.name != "lock"]


def test_a_job_runs_in_containers_and_the_host_needs_no_ffmpeg(engine: Engine, store: Daemon, tmp_path: Path) -> None:
    with worker(engine, store, tmp_path) as daemon:
        chosen = daemon.logged("ffmpeg_chosen")
        assert chosen["ffmpeg"].startswith("/opt/vproc/lib/python3")
        probed = daemon.logged("sandbox_probed")
        assert (probed["runner"], probed["sandbox"].partition(":")[0]) == ("docker", "full")
        sandbox = json.loads(fetch(f"{daemon.api}/readyz").body)["sandbox"]
        assert sandbox == {
            "level": "full", "container": True, "rlimits": True, "capabilities": True, "no_new_privileges": True, "seccomp": True,
        }  # fmt: skip
        metrics = fetch(f"{daemon.api}/metrics").body.decode()
        assert 'vproc_sandbox_enabled{layer="container"} 1.0' in metrics
        assert "landlock" not in metrics
        caller = Caller(daemon.api)
        file_id = caller.upload(clip("short.mp4"))
        caller.completed(file_id)
        ended = daemon.logged("job_ended")
        assert ended["outcome"] == "completed"
        until(lambda: ours(engine) == [], within_s=GONE_WITHIN_S, what="no container")
    assert scratch_in(tmp_path) == []


def test_killed_in_the_middle_nothing_is_left_and_the_next_completes_the_file(
    engine: Engine, store: Daemon, tmp_path: Path
) -> None:
    """SIGKILL of the daemon while its container encodes: nobody tells the engine, and the container is gone at once."""
    long = tmp_path / "long.mp4"
    run("ffmpeg", "-v", "error", "-stream_loop", 2, "-i", clip("hd.mp4"), "-c", "copy", long)
    catalog = f"sqlite:///{tmp_path}/catalog.db"
    folder = tmp_path / "first"
    folder.mkdir()
    with pytest.raises(AssertionError, match="it ended by itself with -9"):  # noqa: PT012, SIM117 - so a block ends whose daemon was killed
        with worker(engine, store, folder, VPROC_DATABASE_URL=catalog) as first:
            caller = Caller(first.api)
            file_id = caller.upload(long)
            until(lambda: caller.status(file_id)["stage"] == "encode", within_s=60, what="the encoding")
            until(lambda: any("Up" in line for line in ours(engine)), within_s=20, what="a container")
            first.process.kill()
            first.process.wait()
            until(lambda: ours(engine) == [], within_s=GONE_WITHIN_S, what="no container")
    assert scratch_in(folder) != []
    with worker(engine, store, tmp_path, VPROC_SCRATCH_DIR=str(folder), VPROC_DATABASE_URL=catalog) as second:
        assert second.logged("stale_scratch_removed")["directory"].startswith(str(folder))
        Caller(second.api).completed(file_id)
        until(lambda: ours(engine) == [], within_s=GONE_WITHIN_S, what="no container")
    assert scratch_in(folder) == []


def test_stopped_by_its_owner_a_job_leaves_no_container(engine: Engine, store: Daemon, tmp_path: Path) -> None:
    long = tmp_path / "long.mp4"
    run("ffmpeg", "-v", "error", "-stream_loop", 20, "-i", clip("hd.mp4"), "-c", "copy", long)
    with worker(engine, store, tmp_path) as daemon:
        caller = Caller(daemon.api)
        file_id = caller.upload(long)
        until(lambda: any("Up" in line for line in ours(engine)), within_s=60, what="a container")
        caller.ask(f"/upload/{file_id}/cancel", "POST")
        assert caller.end_of(file_id)["processing_status"] == "cancelled"
        until(lambda: ours(engine) == [], within_s=HEARD_WITHIN_S + GONE_WITHIN_S, what="no container")


def test_what_a_dead_daemon_made_and_never_started_is_removed(engine: Engine, store: Daemon, tmp_path: Path) -> None:
    """Killed between the two calls. Its labels name a process that is not there; those of a living one stay."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    pids = str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    made = {}
    for daemon, pid in (("dead", "4194304:1"), ("living", f"{os.getpid()}:{started}")):
        labels = {"vproc.daemon": daemon, "vproc.boot": boot, "vproc.pid": f"{pids} {pid}", "vproc.container": ""}
        words = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
        made[daemon] = engine.docker("create", "--network=none", "--name", f"vproc-{daemon}", *words, IMAGE).strip()
    try:
        with worker(engine, store, tmp_path) as running:
            assert running.logged("stale_container_removed")["container"] == "vproc-dead"
            assert [line.split()[0] for line in ours(engine)] == ["vproc-living"]
    finally:
        engine.docker("rm", "--force", "vproc-living")


def test_a_daemon_in_a_container_starts_others_of_its_own_image(engine: Engine, tmp_path: Path) -> None:
    """By the engine's socket and a volume for scratch, whose place on the machine it finds by itself. Killed, nothing is left."""
    port = free_port()
    api = f"http://127.0.0.1:{port}"
    options = (
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only", "--tmpfs", "/tmp"),
        *("--group-add", (engine.folder / "docker.sock").stat().st_gid),
        *("--volume", f"{engine.folder}/docker.sock:/var/run/docker.sock", "--volume", f"data-{port}:/data"),
    )
    with engine.running("dev", "--data", "/data/all", options=options, VPROC_PORT=str(port), VPROC_RUNNER="docker") as container:
        until(lambda: '"event": "daemon_started"' in container.logs(), within_s=60, what="the daemon")
        assert '"sandbox": "full: containers' in container.logs()
        caller = Caller(api)
        caller.completed(caller.upload(clip("short.mp4")))
        long = tmp_path / "long.mp4"
        run("ffmpeg", "-v", "error", "-stream_loop", 20, "-i", clip("hd.mp4"), "-c", "copy", long)
        caller.upload(long)
        until(lambda: any("Up" in line for line in ours(engine)), within_s=60, what="a container")
        engine.docker("kill", container.name)
        until(lambda: ours(engine) == [], within_s=GONE_WITHIN_S, what="no container")
    engine.docker("volume", "rm", f"data-{port}")
