"""`vproc serve` at its start: what is wrong is one line each and the documented exit code. And a scratch disk that fills up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import pytest

from tests.support.caller import fetch
from tests.support.cluster import until
from tests.support.daemon import Daemon, dev, on_its_own_disk, run, serve
from tests.support.media import clip
from tests.support.postgres import PostgresServer
from tests.support.source import ROOT

pytestmark = pytest.mark.xdist_group("e2e-start")

DEPENDENCY_AWAY = 75
WRONG = 78
MIB = 1024**2
CLOSED = "http://127.0.0.1:9"
SECRET = "hunter2:of/nobody"


@dataclass(frozen=True, slots=True)
class Outside:
    """What a daemon needs around it. ``settings`` are right."""

    store: Daemon
    folder: Path
    settings: dict[str, str]


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """A store and a queue, whose own daemon takes no jobs."""
    folder = tmp_path_factory.mktemp("start")
    (folder / "store").mkdir()
    (folder / "work").mkdir()
    with dev(folder / "store", VPROC_ROLES="api") as store:
        settings = store.settings | {"VPROC_PORT": "0", "VPROC_SCRATCH_DIR": str(folder / "work")}
        yield Outside(store, folder, settings)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
        server.remove()


def expect_refused(outside: Outside, folder: Path, code: int, *said: str, within: tuple[str, ...] = (), **settings: str) -> None:
    """It ends with the code, and says one line for each fault, and no more."""
    ended = run(folder, "serve", within=within, **outside.settings, **settings)
    assert ended.code == code, ended
    assert len(ended.faults) == len(said), ended.faults
    for line, start in zip(ended.faults, said, strict=True):
        assert line.startswith(f"vproc: {start}"), line
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert "daemon_started" not in ended.stderr
    assert [path for path in outside.folder.joinpath("work").iterdir() if path.is_dir()] == []


def but(outside: Outside, **settings: str) -> Outside:
    """The same with other settings."""
    return Outside(outside.store, outside.folder, outside.settings | settings)


def test_every_wrong_setting_has_its_line(outside: Outside, tmp_path: Path) -> None:
    """All at once, before anything is opened; each with what it got and what it takes."""
    wrong = but(
        outside,
        VPROC_RAW_BUCKET="",
        VPROC_PORT="http",
        VPROC_ROLES="api,cook",
        VPROC_CONCURRENCY="0",
        VPROC_SANDBOX="maybe",
    )
    expect_refused(
        wrong,
        tmp_path,
        WRONG,
        "VPROC_RAW_BUCKET: not set, and required",
        "VPROC_PORT: takes a whole number (got 'http')",
        "VPROC_ROLES: takes 'api' or 'worker' (got 'cook')",
        "VPROC_CONCURRENCY: takes 1 or more (got '0')",
        "VPROC_SANDBOX: takes 'require', 'auto' or 'off' (got 'maybe')",
    )


@dataclass(frozen=True, slots=True)
class Fault:
    """A setting that is wrong, or a part that is away. ``settings`` may need to know what is around."""

    name: str
    code: int
    said: str
    settings: Callable[[Outside], dict[str, str]]


FAULTS = (
    Fault(
        "queue away",
        DEPENDENCY_AWAY,
        "VPROC_QUEUE_URL: cannot reach the queue: ",
        lambda _: {"VPROC_QUEUE_URL": f"{CLOSED}/1/jobs", "AWS_ENDPOINT_URL_SQS": CLOSED},
    ),
    Fault(
        "store away",
        DEPENDENCY_AWAY,
        "VPROC_RAW_BUCKET: cannot reach bucket vproc-raw: ",
        lambda _: {"AWS_ENDPOINT_URL_S3": CLOSED},
    ),
    Fault(
        "no raw bucket",
        WRONG,
        "VPROC_RAW_BUCKET: no such bucket (got 'nowhere')",
        lambda _: {"VPROC_RAW_BUCKET": "nowhere"},
    ),
    Fault(
        "no processed bucket",
        WRONG,
        "VPROC_PROCESSED_BUCKET: no such bucket (got 'nowhere')",
        lambda _: {"VPROC_PROCESSED_BUCKET": "nowhere"},
    ),
    Fault(
        "no queue",
        WRONG,
        "VPROC_QUEUE_URL: no such queue (got 'http",
        lambda outside: {"VPROC_QUEUE_URL": outside.settings["VPROC_QUEUE_URL"] + "-not"},
    ),
    Fault(
        "no dead-letter queue",
        WRONG,
        "VPROC_DLQ_URL: no such queue (got 'http",
        lambda outside: {"VPROC_DLQ_URL": outside.settings["VPROC_DLQ_URL"] + "-not"},
    ),
    Fault("no ffmpeg", WRONG, "VPROC_FFMPEG: no program '/nonexistent'", lambda _: {"VPROC_FFMPEG": "/nonexistent"}),
    Fault("no ffprobe", WRONG, "VPROC_FFPROBE: no program '/nonexistent'", lambda _: {"VPROC_FFPROBE": "/nonexistent"}),
    Fault("another program", WRONG, f"VPROC_FFMPEG: {which('true')} does not answer", lambda _: {"VPROC_FFMPEG": "true"}),
    Fault(
        "port in use",
        WRONG,
        "VPROC_PORT: port ",
        lambda outside: {"VPROC_PORT": outside.store.api.rpartition(":")[2]},
    ),
    Fault(
        "no such host",
        WRONG,
        "VPROC_HOST: 203.0.113.9 is no address of this machine",
        lambda _: {"VPROC_HOST": "203.0.113.9", "VPROC_AUTH": "none"},
    ),
    Fault("open to everybody", WRONG, "VPROC_AUTH has no default beyond loopback", lambda _: {"VPROC_HOST": "0.0.0.0"}),
    Fault("no such profile", WRONG, "VPROC_PROFILE: takes one of abr, ", lambda _: {"VPROC_PROFILE": "best"}),
    Fault(
        "no scratch",
        WRONG,
        "VPROC_SCRATCH_DIR: takes a directory that can be written (got '/nonexistent': No such file",
        lambda _: {"VPROC_SCRATCH_DIR": "/nonexistent"},
    ),
    Fault(
        "no directory for the database",
        WRONG,
        "VPROC_DATABASE_URL: the directory /nonexistent does not exist",
        lambda _: {"VPROC_DATABASE_URL": "sqlite:////nonexistent/vproc.db"},
    ),
    Fault(
        "database away",
        DEPENDENCY_AWAY,
        "VPROC_DATABASE_URL: cannot use vproc@127.0.0.1:9/vproc: ",
        lambda _: {"VPROC_DATABASE_URL": "postgresql://vproc:secret@127.0.0.1:9/vproc"},
    ),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_is_wrong_or_away_stops_the_start(outside: Outside, tmp_path: Path, fault: Fault) -> None:
    """One clear line that begins with the variable; nothing is left in the scratch directory."""
    expect_refused(but(outside, **fault.settings(outside)), tmp_path, fault.code, fault.said)


def test_a_scratch_disk_that_is_read_only_or_full_stops_the_start(outside: Outside, tmp_path: Path) -> None:
    """Neither is noticed at the first job only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    wrong = but(outside, VPROC_SCRATCH_DIR=str(disk))
    said = f"VPROC_SCRATCH_DIR: takes a directory that can be written (got '{disk}': "
    expect_refused(wrong, tmp_path, WRONG, f"{said}Read-only file system)", within=(*on_its_own_disk(disk, "ro"),))
    expect_refused(wrong, tmp_path, WRONG, f"{said}no space is left there)", within=(*on_its_own_disk(disk, "nr_inodes=1"),))


def test_postgresql_is_migrated_by_a_person(outside: Outside, postgres: PostgresServer, tmp_path: Path) -> None:
    """Unmigrated, the start names the command; after it the daemon starts, and the command has nothing more to do."""
    url = postgres.url(postgres.create_database()).replace("+asyncpg", "")
    database = but(outside, VPROC_DATABASE_URL=url)
    steps = sorted(path.stem[1:5] for path in (ROOT / "vproc" / "db" / "migrations" / "versions").glob("v*.py"))
    said = f"VPROC_DATABASE_URL: the database awaits migration {steps[-1]}: run `vproc migrate`"
    expect_refused(database, tmp_path, WRONG, said)
    first, again = (run(tmp_path, "migrate", VPROC_DATABASE_URL=url) for _ in range(2))
    assert (first.code, first.stdout) == (0, f"migrated: {', '.join(steps)}\n"), first
    assert (again.code, again.stdout) == (0, "up to date already\n"), again
    with serve(tmp_path, **database.settings) as daemon:
        daemon.until_ready()
        assert daemon.caller.ask("/uploads").json == {"uploads": [], "cursor": None}


def test_a_wrong_password_is_told_and_not_shown(outside: Outside, postgres: PostgresServer, tmp_path: Path) -> None:
    """The line names the user and the place; the password is in no output, of no command."""
    quoted = SECRET.replace(":", "%3A").replace("/", "%2F")
    url = f"postgresql://guarded:{quoted}@127.0.0.1:{postgres.port}/postgres"
    database = but(outside, VPROC_DATABASE_URL=url, VPROC_LOG_LEVEL="debug")
    said = f"VPROC_DATABASE_URL: cannot use guarded@127.0.0.1:{postgres.port}/postgres: password authentication failed"
    expect_refused(database, tmp_path, WRONG, said)
    for command in ("serve", "migrate", "config"):
        ended = run(tmp_path, command, **database.settings)
        assert ended.code == (0 if command == "config" else WRONG)
        for shown in ("hunter2", "of%2Fnobody", "of/nobody"):
            assert shown not in ended.stdout + ended.stderr


# --- a scratch disk that fills up ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Disk:
    """A small disk that only the daemon sees, and what else lies on it."""

    folder: Path

    def fill(self, size_bytes: int) -> None:
        """Have a file of that size on it, of true blocks."""
        with (self.folder / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size_bytes)

    def clear(self) -> None:
        """Remove it."""
        (self.folder / "filler").unlink()


def test_a_full_scratch_disk_holds_jobs_up_and_loses_none(outside: Outside, tmp_path: Path) -> None:
    """While it is full no job is taken and `/readyz` says why; when there is room the job is done, in its first attempt."""
    scratch = tmp_path / "disk"
    scratch.mkdir()
    database = f"sqlite:///{tmp_path}/vproc.db"
    settings = outside.settings | {"VPROC_SCRATCH_DIR": str(scratch), "VPROC_DATABASE_URL": database}
    with serve(tmp_path, within=on_its_own_disk(scratch, f"size={320 * MIB}"), **settings) as daemon:
        daemon.until_ready()
        disk = Disk(Path(f"/proc/{daemon.process.pid}/root{scratch}"))
        disk.fill(100 * MIB)
        until(lambda: fetch(f"{daemon.api}/readyz").status == 503, within_s=30, what="/readyz unready")
        checks = fetch(f"{daemon.api}/readyz").json["checks"]
        assert "the scratch disk has" in checks.pop("intake")
        assert set(checks.values()) == {"ok"}

        file_id = daemon.caller.upload(clip("short.mp4"), profile="copy")
        # The daemon has looked again, with the job waiting, once it tells another figure.
        disk.fill(120 * MIB)
        until(lambda: free_bytes(daemon) < 201 * MIB, within_s=30, what="another look at the disk")
        told = daemon.caller.status(file_id)
        assert (told["processing_status"], told["attempts"]) == ("pending", 0)
        assert fetch(f"{daemon.api}/healthz").status == 200

        disk.clear()
        assert daemon.caller.completed(file_id)["attempts"] == 1
        assert {output["kind"] for output in daemon.caller.outputs(file_id)} == {"video", "metadata"}
        until(lambda: fetch(f"{daemon.api}/readyz").status == 200, within_s=10, what="/readyz ready again")


def free_bytes(daemon: Daemon) -> float:
    """What the daemon tells of its scratch disk."""
    metrics = fetch(f"{daemon.api}/metrics").body.decode()
    return float(next(line.split()[1] for line in metrics.splitlines() if line.startswith("vproc_scratch_free_bytes ")))
