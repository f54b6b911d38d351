"""The files that make a container: what a linter says of them, and that they agree with the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.source import ROOT
from vproc.aws import provision
from vproc.settings import Settings

COMPOSE = ROOT / "compose.yaml"
HADOLINT = str(Path(sys.executable).parent / "hadolint")
IMPORTED_NAME = re.compile(r"create_client\(\s*\"([a-z0-9-]+)\"")


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def test_the_linter_finds_nothing() -> None:
    """And does find what is wrong."""
    assert subprocess.run([HADOLINT, str(ROOT / "Dockerfile")], check=False, capture_output=True, text=True).stdout == ""
    worse = (ROOT / "Dockerfile").read_text().replace("debian:trixie-slim", "debian:latest")
    found = subprocess.run([HADOLINT, "-"], input=worse, check=False, capture_output=True, text=True).stdout
    assert "DL3007" in found


def test_every_service_that_is_asked_stays_in_the_image() -> None:
    """And in the one file: `scripts/trim-image` drops the SDK's descriptions of all others."""
    tree = ast.parse((ROOT / "scripts/trim-image").read_text())
    [kept] = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "SERVICES"
    ]
    asked = {name for file in (ROOT / "vproc").rglob("*.py") for name in IMPORTED_NAME.findall(file.read_text())}
    assert {"s3", "sqs", "cognito-idp"} <= asked
    assert asked | set(provision._SERVICES) <= kept


def test_settings_of_the_image_and_of_compose_exist() -> None:
    """A misspelt variable would be ignored without a word."""
    known = set(_variables()) | {"VPROC_DEV_AUTH"}
    image = set(re.findall(r"\b(VPROC_\w+)=", (ROOT / "Dockerfile").read_text()))
    composed = {name for service in services().values() for name in service.get("environment", {}) if name.startswith("VPROC_")}
    assert image
    assert composed
    assert image | composed <= known


def _variables() -> Iterator[str]:
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        for choice in getattr(alias, "choices", [alias]):
            yield str(choice).upper()


def test_compose_publishes_on_this_machine_alone() -> None:
    """It asks nobody who they are."""
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert len(ports) >= 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_compose_mounts_is_there() -> None:
    """Folders and files of the tree, by their place in it."""
    mounted = [volume.partition(":")[0] for service in services().values() for volume in service.get("volumes", [])]
    files = [ROOT / path for path in mounted if path.startswith("./")]
    assert len(files) >= 3
    assert all(path.exists() for path in files)
