"""Where the engine listens: ``DOCKER_HOST``, else the first socket that there is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vproc.errors import ConfigError

DOCKER_SOCKET = "/var/run/docker.sock"
_SCHEME = "unix://"


def engine_socket(environ: Mapping[str, str]) -> Path:
    """The socket's path. Raises `ConfigError` for an engine that is not asked by a socket of this machine."""
    address = environ.get("DOCKER_HOST", "").strip()
    if address:
        if not address.startswith(f"{_SCHEME}/"):
            raise ConfigError(
                f"DOCKER_HOST: takes unix:///path, a socket of this machine, whose directories containers share (got {address!r})"
            )
        return Path(address.removeprefix(_SCHEME))
    runtime = environ.get("XDG_RUNTIME_DIR")
    known = [Path(DOCKER_SOCKET)]
    if runtime:
        known += [Path(runtime) / "docker.sock", Path(runtime) / "podman/podman.sock"]
    return next((path for path in known if path.exists()), known[0])
