"""Completion as a shell asks for it: the script that bash runs, and the words that it gets."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cli.test_processes import ROOT, run
from tests.support.fake_api import FakeApi, status_body

COMMANDS = ["status", "watch", "cancel", "retry", "delete", "download"]


def completed(*words: str, **environment: str) -> list[str]:
    """What bash is given for the last word: ``type,value``."""
    line = " ".join(("vproc", *words))
    asked = {"_VPROC_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    code, stdout, stderr = run(**(asked | environment))
    assert (code, stderr) == (0, "")
    return stdout.split()


def test_bash_runs_the_script_and_completes(tmp_path: Path) -> None:
    """In a real bash: the script is loaded as the help says, the function asked as the shell asks it."""
    bash = shutil.which("bash")
    assert bash is not None
    (tmp_path / "vproc").write_text(f'#!{bash}\nexec "{sys.executable}" -m vproc "$@"\n')
    (tmp_path / "vproc").chmod(0o755)
    script = (
        'eval "$(vproc completion bash)"; COMP_WORDS=(vproc dl); COMP_CWORD=1; _vproc_completion vproc; echo "${COMPREPLY[*]}"\n'
        "COMP_WORDS=(vproc dlq re); COMP_CWORD=2; COMPREPLY=(); _vproc_completion vproc; echo ${COMPREPLY[*]}; complete -p vproc"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([bash, "--norc", "-c", script], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["dlq", "redrive", "complete -o nosort -F _vproc_completion vproc"]


@pytest.mark.parametrize(("shell", "said"), [("zsh", "#compdef vproc"), ("fish", "complete --no-files --command vproc")])
def test_other_shells_have_theirs(shell: str, said: str) -> None:
    """And one that is none is refused with the list."""
    assert said in run("completion", shell)[1]
    code, _, stderr = run("completion", "tcsh")
    assert code == 2
    assert "'bash', 'zsh', 'fish'" in stderr


def test_profiles_are_completed_with_ones_own(tmp_path: Path) -> None:
    """A file that is wrong takes nothing away but its own."""
    file = tmp_path / "profiles.toml"
    file.write_text('[profiles.holiday]\npackaging = "copy"\n')
    assert completed("submit", "--profile", "h", VPROC_PROFILES_FILE=str(file)) == [
        *("plain,h264", "plain,hevc", "plain,hdr", "plain,holiday")
    ]
    assert "plain,holiday" in completed("profiles", "--check", str(file), "--profile", "ho")
    file.write_text("[")
    assert completed("profiles", "--profile", "mp", VPROC_PROFILES_FILE=str(file)) == ["plain,mp4"]


def test_files_are_left_to_the_shell() -> None:
    """It knows names with spaces, and folders."""
    assert completed("submit", "hol") == ["file,hol"]


def test_ids_are_those_of_the_api(api: FakeApi) -> None:
    """Of the one that the command would ask: of the line's option before the environment."""
    known = [number + str(uuid4())[1:] for number in ("1", "2")]
    api.uploads = [status_body(file_id, "completed") for file_id in known]
    asked = completed("status", "--api", api.url, known[0][:3], VPROC_API_URL="http://127.0.0.1:9")
    assert asked == [f"plain,{known[0]}"]
    assert sorted(completed("download", "", VPROC_API_URL=api.url)) == sorted(f"plain,{file_id}" for file_id in known)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_api_that_is_away_completes_nothing(command: str) -> None:
    """And says nothing: the line that is typed stays whole."""
    assert completed(command, "", VPROC_API_URL="http://127.0.0.1:9") == []
