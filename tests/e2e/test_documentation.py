"""The documentation, typed in: every block of README.md and docs/ runs here as it stands, or is checked for what it is, or is
listed in `NOT_RUN` with the reason.

Commands run in a `Shell` over one `vproc dev`; only names that are the world's, and what needs another machine, are replaced.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.daemon import Daemon, dev
from tests.support.documents import SHELL, Block, Shell, blocks, blocks_of, calls_in, fault_of, inline, script_of
from tests.support.media import clip
from tests.support.source import PACKAGE, ROOT
from vproc.core.notification import parse_message
from vproc.core.webhook_signing import show_secret, signed_headers

pytestmark = pytest.mark.xdist_group("e2e-documentation")

NOT_RUN = {
    "README.md#how-it-works": "a figure",
    "docs/why/architecture.md#what-may-know-what": "a figure; import-linter holds the code to it",
    "docs/why/delivery.md#the-commit-protocol": "a figure",
    "docs/how-to/run-as-a-service.md#run-it-as-a-service": "root, and a machine whose services it may change",
    "docs/how-to/run-as-a-service.md#run-it-as-a-service:2": "likewise",
}
"""Blocks that do not run, and why. The `vproc` commands in them are read by the command line all the same."""

RUN: set[str] = set()
"""Sections whose blocks a test below runs, with ``/language`` behind them."""

SETTINGS = {"VPROC_RAW_BUCKET": "acme-raw", "VPROC_PROCESSED_BUCKET": "acme-out", "VPROC_QUEUE_URL": "https://sqs.eu-west-1/1/q"}
SHOWN = {"serve": "vproc config", "migrate": "vproc config >/dev/null", "doctor": "vproc config"}
"""Instead of a start far from AWS: are the settings right, and what are they?"""


def runs(*sections: str, language: str | None = None) -> Callable[..., Any]:
    """The test gets the commands of these sections, in this order, as ``script``, and answers for them."""
    kinds = SHELL if language is None else (language,)
    RUN.update(f"{section}/{kind}" for section in sections for kind in kinds)
    scripts = [pytest.param("\n".join(script_of(section, language) for section in sections), id=sections[0])]
    return pytest.mark.parametrize("script", scripts)


def runs_each(*sections: str) -> Callable[..., Any]:
    """Likewise, but each section is a script of its own."""
    RUN.update(f"{section}/{kind}" for section in sections for kind in SHELL)
    return pytest.mark.parametrize("script", [pytest.param(script_of(section), id=section) for section in sections])


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with dev(tmp_path_factory.mktemp("documentation")) as running:
        yield running


@pytest.fixture
def shell(daemon: Daemon, tmp_path: Path) -> Shell:
    """A folder with two videos, and that daemon's address."""
    shutil.copy(clip("short.mp4"), tmp_path / "holiday.mp4")
    return Shell(tmp_path, daemon.api)


# --- all of it -----------------------------------------------------------------------------------------------------------


def test_every_block_runs_or_says_why_not() -> None:
    """A block that nobody runs or checks is told, and so is an entry without its block."""
    keys = {block.key for block in blocks()}
    ran = {block.key for block in blocks() if f"{block.section}/{block.language}" in RUN}
    checked = {block.key for block in blocks() if block.language in CHECKS}
    assert len(keys) > 30
    assert keys - ran - checked - set(NOT_RUN) == set()
    assert set(NOT_RUN) - keys == set()
    assert set(NOT_RUN) & ran == set()
    there = {f"{block.section}/{block.language}" for block in blocks()}
    assert {section.partition("/sh")[0].partition("/console")[0] for section in RUN} - {
        section.partition("/sh")[0].partition("/console")[0] for section in there
    } == set()


def test_every_command_of_ours_is_one() -> None:
    """Each `vproc …` of a block is taken by the command line; each in the prose names a command and options that there are."""
    told = [
        (block.key, words, fault)
        for block in blocks()
        if block.language in SHELL
        for words in calls_in(block.commands)
        if (fault := fault_of(words))
    ]
    told += [(page, words, fault) for page, words in inline() if (fault := fault_of(words, whole=False))]
    assert told == []


def test_what_is_no_command_is_told() -> None:
    """The two above find a wrong option, a command that is not there, and a lack of one."""
    script = "x=$(vproc submit --nowait a.mp4) && .venv/bin/vproc frob\nvproc dlq | cat\nexport A=db://h/vproc\nvproc serve 2>&1"
    calls = list(calls_in(script))
    assert [fault_of(words) is None for words in calls] == [False, False, False, True]
    assert fault_of(["submit", "--nowait", "FILE"], whole=False) == "no option --nowait"
    assert fault_of(["status", "ID"], whole=False) is None


def test_blocks_are_found() -> None:
    """In a list, of a longer fence, the second of a section; one that is never closed is told."""
    text = "# A b\n```sh\nx\n```\n- y\n\n  ```json\n  {}\n  ```\n## C\n````text\n```\n````\n"
    assert [(block.key, block.language) for block in blocks_of(text, "p.md")] == [
        ("p.md#a-b", "sh"),
        ("p.md#a-b:2", "json"),
        ("p.md#c", "text"),
    ]
    with pytest.raises(ValueError, match=r"p\.md:1"):
        list(blocks_of("```sh\nx\n", "p.md"))


def test_every_variable_of_a_block_is_a_setting() -> None:
    """What a block sets is in the reference, which is compared with the code."""
    known = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", (ROOT / "docs/reference/settings.md").read_text()))
    named = {name for block in blocks() for name in re.findall(r"\bVPROC_[A-Z0-9_]+\b", block.text)}
    assert len(named) > 8
    assert named - known == set()


# --- what a block is -----------------------------------------------------------------------------------------------------


def _check_json(text: str, folder: Path) -> None:
    assert json.loads(text)


def _check_toml(text: str, folder: Path) -> None:
    assert tomllib.loads(text)


def _check_python(text: str, folder: Path) -> None:
    assert compile(text, "a page", "exec")


def _check_js(text: str, folder: Path) -> None:
    (folder / "snippet.mjs").write_text(text)
    told = subprocess.run(["node", "--check", "snippet.mjs"], cwd=folder, check=False, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


def _check_html(text: str, folder: Path) -> None:
    opened: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in ("input", "link", "meta", "img", "source"):
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Reader().feed(text)
    assert opened == []


def _check_unit(text: str, folder: Path) -> None:
    """systemd knows every line, as additions to our unit."""
    unit = (ROOT / "systemd" / "vproc.service").read_text()
    (folder / "vproc.service").write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit, flags=re.MULTILINE))
    (folder / "vproc.service.d").mkdir()
    (folder / "vproc.service.d" / "override.conf").write_text(text)
    told = subprocess.run(["systemd-analyze", "verify", folder / "vproc.service"], check=False, capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")


CHECKS: dict[str, Callable[[str, Path], None]] = {
    "json": _check_json,
    "toml": _check_toml,
    "python": _check_python,
    "js": _check_js,
    "html": _check_html,
    "ini": _check_unit,
}


@pytest.mark.parametrize("block", [block for block in blocks() if block.language in CHECKS], ids=lambda block: block.key)
def test_it_is_what_it_says(block: Block, tmp_path: Path) -> None:
    """What a block says it is, it is to who reads that."""
    assert block.text.strip()
    CHECKS[block.language](block.text, tmp_path)


# --- a look --------------------------------------------------------------------------------------------------------------


@runs_each(
    "README.md#two-commands",
    "docs/how-to/try-it.md#see-it-once",
    "docs/how-to/work-on-the-code.md#work-on-the-code",
)
def test_the_goals_of_make_are_there(script: str) -> None:
    """Each `make …` of a page is one that make knows how to do; they are run by themselves elsewhere."""
    calls = [line for line in script.splitlines() if line.strip()]
    assert calls
    for call in calls:
        assert call.startswith("make "), call
        told = subprocess.run(["bash", "-c", f"{call.partition('#')[0]} --dry-run"], cwd=ROOT, check=False, capture_output=True)
        assert told.returncode == 0, (call, told.stderr)


@runs("docs/how-to/try-it.md#keep-it-running")
def test_a_video_by_the_aws_cli(script: str, shell: Shell, daemon: Daemon) -> None:
    """`make dev` as the page has it would do; the AWS CLI puts an object into that daemon's bucket, and it is processed."""
    serving, copying = script.split("\n", 1)
    assert subprocess.run(["make", "--dry-run", *serving.split()[1:]], cwd=ROOT, check=False, capture_output=True).returncode == 0
    shell.run(copying, s3=daemon.ready["s3"], raw_bucket=daemon.ready["raw_bucket"])
    daemon.caller.completed(daemon.caller.id_of("anything/holiday.mp4"))


def test_the_packages_tree_is_the_packages() -> None:
    """Each file and folder of the figure is there, and no folder is left out."""
    figure = script_of("docs/why/architecture.md#architecture", "text")
    named = set(re.findall(r"^  (\w+(?:/|\.py)) ", figure, re.MULTILINE))
    there = {path.name + "/" * path.is_dir() for path in PACKAGE.iterdir() if not path.name.startswith("_")}
    assert named - there == set()
    assert {name for name in there if name.endswith("/")} - named == set()


RUN.add("docs/why/architecture.md#architecture/text")


# --- uploads -------------------------------------------------------------------------------------------------------------


@runs("README.md#the-api-by-curl")
def test_the_session_of_the_readme(script: str, shell: Shell) -> None:
    """Announce, upload by `curl -T`, follow, fetch: and the last answer lists the outputs."""
    *_, answer = shell.run(script).splitlines()
    processed = json.loads(answer[answer.index('{"download_url"') :])
    assert {"hls", "dash", "poster"} <= {output["kind"] for output in processed["outputs"]}


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


# --- settings ------------------------------------------------------------------------------------------------------------


@runs_each(
    "README.md#on-aws",
    "docs/how-to/run-several.md#run-several-daemons",
    "docs/how-to/identity.md#tokens-of-an-issuer",
    "docs/how-to/cognito.md#the-pool",
    "docs/how-to/cognito.md#at-the-pools-own-pages",
)
def test_settings_are_taken(script: str, tmp_path: Path) -> None:
    """What the block sets loads, and is in force."""
    more = SETTINGS | ({"VPROC_COGNITO_USER_POOL_ID": "eu-central-1_A", "VPROC_COGNITO_CLIENT_ID": "a"})
    shell = Shell(tmp_path, instead=SHOWN, settings=more)
    told = shell.run(f"{script}\nvproc config")
    set_here = re.findall(r"\b(VPROC_\w+)=(\S+)", script)
    assert set_here
    for name, value in set_here:
        if "SECRET" not in name and "://vproc:" not in value:
            assert re.search(rf"^{name} *=? *{re.escape(value)}", told, re.MULTILINE), (name, told)


@runs("docs/how-to/own-profiles.md#profiles-of-your-own")
def test_profiles_of_your_own(script: str, tmp_path: Path) -> None:
    """The page's file of profiles passes the page's check, and a fault in it does not."""
    shell = Shell(tmp_path)
    written = script_of("docs/how-to/own-profiles.md#profiles-of-your-own", "toml")
    (tmp_path / "profiles.toml").write_text(written)
    shell.run(script)
    (tmp_path / "profiles.toml").write_text(written.replace("crf", "crv", 1))
    with pytest.raises(AssertionError, match="crv"):
        shell.run(script)


# --- accounts, webhooks, the audit, messages -------------------------------------------------------------------------------


@runs("docs/how-to/cognito.md#give-people-accounts")
def test_accounts_without_aws(script: str, tmp_path: Path) -> None:
    with Shell(tmp_path).running(script, VPROC_PORT="0") as line:
        assert json.loads(line)["cognito_code"]


@runs("docs/how-to/cognito.md#what-is-kept", language="sql")
def test_a_user_is_taken_out_of_the_catalog(script: str, tmp_path: Path) -> None:
    Shell(tmp_path, settings=SETTINGS).run("vproc migrate")
    with sqlite3.connect(tmp_path / "vproc.db") as catalog:
        columns = [row[1] for row in catalog.execute("PRAGMA table_info(users)") if row[3]]
        catalog.execute(f"INSERT INTO users ({','.join(columns)}) VALUES ({','.join('?' * len(columns))})", ["…"] * len(columns))
        catalog.executescript(script)
        assert catalog.execute("SELECT count(*) FROM users").fetchone() == (0,)
    catalog.close()


@runs("docs/how-to/audit.md#read-the-audit")
def test_the_audit_is_read(script: str, shell: Shell, daemon: Daemon) -> None:
    """The filter finds what was refused in a daemon's log, and nothing else."""
    assert daemon.caller.ask(f"/upload/{uuid4()}", "DELETE").status == 404
    daemon.caller.announce("a.mp4")
    reader = Shell(shell.folder, shell.api, instead={"serve": f"cat {daemon.folder / 'dev.err'}"})
    entries = [json.loads(line) for line in reader.run(script).splitlines()]
    assert "file.delete" in {entry["action"] for entry in entries}
    assert {entry["result"] for entry in entries} == {"refused"}


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
    envelope = parse_message(script_of("docs/reference/messages.md#direct-jobs", "json"), raw_bucket="acme-video-raw")
    assert "archive/1999/tape 12.avi" in repr(envelope)


# --- AWS -----------------------------------------------------------------------------------------------------------------

_ON_AWS = "docs/how-to/run-on-aws.md#"


@runs(*(_ON_AWS + section for section in ("run-on-aws", "prove-it", "run", "take-it-away")))
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
        export AWS_REGION=eu-west-1 AWS_DEFAULT_REGION=eu-west-1
        printf x >clip.mp4
        aws --endpoint-url {moto_url} s3 cp --quiet clip.mp4 "s3://{name}-raw/a clip.mp4"
        aws --endpoint-url {moto_url} sqs receive-message --queue-url {queue} --max-number-of-messages 10
        """
    )
    bodies = [json.loads(message["Body"]) for message in json.loads(received)["Messages"]]
    assert [record["s3"]["object"]["key"] for body in bodies for record in body.get("Records", [])] == ["a+clip.mp4"]
