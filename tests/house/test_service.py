"""The service unit as systemd itself judges it, and that nothing it names is missing."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

from tests.support.source import ROOT
from vproc.settings import Settings, variable_of

UNIT = ROOT / "systemd" / "vproc.service"
MOST_EXPOSURE = 1.5


def test_systemd_reads_every_line(tmp_path: Path) -> None:
    """It exits with 0 for what it does not know, so that any word of it counts. The program alone is not installed here."""
    program = shutil.which("true")
    text = re.sub(r"^ExecStart=\S+", f"ExecStart={program}", UNIT.read_text(), flags=re.MULTILINE)
    unit = tmp_path / UNIT.name
    unit.write_text(text)
    told = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
    unit.write_text(text.replace("KillMode=", "KilMode="))
    assert (
        "KilMode" in subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False).stderr
    )


def test_it_is_exposed_to_little() -> None:
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"Overall exposure level for vproc\.service: ([\d.]+)", told)
    assert found is not None
    assert float(found[1]) <= MOST_EXPOSURE, told


def _service() -> dict[str, str]:
    """The section's lines; of one that stands several times, the last."""
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNIT)
    return dict(unit["Service"])


def test_a_stop_is_a_drain_and_a_wrong_setting_is_the_end() -> None:
    service = _service()
    assert (service["Type"], service["KillMode"], service["OOMPolicy"]) == ("notify", "mixed", "continue")
    assert service["RestartPreventExitStatus"] == "78"
    assert float(service["TimeoutStopSec"]) > Settings.model_fields["drain_timeout_s"].default + 30
    assert float(service["WatchdogSec"]) > 0


def test_the_environment_file_names_settings_that_there_are() -> None:
    known = {variable_of(name) for name in Settings.model_fields} | {"AWS_REGION"}
    named = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (UNIT.parent / "vproc.env").read_text(), re.MULTILINE))
    assert named <= known
    assert {"VPROC_RAW_BUCKET", "VPROC_PROCESSED_BUCKET", "VPROC_QUEUE_URL"} <= named
    set_by_unit = set(re.findall(r"\b(VPROC_\w+)=", _service()["Environment"]))
    assert set_by_unit <= known


def test_the_installer_is_sound() -> None:
    told = subprocess.run(["shellcheck", str(UNIT.parent / "install")], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "")
