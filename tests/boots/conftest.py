"""Boots of whole systems, which take minutes and need root: `make boots` collects them, `make test` does not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import script_of
from tests.support.engine import Engine, running_engine
from tests.support.network import Network, own_network
from tests.support.source import ROOT
from tests.support.tree import run

BUILT_WITHIN_S = 900
collect_ignore_glob = [] if os.environ.get("VPROC_TEST_BOOTS") else ["test_*.py"]


@pytest.fixture(scope="session")
def workshop() -> Iterator[Path]:
    """A folder for trees and images, of tens of gigabytes if need be; not pytest's own, which keeps what it made."""
    with tempfile.TemporaryDirectory(prefix="vproc-boots-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def network(workshop: Path) -> Iterator[Network]:
    """One where the ports that the pages name are free."""
    with own_network(workshop) as network:
        yield network


@pytest.fixture(scope="module")
def within(network: Network) -> Iterator[None]:
    """All that the module asks and starts is in that network."""
    with network.entered():
        yield


@pytest.fixture(scope="session")
def engine(workshop: Path, network: Network) -> Iterator[Engine]:
    """A container engine of its own, with the image of this tree in it."""
    with running_engine(workshop, network) as engine:
        engine.build()
        yield engine


@pytest.fixture(scope="session")
def program() -> Path:
    """The one file, built of this tree as its page says: by the first of the two commands."""
    build, _ = script_of("docs/how-to/one-file.md#run-it-from-one-file").splitlines()
    run("bash", "-euc", f"cd '{ROOT}'; {build}", within_s=BUILT_WITHIN_S)
    return ROOT / "dist" / "vproc"
