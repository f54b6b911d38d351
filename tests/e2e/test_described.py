"""A running daemon answers as its own description says, in each mode of `VPROC_AUTH`: Schemathesis reads `/openapi.json`, asks
all that it allows and much that it does not, and looks at every answer.

`VPROC_TEST_CHAOS=1` asks thirty times as much; `SCHEMATHESIS_SEED` asks something else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from tests.support.caller import Caller, fetch
from tests.support.daemon import Daemon, dev, run
from tests.support.issuer import AUDIENCE, TokenIssuer, running_issuer
from tests.support.media import clip
from tests.support.source import ROOT

pytestmark = pytest.mark.xdist_group("e2e-described")

SEED = os.environ.get("SCHEMATHESIS_SEED", "20261126")
AT_LENGTH = bool(os.environ.get("VPROC_TEST_CHAOS"))
CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 400 if AT_LENGTH else 12
WITHIN_S = 3600 if AT_LENGTH else 300


def nothing(daemon: Daemon, issuer: TokenIssuer) -> None:
    """No key is asked for."""


def api_key(daemon: Daemon, issuer: TokenIssuer) -> str:
    """An API key of an owner's."""
    made = run(daemon.folder, "keys", "create", "ann", "--json", VPROC_DATABASE_URL=daemon.ready["database_url"])
    return str(json.loads(made.stdout)["key"])


def token(daemon: Daemon, issuer: TokenIssuer) -> str:
    """An access token of an owner's, good for an hour."""
    return issuer.token()


def account(daemon: Daemon, issuer: TokenIssuer) -> str:
    """The access token of somebody with an account at the user pool."""
    anybody, email, password = Caller(daemon.api), "ann@example.com", "Correct-horse-1"
    for path, status, body in (
        ("/auth/sign-up", 202, {"email": email, "password": password}),
        ("/auth/confirm", 204, {"email": email, "code": daemon.ready["cognito_code"]}),
        ("/auth/log-in", 200, {"email": email, "password": password, "session": "tokens"}),
    ):
        told = anybody.ask(path, "POST", body)
        assert told.status == status, told
    return str(told.json["access_token"])


@dataclass(frozen=True, slots=True)
class Mode:
    """A value of `VPROC_AUTH`, who gives a key for it, and whether that is sent as it is or traded for a session's cookie."""

    auth: str
    key: Callable[[Daemon, TokenIssuer], str | None]
    by_cookie: bool = False

    def proof(self, daemon: Daemon, key: str | None) -> dict[str, str]:
        """The headers that prove who asks. A browser says with a cookie whose page it was that asked."""
        if key is None:
            return {}
        bearer = {"Authorization": f"Bearer {key}"}
        if not self.by_cookie:
            return bearer
        cookie = fetch(f"{daemon.api}/auth/session", "POST", headers=bearer).headers["set-cookie"].partition(";")[0]
        return {"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}


MODES = {
    "none": Mode("none", nothing),
    "api-key": Mode("api-key", api_key),
    "session": Mode("api-key", api_key, by_cookie=True),
    "jwt": Mode("jwt", token),
    "cognito": Mode("cognito", account),
}


@dataclass(frozen=True, slots=True)
class Described:
    """A daemon in one mode, what proves who asks there, and what there is to be asked for."""

    daemon: Daemon
    proof: dict[str, str]
    known: dict[str, str]


@pytest.fixture(scope="module", params=list(MODES))
def described(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    """One file is completed."""
    mode = MODES[request.param]
    folder = tmp_path_factory.mktemp("described")
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running_issuer()) as issuer:
        settings = {"VPROC_JWT_ISSUER": issuer.issuer, "VPROC_JWT_AUDIENCE": AUDIENCE} if mode.auth == "jwt" else {}
        yield from _described(folder, mode, issuer, settings)


def _described(folder: Path, mode: Mode, issuer: TokenIssuer, settings: dict[str, str]) -> Iterator[Described]:
    with dev(folder, VPROC_AUTH=mode.auth, **settings) as daemon:
        key = mode.key(daemon, issuer)
        caller = Caller(daemon.api, key)
        file_id = caller.upload(clip("short.mp4"), profile="abr")
        caller.completed(file_id)
        hls = caller.ask(f"/upload/{file_id}/playback", "POST").json["hls"]
        yield Described(daemon, mode.proof(daemon, key), {"file_id": file_id, "token": hls.split("/")[2]})
        assert [entry for entry in daemon.log() if entry["event"] == "request_failed"] == []


def schemathesis(
    described: Described, *, proof: dict[str, str], without: tuple[str, ...] = (), not_asked: tuple[str, ...] = (), **more: str
) -> str:
    """Ask everything; what Schemathesis says at its end. A wrong answer fails, and is shown with a command to repeat it."""
    left_out = {
        # A schema cannot say all that is checked: that a cursor is one that was given, or that an address is a public one.
        "positive_data_acceptance",
        *without,
    }
    document = described.daemon.folder / "described.json"  # from its own address it would leave that address out
    document.write_bytes(fetch(f"{described.daemon.api}/openapi.json").body)
    words = [sys.executable, "-m", "schemathesis.cli", f"--config-file={CONFIG}"]
    words += ["run", str(document), f"--url={described.daemon.api}"]
    options = ["--no-color", f"--seed={SEED}", f"--max-examples={EXAMPLES}", "--request-timeout=20", "--continue-on-failure"]
    options += ["--generation-database=none", "--warnings=off", f"--exclude-checks={','.join(sorted(left_out))}"]
    options += [f"--exclude-operation-id={name}" for name in not_asked]
    options += [f"--header={name}: {value}" for name, value in proof.items()]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCHEMATHESIS_")} | {
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks",
        "KNOWN": json.dumps(described.known),
        **more,
    }
    done = subprocess.run(
        [*words, *options],
        check=False,
        capture_output=True,
        text=True,
        cwd=described.daemon.folder,
        env=environment,
        timeout=WITHIN_S,
    )
    assert done.returncode == 0, f"seed {SEED}\n{done.stdout}\n{done.stderr}"
    assert f"Seed: {SEED}" in done.stdout
    return done.stdout


@pytest.mark.timeout(WITHIN_S + 60)
def test_every_answer_is_as_described(described: Described) -> None:
    """No 5xx; each status, body, media type and header is in the description; what it forbids is refused; keys that are none are
    refused wherever one is asked for, and what was deleted is gone."""
    api, proof = described.daemon.api, described.proof
    ends_it = ("deleteAuthSession",) if "Cookie" in proof else ()
    told = schemathesis(described, proof=proof, without=() if proof else ("ignored_auth",), not_asked=ends_it)
    operations = sum(map(len, fetch(f"{api}/openapi.json").json["paths"].values())) - len(ends_it)
    assert f"Tested: {operations}" in told
    assert fetch(f"{api}/readyz").status == 200
    assert fetch(f"{api}/version", headers=proof).status == 200, "who asked was known to the end"


@pytest.mark.timeout(WITHIN_S + 60)
def test_whoever_has_no_key_is_told_so_and_nothing_else(described: Described) -> None:
    """401 on every operation that says that it needs one, whatever else is wrong with the request; nobody in the mode `none`."""
    if described.proof:
        schemathesis(described, proof={}, NOBODY="1")
        return
    assert {fetch(f"{described.daemon.api}{path}").status for path in ("/uploads", "/version")} == {200}
