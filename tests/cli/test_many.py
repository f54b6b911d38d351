"""Commands about several files at once: watch, status, cancel, retry, delete, list, download."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner, Result

import vproc
from tests.support.fake_api import FakeApi, status_body
from vproc.cli import cli
from vproc.cli.bars import widths_for

ROOT = Path(vproc.__file__).parents[1]


def run(api: FakeApi, *words: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, list(map(str, words)), env={"VPROC_API_URL": api.url}, input=stdin)


def on_terminal(api: FakeApi, *words: object, **variables: str) -> tuple[int, str, str]:
    """The command as a process whose standard error is a terminal; its exit code, its standard output, and what the terminal was
    sent."""
    ours, theirs = pty.openpty()
    usual = {"PYTHONPATH": str(ROOT), "VPROC_API_URL": api.url, "TERM": "xterm-256color", "COLUMNS": "120"}
    environment = {**os.environ, **usual, **variables}
    argv = [sys.executable, "-m", "vproc", *map(str, words)]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:
            pass  # how Linux tells the end of a terminal
        stdout, _ = process.communicate(timeout=60)
    os.close(ours)
    return process.returncode, stdout.decode(), shown.decode()


def rows_at_the_end(shown: str) -> list[str]:
    """The rows as they stand in the end, as a person sees them: what was drawn last, without colours."""
    last = re.split(r"\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*", shown)[-1]
    plain = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", last)
    return [line.strip("\r") for line in plain.split("\n") if line.strip()]


def of(file_id: UUID, status: str, progress: float, **more: object) -> dict[str, object]:
    return status_body(file_id, status, progress, **{"file_name": f"{str(file_id)[:4]}.mp4", **more})


def test_watch_of_several_ends_when_all_have(api: FakeApi) -> None:
    """Lines name their file; the ends are told on standard output; one that failed is exit 1."""
    one, two = uuid4(), uuid4()
    api.streams_of = {
        str(one): [of(one, "processing", 0.5, stage="encode"), of(one, "completed", 1.0)],
        str(two): [
            of(two, "processing", 0.3, stage="probe"),
            of(two, "failed", 0.3, error={"code": "timeout", "detail": "slow"}),
        ],
    }
    result = run(api, "watch", one, two)
    assert result.exit_code == 1
    assert {line.split()[0]: line.split()[1] for line in result.stdout.splitlines()} == {
        str(one): "completed",
        str(two): "failed",
    }
    assert f"{str(one)[:4]}.mp4: encode 50%" in result.stderr
    assert "timeout: slow" in result.stderr


def test_watch_as_json_is_a_line_for_each_change_of_each(api: FakeApi) -> None:
    one, two = uuid4(), uuid4()
    events = {str(found): [of(found, "uploaded", 0.0), of(found, "completed", 1.0)] for found in (one, two)}
    api.streams_of = dict(events)
    result = run(api, "watch", one, two, "--json")
    assert result.exit_code == 0
    told = [json.loads(line) for line in result.stdout.splitlines()]
    for file_id, steps in events.items():
        assert [line for line in told if line["file_id"] == file_id] == steps
    assert len(told) == 4


def test_watch_without_an_id_is_all_that_are_on_their_way(api: FakeApi) -> None:
    """They are asked for by their states; where there is none, that is said, and no failure."""
    result = run(api, "watch")
    assert (result.exit_code, result.stderr) == (0, "nothing is on its way\n")
    assert {query for _, query, _ in api.asked} == {
        f"/uploads?status={status}&limit=100" for status in ("processing", "uploaded", "pending")
    }
    api.uploads = [of(api.file_id, "processing", 0.1)]
    api.streams_of = {str(api.file_id): [of(api.file_id, "completed", 1.0)]}
    result = run(api, "watch")
    assert result.exit_code == 0
    assert result.stdout.split()[:2] == [str(api.file_id), "completed"]


def test_watch_on_a_terminal_is_a_table(api: FakeApi) -> None:
    """A row for each file: id, name, stage, speed and time left."""
    one, two = uuid4(), uuid4()
    api.streams_of = {
        str(one): [of(one, "processing", 0.5, stage="encode", speed=1.5, eta_s=61), of(one, "completed", 1.0)],
        str(two): [of(two, "uploaded", 0.0), of(two, "completed", 1.0)],
    }
    code, _, shown = on_terminal(api, "watch", one, two)
    assert code == 0
    for words in (str(one)[:8], str(two)[:8], f"{str(one)[:4]}.mp4", "100%", "completed", "\x1b["):
        assert words in shown


def test_submit_on_a_terminal_shows_a_bar_for_each_file(api: FakeApi, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"x" * 1000)
    code, stdout, shown = on_terminal(api, "submit", "a.mp4", "b.mp4")
    assert (code, stdout) == (0, f"{api.file_id}\n" * 2)
    rows = rows_at_the_end(shown)
    assert sorted(row.split()[1] for row in rows) == ["a.mp4", "b.mp4"]
    assert all("100%" in row for row in rows)
    assert str(api.file_id) not in shown


@pytest.mark.parametrize("columns", [36, 40, 76, 80, 200])
@pytest.mark.parametrize("words", [["submit", "--wait"], ["watch"]])
def test_rows_fit_in_narrow_and_wide_terminals(api: FakeApi, tmp_path: Path, columns: int, words: list[str]) -> None:
    """Each is one line that tells how far it is, however long the name; the cursor is given back."""
    name = f"{'a long name of ' * 4}film.mp4"
    (tmp_path / name).write_bytes(b"x" * 1000)
    (tmp_path / "b.mp4").write_bytes(b"x" * 1000)
    steps = [of(api.file_id, "processing", 0.5, file_name=name, stage="encode", speed=1.5, eta_s=61)]
    api.statuses = [of(api.file_id, "completed", 1.0, file_name=name)]
    api.streams_of = {str(api.file_id): [*steps, *api.statuses]}
    given = [name, "b.mp4"] if words[0] == "submit" else [api.file_id]
    code, stdout, shown = on_terminal(api, *words, *given, COLUMNS=str(columns))
    assert (code, stdout.split()[:2]) == (0, [str(api.file_id), "completed"])
    rows = rows_at_the_end(shown)
    assert len(rows) >= len(given)
    assert all(len(row) <= columns and "100%" in row for row in rows), rows
    assert shown.rstrip().endswith("\x1b[?25h")


def test_without_colours_the_bars_are_plain(api: FakeApi, tmp_path: Path) -> None:
    """`NO_COLOR` (no-color.org): the cursor still moves."""
    (tmp_path / "a.mp4").write_bytes(b"x" * 1000)
    code, _, shown = on_terminal(api, "submit", "a.mp4", NO_COLOR="1")
    assert code == 0
    assert "100%" in rows_at_the_end(shown)[-1]
    assert not re.search(r"\x1b\[[\d;]*m", shown)


def test_a_dumb_terminal_has_lines(api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x" * 1000)
    code, stdout, shown = on_terminal(api, "submit", "a.mp4", TERM="dumb")
    assert (code, stdout) == (0, f"{api.file_id}\n")
    assert "\x1b" not in shown
    assert shown.splitlines() == ["uploading a.mp4 (1000 bytes)", "uploaded 100%"]


def test_what_is_shown_always_fits() -> None:
    """On any terminal of 36 columns or more, with an id before it or not."""
    for cells in range(36, 300):
        for lead in (0, 8):
            widths = widths_for(cells, lead=lead)
            shown = [width for width in (lead, widths.name, widths.bar, 4, widths.elapsed, widths.note) if width]
            assert sum(shown) + len(shown) - 1 <= cells
            assert min(widths.name, widths.bar, widths.note) > 0


@pytest.mark.parametrize("command", ["status", "cancel", "retry", "delete"])
def test_one_file_at_fault_does_not_keep_the_others(api: FakeApi, command: str) -> None:
    """It has its line with its id, and the exit code is 1."""
    good, bad = uuid4(), uuid4()
    api.statuses = [status_body(good, "cancelled")]
    api.problems_of = {str(bad): (404, "There is no such file.")}
    yes = ["--yes"] if command == "delete" else []
    result = run(api, command, bad, good, *yes)
    assert result.exit_code == 1
    assert result.stderr == f"vproc: {bad}: There is no such file. `vproc list` shows yours.\n"
    assert result.stdout.startswith(str(good))


def test_delete_asks_and_says_so_where_nobody_can_be_asked(api: FakeApi) -> None:
    """Nothing is deleted then."""
    result = run(api, "delete", api.file_id)
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert api.asked == []
    result = run(api, "delete", api.file_id, "--yes", "--json")
    assert json.loads(result.stdout) == {"file_id": str(api.file_id), "deleted": True}
    assert [(method, path) for method, path, _ in api.asked] == [("DELETE", f"/upload/{api.file_id}")]


def test_list_searches_and_goes_on_where_it_ended(api: FakeApi) -> None:
    """The place where it ended stands on standard error; a search looks at every page."""
    api.uploads = [
        status_body(uuid4(), "completed", file_name=f"{'Ferien' if n % 100 == 7 else 'x'} {n}.mp4") for n in range(250)
    ]
    result = run(api, "list", "--limit", 150, "--json")
    assert [json.loads(line) for line in result.stdout.splitlines()] == api.uploads[:150]
    assert result.stderr == "there are more: --cursor 150\n"
    result = run(api, "list", "--limit", 150, "--cursor", 150, "--json")
    assert [json.loads(line) for line in result.stdout.splitlines()] == api.uploads[150:]
    assert result.stderr == ""
    result = run(api, "list", "--search", "FERIEN")
    assert [line.split(maxsplit=3)[3] for line in result.stdout.splitlines()] == [
        "Ferien 7.mp4",
        "Ferien 107.mp4",
        "Ferien 207.mp4",
    ]


def test_download_of_what_is_chosen(api: FakeApi, tmp_path: Path) -> None:
    """By kind or by a pattern of names; `hls` is all that plays it; what there is not is said with what there is."""
    for name, kind in (("master.m3u8", "hls"), ("r/v.m3u8", "hls_media"), ("r/1.m4s", "segment"), ("poster.jpg", "poster")):
        api.add_object(f"{api.file_id}/{name}", name.encode(), kind)

    def saved(*only: str) -> list[str]:
        words = [word for what in only for word in ("--only", what)]
        result = run(api, "download", api.file_id, "--to", tmp_path / "-".join(only).replace("*", ""), "--json", *words)
        assert result.exit_code == 0, result.stderr
        return sorted(json.loads(line)["key"].partition("/")[2] for line in result.stdout.splitlines())

    assert saved("poster") == ["poster.jpg"]
    assert saved("hls") == ["master.m3u8", "r/1.m4s", "r/v.m3u8"]
    assert saved("*.m3u8", "poster") == ["master.m3u8", "poster.jpg", "r/v.m3u8"]
    result = run(api, "download", api.file_id, "--only", "audio")
    assert result.exit_code == 1
    assert result.stderr == f"vproc: {api.file_id}: no output is audio: there are hls, hls_media, poster, segment\n"


def test_what_is_corrupted_is_fetched_once_more_and_then_named(api: FakeApi, tmp_path: Path) -> None:
    key = f"{api.file_id}/r/v.mp4"
    api.add_object(key, b"right")
    api.objects[key] = b"wrong"
    result = run(api, "download", api.file_id, "--to", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == f"vproc: {key}: what was downloaded is not what was made (its checksum differs)\n"
    assert [asked for asked, _ in api.gets] == [key, key]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
