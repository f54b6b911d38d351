"""Where the engine is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from vproc.containers import address
from vproc.containers.address import engine_socket
from vproc.errors import ConfigError


def test_docker_host_names_it() -> None:
    assert engine_socket({"DOCKER_HOST": " unix:///run/user/7/docker.sock "}) == Path("/run/user/7/docker.sock")


@pytest.mark.parametrize("elsewhere", ["tcp://10.0.0.1:2375", "ssh://host", "unix://relative.sock", "/var/run/docker.sock"])
def test_an_engine_elsewhere_is_refused(elsewhere: str) -> None:
    """Its containers could not be given a directory of this machine."""
    with pytest.raises(ConfigError, match=r"DOCKER_HOST: takes unix:///path"):
        engine_socket({"DOCKER_HOST": elsewhere})


def test_without_it_the_first_that_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "docker.sock"
    monkeypatch.setattr(address, "DOCKER_SOCKET", str(system))
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "DOCKER_HOST": ""}
    assert engine_socket(environ) == system
    podman = tmp_path / "run/podman/podman.sock"
    podman.parent.mkdir(parents=True)
    podman.touch()
    assert engine_socket(environ) == podman
    (tmp_path / "run/docker.sock").touch()
    assert engine_socket(environ) == tmp_path / "run/docker.sock"
    system.touch()
    assert engine_socket(environ) == system
    assert engine_socket({}) == system
