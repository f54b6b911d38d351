"""A private PostgreSQL for tests: a cluster of its own in a directory of its own, on a free port of loopback, without fsync.

It fails, and never skips, where PostgreSQL 15 or later is not installed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

_PROGRAMS = Path("/usr/lib/postgresql")
_OLDEST = 15
_TIMEOUT_S = 60


class PostgresServer:
    """A server with the super-user ``vproc``, who needs no password, and the role ``guarded``, who does (`PASSWORD`)."""

    PASSWORD = "s3cret/of:guarded"

    def __init__(self, *, address: str = "127.0.0.1", clients: str = "127.0.0.1/32", **settings: str) -> None:
        """``address`` is where it listens, beside its socket; ``clients`` are those who need no password there. ``settings``
        are of its configuration."""
        self._address = address
        self._bin = _newest_programs()
        # not under pytest's own directory: that is root's alone, and the server runs as postgres
        self._directory = Path(tempfile.mkdtemp(prefix="vproc-postgres-"))
        self._as_user = {}
        if os.geteuid() == 0:
            shutil.chown(self._directory, "postgres", "postgres")
            self._as_user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        self.port = _free_port(address)
        self._count = 0
        self._run("initdb", "-D", "data", "-U", "vproc", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
        (self._directory / "data/pg_hba.conf").write_text(
            f"host all guarded all scram-sha-256\nlocal all all trust\nhost all all {clients} trust\n"
        )
        with (self._directory / "data/postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self) -> None:
        """Start, or start again; return when it takes connections."""
        options = f"-c listen_addresses={self._address} -p {self.port} -k {self._directory} -c fsync=off -c max_connections=200"
        self._run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop; ``immediate`` is a crash."""
        self._run("pg_ctl", "-D", "data", "-w", "-m", mode, "stop")

    @property
    def pid(self) -> int:
        """The running server's first process."""
        return int((self._directory / "data/postmaster.pid").read_text().split()[0])

    def remove(self) -> None:
        """Remove the cluster's directory."""
        shutil.rmtree(self._directory)

    def sql(self, statement: str, *, database: str = "postgres") -> str:
        """Run a statement as super-user; what it prints."""
        return self._run(
            "psql", "-XqAt", "-h", str(self._directory), "-p", str(self.port), "-U", "vproc", "-d", database, "-c", statement
        )

    def create_database(self, *, template: str | None = None) -> str:
        """A new database, empty or a copy of ``template``; its name."""
        self._count += 1
        name = f"test_{self._count}"
        self.sql(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        return name

    def url(self, database: str, *, user: str = "vproc") -> str:
        """The address for `open_catalog`."""
        return f"postgresql+asyncpg://{user}@{self._address}:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> str:
        # pg_ctl's server inherits the output: a pipe would stay open for as long as it runs
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [self._bin / program, *arguments],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_TIMEOUT_S,
                check=False,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
                **self._as_user,
            )
            output.seek(0)
            said = output.read()
        assert done.returncode == 0, f"{program} failed: {said}"
        return said.strip()


def _newest_programs() -> Path:
    versions = [(int(path.name), path) for path in _PROGRAMS.glob("[0-9]*") if (path / "bin/initdb").exists()]
    newest, path = max(versions, default=(0, _PROGRAMS))
    assert newest >= _OLDEST, f"tests need PostgreSQL {_OLDEST} or later under {_PROGRAMS}: apt-get install postgresql"
    return path / "bin"


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
