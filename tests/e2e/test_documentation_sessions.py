"""The documentation's commands and programs that ask a daemon, typed in as they stand over one `vproc dev`.

What is asked of 127.0.0.1:8080 goes to it; only names that are the world's are replaced.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.caller import fetch
from tests.support.cluster import until
from tests.support.daemon import Daemon, dev
from tests.support.documents import Shell, runs
from tests.support.media import clip
from vproc.core.notification import work_in

pytestmark = pytest.mark.xdist_group("e2e-documentation")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with dev(tmp_path_factory.mktemp("documentation")) as running:
        yield running


@pytest.fixture
def shell(daemon: Daemon, tmp_path: Path) -> Shell:
    """A folder with a video, that daemon's address, and the settings of a command beside it."""
    shutil.copy(clip("short.mp4"), tmp_path / "holiday.mp4")
    catalog = {"VPROC_DATABASE_URL": daemon.ready["database_url"]}
    return Shell(tmp_path, daemon.api, settings=daemon.settings | catalog)


@pytest.fixture(scope="module")
def completed(daemon: Daemon) -> str:
    """A file that can be played."""
    file_id = daemon.caller.upload(clip("short.mp4"))
    daemon.caller.completed(file_id)
    return file_id


# --- uploads -------------------------------------------------------------------------------------------------------------


@runs("README.md#the-api-by-curl")
def test_the_session_of_the_readme(script: str, shell: Shell) -> None:
    """Announce, upload by `curl -T`, follow, fetch: and the last answer lists the outputs."""
    *_, answer = shell.run(script).splitlines()
    processed = json.loads(answer[answer.index('{"download_url"') :])
    assert {"hls", "dash", "poster"} <= {output["kind"] for output in processed["outputs"]}


@runs(
    "docs/how-to/use-the-command-line.md#where-and-as-whom",
    "docs/how-to/use-the-command-line.md#one-video",
    "docs/how-to/use-the-command-line.md#many",
    "docs/how-to/use-the-command-line.md#look-around-try-again-clear-up",
    "docs/how-to/use-the-command-line.md#in-scripts",
    "docs/how-to/use-the-command-line.md#on-the-daemons-machine",
)
def test_the_command_line(script: str, shell: Shell, daemon: Daemon) -> None:
    """One after another in one shell: files, a pattern, a stream, a bucket; and what they leave behind."""
    before = {file["file_id"] for file in daemon.caller.ask("/uploads?limit=100").json["uploads"]}
    shell.run("mkdir -p films/old && cp holiday.mp4 films/a.mp4 && cp holiday.mp4 films/old/b.mp4")
    shell.run("aws s3 mb s3://films && aws s3 cp holiday.mp4 s3://films/2024/premiere.mp4", AWS_PAGER="")
    assert "['completed']" in shell.run(script.replace("http://127.0.0.1:8080", daemon.api))
    files = [file for file in daemon.caller.ask("/uploads?limit=100").json["uploads"] if file["file_id"] not in before]
    assert sorted(file["file_name"] for file in files) == ["a.mp4", "b.mp4", "holiday.mp4", "holiday.ts", "premiere.mp4"]
    assert {file["processing_status"] for file in files} == {"completed"}
    assert list((shell.folder / "outputs").rglob("master.m3u8"))


@runs("docs/how-to/uploads.md#parts-with-curl")
def test_parts_by_curl(script: str, shell: Shell, daemon: Daemon) -> None:
    """The commands announce, send every part and join them, and the file is processed as the profile says."""
    source = "-f lavfi -i testsrc2=size=640x360:rate=25:duration=20 -c:v libx264 -qp 0 -preset ultrafast"
    shell.run(f"ffmpeg -v error {source} film.mp4")
    assert (shell.folder / "film.mp4").stat().st_size > 6 * 1024**2
    joined = json.loads(shell.run(script.replace("-b 64M", "-b 5M"), api=daemon.api, key="any").strip().splitlines()[-1])
    assert set(joined) == {"location", "key", "bucket"}
    assert len(list(shell.folder.glob("part.*"))) > 1
    file_id = joined["key"].rpartition("/")[2].removesuffix(".mp4")
    assert daemon.caller.completed(file_id)["profile"] == "mp4"


@runs("docs/how-to/try-it.md#upload")
def test_the_quick_start(script: str, shell: Shell) -> None:
    """Both uploads are completed and listed, and what was made is fetched."""
    told = shell.run(script)
    assert told.count("holiday.mp4") >= 1
    assert [path for path in (shell.folder / "holiday").rglob("*.mp4") if path.stat().st_size]


@runs("docs/how-to/try-it.md#without-the-api")
def test_a_video_by_the_aws_cli(script: str, shell: Shell, daemon: Daemon) -> None:
    """The AWS CLI puts an object into the daemon's bucket, and it is processed."""
    shell.run(script, s3=daemon.ready["s3"], raw_bucket=daemon.ready["raw_bucket"])
    assert daemon.caller.completed(daemon.caller.id_of("anything/holiday.mp4"))["owner"] == "default"


@runs("docs/how-to/migrate-from-elastic-transcoder.md#step-by-step", "docs/how-to/upload-from-a-server.md#by-the-client")
def test_an_upload_by_the_client(script: str, shell: Shell) -> None:
    """`--json` tells of a file that is completed."""
    script = script.replace("http://127.0.0.1:8080", shell.api)
    told = json.loads(shell.run(script).splitlines()[-1])
    assert (told["processing_status"], told["profile"]) == ("completed", "mp4")


@runs("docs/how-to/upload-from-a-server.md#by-curl")
def test_an_announcement_by_curl(script: str, shell: Shell, daemon: Daemon) -> None:
    """Twice the same, it is the same file."""
    first, again = (json.loads(shell.run(script)) for _ in range(2))
    assert first["file_id"] == again["file_id"]
    assert daemon.caller.status(first["file_id"])["metadata"] == {"order": "4711"}


@runs("docs/how-to/upload-from-a-server.md#by-python", language="python")
def test_an_upload_by_python(script: str, shell: Shell) -> None:
    """The program prints a file that is completed."""
    (shell.folder / "upload.py").write_text(script)
    told = json.loads(shell.run(f"{sys.executable} -W error upload.py holiday.mp4"))
    assert (told["processing_status"], told["profile"]) == ("completed", "mp4")


@runs("docs/how-to/upload-from-a-server.md#by-a-bucket-and-a-queue")
def test_an_upload_by_a_bucket_and_a_queue(script: str, shell: Shell, daemon: Daemon) -> None:
    """The object is processed as its metadata say; the message, sent to a queue that nobody reads, is a direct job."""
    made = shell.run("aws sqs create-queue --queue-name looked-at --output text", AWS_PAGER="")
    queue = made.strip()
    shell.run(script, VPROC_QUEUE_URL=queue, AWS_PAGER="")
    daemon.caller.completed(daemon.caller.id_of("archive/holiday.mp4", profile="mp4"))
    [message] = json.loads(shell.run(f"aws sqs receive-message --queue-url {queue}"))["Messages"]
    [work] = work_in(message["Body"])
    assert (work.key, work.profile) == ("archive/holiday.mp4", "audio")


@runs("docs/how-to/upload-from-a-web-app.md#with-fetch", language="js")
def test_an_upload_from_a_web_app(script: str, shell: Shell) -> None:
    """The module uploads, and follows the file to its end."""
    (shell.folder / "vproc.mjs").write_text(script.replace("http://127.0.0.1:8080", shell.api))
    (shell.folder / "page.mjs").write_text("""
        import { readFile } from "node:fs/promises";
        import { follow, upload } from "./vproc.mjs";
        const file = new File([await readFile("holiday.mp4")], "holiday.mp4");
        const token = async () => "any";
        const id = await upload(file, { token, profile: "mp4" });
        let last;
        for await (const seen of follow(id, { token })) last = seen;
        console.log(JSON.stringify(last));
    """)
    done = subprocess.run(["node", "page.mjs"], cwd=shell.folder, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["processing_status"], told["profile"]) == ("completed", "mp4")


def test_the_requests_of_a_mobile_app(daemon: Daemon) -> None:
    """What the page's Swift and Kotlin send: a repeated announcement is the same file, a repeated PUT is 412."""
    video = clip("short.mp4").read_bytes()
    body = json.dumps({"file_name": "IMG_0042.MOV", "size": len(video)}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid4())}
    first, again = (fetch(f"{daemon.api}/upload", "POST", body, headers) for _ in range(2))
    assert (first.status, again.status) == (201, 201)
    assert first.json["file_id"] == again.json["file_id"]
    sent = [fetch(again.json["upload_url"], again.json["method"], video, again.json["headers"]).status for _ in range(2)]
    assert sent == [200, 412]
    assert daemon.caller.completed(first.json["file_id"])["size"] == len(video)


# --- playing, operating ----------------------------------------------------------------------------------------------------


@runs("docs/how-to/private-playback-and-cdn.md#play-tokens")
def test_a_play_token(script: str, shell: Shell, completed: str) -> None:
    """The address answers the master playlist."""
    assert shell.run(script, id=completed).startswith("#EXTM3U\n")


@runs("docs/how-to/audit.md#read-the-audit")
def test_the_audit_is_read(script: str, shell: Shell, daemon: Daemon) -> None:
    """The filter finds what was refused in a daemon's log, and nothing else."""
    assert daemon.caller.ask(f"/upload/{uuid4()}", "DELETE").status == 404
    daemon.caller.announce("a.mp4")
    reader = Shell(shell.folder, shell.api, instead={"serve": f"cat {daemon.folder / 'dev.err'}"})
    entries = [json.loads(line) for line in reader.run(script).splitlines()]
    assert "file.delete" in {entry["action"] for entry in entries}
    assert {entry["result"] for entry in entries} == {"refused"}


@runs("docs/how-to/operate.md#watch")
def test_a_look_at_a_daemon(script: str, shell: Shell) -> None:
    """It is ready, says what it does, and no file failed."""
    told = shell.run(script)
    assert "vproc_jobs_in_progress 0.0" in told


@runs("docs/how-to/operate.md#stop-start-upgrade")
def test_an_upgrade(script: str, shell: Shell) -> None:
    """The schema is up to date, and the doctor finds nothing that keeps a daemon from its start."""
    assert "failure" not in shell.run(script)


@runs("docs/how-to/operate.md#dead-letters")
def test_dead_letters_are_listed(script: str, shell: Shell, daemon: Daemon) -> None:
    """What is no message of ours is a letter, and the last line is its id."""
    shell.run(f"aws sqs send-message --queue-url {daemon.ready['queue_url']} --message-body nonsense")
    until(lambda: shell.run("vproc dlq list --json"), within_s=30, what="a dead letter")
    last = shell.run(script).splitlines()[-1]
    assert shell.run(f"vproc dlq purge --yes --json {last}")


@runs("docs/how-to/operate.md#one-file-that-failed")
def test_one_files_lines_of_the_log(script: str, shell: Shell, daemon: Daemon, completed: str) -> None:
    """The journal's lines of a file tell its attempt to the end."""
    example = "0b9f4c2e-5d1a-4c8e-9a51-7d3f0f6f2a10"
    assert example in script
    reader = Shell(shell.folder, programs={"journalctl": f"cat {daemon.folder / 'dev.err'}"})
    lines = [json.loads(line) for line in reader.run(script.replace(example, completed)).splitlines()]
    assert "job_ended" in {line["event"] for line in lines}


@runs("docs/how-to/operate.md#clean-up")
def test_a_reconciliation_is_looked_at(script: str, shell: Shell) -> None:
    """It would lose nothing: what it says is said, and nothing is done."""
    assert "file_marked_dead" not in shell.run(script)


@runs("docs/how-to/operate.md#back-up")
def test_the_catalog_is_backed_up(script: str, shell: Shell, daemon: Daemon, completed: str) -> None:
    """The copy of a running daemon's catalog knows its files."""
    (shell.folder / "vproc.db").symlink_to(daemon.ready["database_url"].removeprefix("sqlite:///"))
    shell.run(script)
    known = shell.run("sqlite3 vproc-backup.db 'SELECT lower(hex(file_id)), file_id FROM files'")
    assert completed.replace("-", "") in known.replace("-", "")
