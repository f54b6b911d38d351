"""`vproc demo` and `vproc dev` as a person runs them: true processes, the embedded store, real ffmpeg."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
READY_KEYS = ["api", "s3", "sqs", "raw_bucket", "processed_bucket", "queue_url", "dlq_url", "database_url"]


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of moving pictures with sound, small enough to be quick."""
    path = tmp_path_factory.mktemp("clip") / "a clip é.mp4"
    inputs = ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=2", "-f", "lavfi", "-i", "sine=d=2"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    subprocess.run(["ffmpeg", "-v", "error", *inputs, *codecs, str(path)], check=True)
    return path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Nothing of this shell's settings, and a folder for temporary files of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VPROC_", "AWS_"))}
    (tmp_path / "temporary").mkdir()
    return kept | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "temporary")}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """Where the commands run. Afterwards no process works there, and no temporary file is left."""
    yield tmp_path
    assert [*(tmp_path / "temporary").iterdir()] == []
    assert [line for line in processes() if str(tmp_path) in line] == []


def processes() -> list[str]:
    """Every process's command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return found


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "vproc", *map(str, words)]


@pytest.fixture
def start(here: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Start a command. What a failed test leaves running is ended, children and all: it would disturb the next."""
    started: list[subprocess.Popen[str]] = []

    def begin(*words: object) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                command(*words), cwd=here, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            end(process, signal.SIGTERM)


def until(process: subprocess.Popen[str], words: str) -> str:
    """The first line of standard output that has these words."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if words in line:
            return line
    _, stderr = process.communicate()
    pytest.fail(f"{words!r} never came: {seen} {stderr}")


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Signal it alone; its exit code and what it wrote to standard error since."""
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


def test_the_demo_gets_through(here: Path, environment: dict[str, str], clip: Path) -> None:
    """Exit 0; every output of the ladder stands on disk; ffprobe plays the master playlist from there."""
    ran = subprocess.run(command("demo", clip), cwd=here, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    for words in (
        "uploading a clip é.mp4",
        "completed 100%",
        "ffprobe accepts",
        "What was made",
        "Seconds for each stage",
        "What it took",
    ):
        assert words in ran.stdout
    assert re.search(r"HLS: \d+ segments", ran.stdout)
    assert re.search(r"DASH: \d+ segments", ran.stdout)
    [folder] = (here / "demo-output" / "a clip é").iterdir()
    assert str(folder) in ran.stdout
    probe = ["ffprobe", "-v", "error", "-show_entries", "format=duration:stream=codec_name", "-of", "json"]
    probed = json.loads(subprocess.run([*probe, folder / "master.m3u8"], check=True, capture_output=True).stdout)
    assert {stream["codec_name"] for stream in probed["streams"]} == {"h264", "aac"}
    assert float(probed["format"]["duration"]) == pytest.approx(2.0, abs=0.2)


def test_a_served_demo_can_be_watched_until_ctrl_c(here: Path, start: Start, clip: Path) -> None:
    """The stream's address answers while it is up, and no longer; Ctrl-C then is exit 0."""
    process = start("demo", clip, "--serve", "--to", here / "out")
    line = until(process, "Watch it at") + until(process, "http")
    [stream] = re.findall(r"http\S+\.m3u8", line)
    [page] = re.findall(r"Watch it at (http\S+/\?file=[0-9a-f-]{36}) \(Ctrl-C", line)
    with urlopen(page) as answer:
        assert b'id="list"' in answer.read()
    with urlopen(stream) as answer:
        assert answer.read().startswith(b"#EXTM3U")
    assert end(process, signal.SIGINT) == (0, "")
    with pytest.raises(URLError):
        urlopen(stream)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_leaves_nothing(start: Start, clip: Path, number: signal.Signals) -> None:
    """In the middle of the job: exit 130, the daemon and its ffmpeg gone (see `here`)."""
    process = start("demo", clip)
    until(process, "uploaded 100%")
    assert end(process, number) == (130, "vproc: interrupted\n")


def test_a_demo_of_what_is_no_video_fails(here: Path, environment: dict[str, str]) -> None:
    """Exit 1 with the file's error code and the log, which is all that is left."""
    (here / "fake.mp4").write_bytes(b"this is no video" * 1000)
    ran = subprocess.run(command("demo", "fake.mp4"), cwd=here, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    [line] = ran.stderr.splitlines()
    assert re.match(r"vproc: fake\.mp4 was not completed but failed: (unsupported|corrupt)_media: ", line)
    log = Path(line.partition("the daemon's log: ")[2].rstrip(")"))
    assert "daemon_started" in log.read_text()
    log.unlink()
    log.parent.rmdir()


def test_dev_serves_the_client_commands(here: Path, environment: dict[str, str], start: Start, clip: Path) -> None:
    """The ready line, an upload that is followed, a download that plays, the list; SIGTERM ends it with exit 0."""
    process = start("dev", "--port", 0, "--data", here / "data")
    said = json.loads(until(process, "{"))
    assert list(said) == READY_KEYS
    assert said["database_url"] == f"sqlite:///{here}/data/vproc.db"
    environment = environment | {"VPROC_API_URL": said["api"]}

    def client(*words: object) -> list[str]:
        ran = subprocess.run(command(*words), cwd=here, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.splitlines()

    client("healthcheck")
    [line] = client("submit", clip, "--wait", "--json")
    done = json.loads(line)
    assert (done["processing_status"], done["progress"], done["file_name"]) == ("completed", 1.0, clip.name)
    assert [json.loads(line)["file_id"] for line in client("list", "--json")] == [done["file_id"]]
    [folder] = client("download", done["file_id"], "--to", here / "got")
    probed = subprocess.run(["ffprobe", "-v", "error", Path(folder) / "master.m3u8"], check=False, capture_output=True)
    assert (probed.returncode, probed.stderr) == (0, b"")
    assert (here / "data" / "vproc.db").is_file()
    code, stderr = end(process, signal.SIGTERM)
    assert code == 0, stderr
    assert "Traceback" not in stderr


def test_dev_without_data_leaves_nothing(start: Start) -> None:
    """Its folder is gone with it, also when it is ended a moment after the start."""
    process = start("dev", "--port", 0)
    until(process, "{")
    assert end(process, signal.SIGTERM)[0] == 0
    process = start("dev", "--port", "0", "--host", "0.0.0.0")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 78
    assert stderr.startswith("vproc: VPROC_AUTH has no default beyond loopback")
