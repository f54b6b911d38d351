"""What people do wrong, through the installed command against a running `vproc dev`: one line, which names what is wrong and what
to do, and the exit code that scripts go by."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from importlib.resources import files
from pathlib import Path

import pytest

from tests.support.caller import Caller
from tests.support.certificates import self_signed
from tests.support.cluster import until
from tests.support.daemon import dev, on_its_own_disk, run

GONE = "http://127.0.0.1:1"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
_MIGHT = "-dac_override,-dac_read_search"
# Root without its right to read and write whatever it likes.
ANYBODY = ("setpriv", f"--inh-caps={_MIGHT}", f"--bounding-set={_MIGHT}") if os.geteuid() == 0 else ()


class Silent(SimpleHTTPRequestHandler):
    """A web server that is not vproc."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(folder: Path, certificate: Path | None = None) -> Iterator[str]:
    """Its address; by TLS with a certificate."""
    server = HTTPServer(("127.0.0.1", 0), partial(Silent, directory=folder))
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class World:
    """A daemon and what stands beside it. ``names`` are what words in braces stand for."""

    folder: Path
    settings: dict[str, str]
    names: dict[str, str]

    def filled(self, word: str) -> str:
        """A word with its names filled in."""
        return word.format(**self.names)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("errors")
    made_files(folder)
    with (
        dev(folder, VPROC_AUTH="api-key", VPROC_WORKER_CONCURRENCY="1", VPROC_DRAIN_TIMEOUT_S="0") as daemon,
        serving(folder) as foreign,
        serving(folder, self_signed(folder)) as untrusted,
    ):
        key = daemon.ready["api_key"]
        settings = {
            **{name: value for name, value in daemon.settings.items() if not name.startswith("AWS_")},
            "VPROC_API_URL": daemon.api,
            "VPROC_API_KEY": key,
            "VPROC_DATABASE_URL": daemon.ready["database_url"],
            "XDG_STATE_HOME": str(folder / "state"),
            # No credentials of this machine's: neither a file's nor an instance's.
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_REGION": "us-east-1",
        }
        caller = Caller(daemon.api, key)
        names = {
            "api": daemon.api,
            "tls": daemon.api.replace("http:", "https:"),
            "foreign": foreign,
            "untrusted": untrusted,
            "s3": daemon.ready["s3"],
            "odd": "\udcff.mp4",
            "folder": str(folder),
            "completed": caller.completed(caller.upload(folder / "clip.mp4", profile="mp4"))["file_id"],
            "pending": str(caller.announce("later.mp4")["file_id"]),
            "failed": caller.upload(folder / "broken.mp4"),
        }
        caller.end_of(names["failed"])
        names["running"] = caller.upload(folder / "long.mp4", profile="abr")
        until(lambda: caller.status(names["running"])["stage"] == "encode", within_s=60, what="the long job is encoded")
        yield World(folder, settings, names)
        caller.ask(f"/upload/{names['running']}/cancel", "POST")
        caller.end_of(names["running"])


def made_files(folder: Path) -> None:
    """What users give: good, empty, broken, unreadable, long."""
    clip = files("vproc.cli").joinpath("status.mp4").read_bytes()
    for name in ("clip.mp4", "unreadable.mp4", "\udcff.mp4"):
        (folder / name).write_bytes(clip)
    (folder / "unreadable.mp4").chmod(0)
    (folder / "broken.mp4").write_bytes(b"no video" * 100)
    (folder / "empty.mp4").touch()
    (folder / "profiles.toml").write_text("nonsense = 1\n[profiles]\n")
    for name in ("films", "readonly"):
        (folder / name).mkdir()
    (folder / "readonly").chmod(0o555)
    with (folder / "large.mp4").open("wb") as file:
        file.truncate(80 * 1024 * 1024)
    source = ("-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30:duration=120")
    encode = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    subprocess.run(["ffmpeg", "-v", "error", *source, *encode, str(folder / "long.mp4")], check=True)


@dataclass(frozen=True)
class Wrong:
    """One mistake: what is typed, how it ends, and what the line holds, as regular expressions."""

    typed: str
    says: tuple[str, ...]
    code: int = 1
    settings: dict[str, str] = field(default_factory=dict)
    within: tuple[str, ...] = ()


AWS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
EMBEDDED = {**AWS, "AWS_ENDPOINT_URL": "{s3}"}
AWAY = {**AWS, "AWS_ENDPOINT_URL": GONE}
WRONG = {
    # The running job goes first, while it runs.
    "retry of a running file": Wrong("retry {running}", ("{running}", "failed or cancelled", "this one is processing")),
    "delete of a running file": Wrong("delete {running} --yes", ("{running}", "[Cc]ancel")),
    "download of a running file": Wrong("download {running}", ("Current status: processing", "`vproc status {running}`")),
    "no such file": Wrong("submit none.mp4", (r"none\.mp4: no such file",)),
    "an empty file": Wrong("submit empty.mp4", (r"empty\.mp4 is empty: there is nothing to upload",)),
    "a name that is not UTF-8": Wrong("submit {odd}", (r"\\udcff\.mp4: its name is not UTF-8: rename it",)),
    "a name without a suffix": Wrong("submit profiles.toml", (r"profiles\.toml: file_name: takes names that end in", r"\.mp4")),
    "a folder": Wrong("submit films", ("films is a folder: name its files, as films/",)),
    "an unreadable file": Wrong("submit unreadable.mp4", (r"cannot read unreadable\.mp4: Permission denied",), within=ANYBODY),
    "a pattern without a match": Wrong("submit *.mkv", (r"\*\.mkv: no file matches",)),
    "an address of the web": Wrong("submit https://h/x.mp4?sig=s3cr3t", ("https://h/x.mp4: takes files",)),
    "a bucket without a key": Wrong("submit s3://films", ("s3://films: takes s3://BUCKET/KEY",)),
    "s3 without credentials": Wrong("submit s3://films/a.mp4", ("s3://films/a.mp4: cannot reach AWS", "AWS_PROFILE")),
    "s3 without the bucket": Wrong("submit s3://nowhere-at-all/a.mp4", ("s3://nowhere-at-all/a.mp4",), settings=EMBEDDED),
    "s3 that is away": Wrong("submit s3://films/a.mp4", ("s3://films/a.mp4", "AWS_ENDPOINT_URL"), settings=AWAY),
    "an unknown profile": Wrong("submit clip.mp4 --profile ab", (r"clip\.mp4: ", r"no profile 'ab' \(did you mean abr\?\)")),
    "an unknown profile of a large file": Wrong("submit large.mp4 --profile hvec", (r"large\.mp4: ", "did you mean hevc")),
    "an API that is away": Wrong("list --api " + GONE, (f"no answer from {GONE}", "`vproc serve`", "VPROC_API_URL")),
    "an API that is away for a large file": Wrong("submit large.mp4 --api " + GONE, (r"large\.mp4: no answer", "VPROC_API_URL")),
    "an address that is none": Wrong("list --api localhost:8080", ("localhost:8080 is no address of an API", "http://HOST:PORT")),
    "half an address": Wrong("list --api http://[::1", (r"http://\[::1 is no address of an API",)),
    "a port that is none": Wrong("list --api http://h:99999", ("http://h:99999 is no address of an API",)),
    "an address with a password": Wrong("list --api http://u:s3cr3t@h", ("no user or password, as that of h does", "--api-key")),
    "a host that is not there": Wrong("list --api http://vproc.invalid", ("no answer from http://vproc.invalid",)),
    "another server": Wrong("list --api {foreign}", ("{foreign} answered 404", "is this vproc's API", "--api")),
    "another server for an upload": Wrong("submit clip.mp4 --api {foreign}", (r"clip\.mp4", "501", "is this vproc's API")),
    "TLS to a server without it": Wrong("list --api {tls}", ("{tls} answers, but not by TLS", "http://, without s")),
    "a certificate of nobody's": Wrong("list --api {untrusted}", ("certificate is not trusted", "self.signed", "SSL_CERT_FILE")),
    "no key": Wrong("list", ("API key", "vproc keys create", "VPROC_API_KEY"), settings={"VPROC_API_KEY": ""}),
    "a wrong key": Wrong("list --api-key vproc_wrong", ("unknown or revoked", "--api-key or VPROC_API_KEY")),
    "a key of two lines": Wrong("list", ("the API key holds a line break", "--api-key"), settings={"VPROC_API_KEY": "a\nb"}),
    "an unknown ID": Wrong("status " + UNKNOWN, (UNKNOWN, "no such file", "`vproc list`")),
    "an unknown ID to watch": Wrong("watch " + UNKNOWN, (UNKNOWN, "no such file", "`vproc list`")),
    "an unknown ID to download": Wrong("download " + UNKNOWN, (UNKNOWN, "no such file", "`vproc list`")),
    "cancel of a completed file": Wrong("cancel {completed}", ("{completed} is completed", "only what is not finished")),
    "retry of a completed file": Wrong("retry {completed}", ("{completed}", "this one is completed")),
    "retry of a pending file": Wrong("retry {pending}", ("{pending}", "this one is pending")),
    "download before the end": Wrong("download {pending}", ("Current status: pending", "`vproc status {pending}`")),
    "download of a failed file": Wrong("download {failed}", ("Current status: failed", "`vproc status {failed}`")),
    "an output that there is not": Wrong("download {completed} --only subtitles", ("no output is subtitles: there are", "video")),
    "a full disk": Wrong(
        "download {completed} --only video --to {folder}/disk",
        ("cannot write", "No space left on device", "free some and run it again"),
        within=tuple(on_its_own_disk(Path("{folder}/disk"), "size=4k")),
    ),
    "a folder that is not one's own": Wrong(
        "download {completed} --to readonly", ("cannot write readonly/", "Permission denied", "another folder"), within=ANYBODY
    ),
    "a cursor that is none": Wrong("list --cursor nonsense", ("cursor: takes the cursor of the page before",)),
    "a setting that is wrong": Wrong("config", ("VPROC_PORT: takes a whole number", "'x'"), 78, {"VPROC_PORT": "x"}),
    "a setting that is missing": Wrong("serve", ("VPROC_RAW_BUCKET: not set",), 78, {"VPROC_RAW_BUCKET": ""}),
    "profiles that are not there": Wrong("profiles --check none.toml", ("none.toml", "No such file"), 78),
    "a video that is none to plan": Wrong("profiles --plan empty.mp4", (r"empty\.mp4: the file is empty",)),
    "a profile that is none to plan": Wrong("profiles --plan clip.mp4 --profile mp5", ("'mp5'", "did you mean mp4")),
    "a database that is away": Wrong(
        "migrate",
        ("VPROC_DATABASE_URL: cannot use u@127.0.0.1:1/v", "start it"),
        75,
        {"VPROC_DATABASE_URL": "postgresql://u:pw@127.0.0.1:1/v"},
    ),
    "a database without its folder": Wrong(
        "keys list",
        ("VPROC_DATABASE_URL: the directory /nowhere does not exist",),
        78,
        {"VPROC_DATABASE_URL": "sqlite:////nowhere/v.db"},
    ),
    "a database of another kind": Wrong(
        "keys list", ("VPROC_DATABASE_URL: takes sqlite:///PATH or postgresql://",), 78, {"VPROC_DATABASE_URL": "mysql://h/v"}
    ),
    "a queue that is away": Wrong("dlq list", ("cannot reach the queue", "AWS_ENDPOINT_URL"), 75, {**AWAY, "VPROC_DLQ_URL": ""}),
    "no queue": Wrong("dlq list", ("VPROC_QUEUE_URL: not set",), 78, {"VPROC_QUEUE_URL": ""}),
    "no such letter": Wrong("dlq show none", ("no dead letter 'none'", "`vproc dlq list`"), settings=EMBEDDED),
    "a key that there is not": Wrong("keys revoke none", ("no key none that stands", "`vproc keys list`")),
    "an event that there is not": Wrong("webhooks redeliver none", ("no event none", "`vproc webhooks list`")),
    "no account": Wrong("aws status --name acme", ("no credentials were found", "AWS_PROFILE"), 75),
    "no daemon for the health check": Wrong("healthcheck --api " + GONE, (f"no answer from {GONE}", "`vproc serve`")),
    "a health check of another server": Wrong("healthcheck --api {foreign}", ("{foreign}/healthz answered 404", "VPROC_API_URL")),
    "a port that is taken": Wrong("dev --port {port} --data {folder}/taken", ("VPROC_PORT: port {port}", "in use"), 78),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_is_one_line_with_the_remedy_and_its_exit_code(world: World, name: str) -> None:
    wrong = WRONG[name]
    world.names.setdefault("port", world.names["api"].rpartition(":")[2])
    (world.folder / "disk").mkdir(exist_ok=True)
    ended = run(
        world.folder,
        *map(world.filled, wrong.typed.split()),
        within=[world.filled(word) for word in wrong.within],
        **world.settings | {variable: world.filled(value) for variable, value in wrong.settings.items()},
    )
    assert ended.code == wrong.code, ended
    assert len(ended.faults) == 1, ended.faults
    assert ended.faults[0].startswith("vproc: ")
    for pattern in wrong.says:
        assert re.search(world.filled(pattern), ended.faults[0]), ended.faults[0]
    assert ended.stdout == ""
    assert "s3cr3t" not in ended.stderr
    assert world.settings["VPROC_API_KEY"] not in ended.stderr


def test_one_source_that_cannot_be_had_does_not_keep_the_others(world: World) -> None:
    """Whatever is wrong with it; the others are uploaded, and the exit code tells."""
    words = ("none.mp4", "s3://films/a.mp4", "*.mkv", "clip.mp4")
    ended = run(world.folder, "submit", *words, "--profile", "mp4", "--quiet", **world.settings)
    assert (ended.code, len(ended.stdout.splitlines())) == (1, 1)
    assert {line.split()[1].rstrip(":") for line in ended.faults} == {"none.mp4", "s3://films/a.mp4", "*.mkv"}


def test_wrong_usage_is_clicks_own_and_exit_2(world: World) -> None:
    """Its last line names what is wrong."""
    for words, said in (
        ("download {completed} --to clip.mp4", "Directory 'clip.mp4' is a file"),
        ("status nonsense", "'nonsense' is not a valid UUID"),
        ("delete {completed}", "give --yes where nobody can be asked"),
        ("submit -", "--name goes with -"),
        ("list --statos failed", "No such option '--statos'. Did you mean '--status'?"),
    ):
        ended = run(world.folder, *map(world.filled, words.split()), **world.settings)
        assert ended.code == 2
        assert said in ended.faults[-1]


def test_json_of_a_name_that_is_not_utf_8_is_json(world: World) -> None:
    """The line is UTF-8 all the same."""
    ended = run(world.folder, "submit", world.names["odd"], "--json", **world.settings)
    assert json.loads(ended.stdout)["source"] == world.names["odd"]
    assert ended.stdout.isascii()
