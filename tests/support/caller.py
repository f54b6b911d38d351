"""A client of the API as anybody may write one: the standard library's HTTP, addresses as the API gives them."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from tests.support.cluster import until

ENDED = ("completed", "failed", "cancelled", "expired")
_ANSWERS_WITHIN_S = 20
_ENDS_WITHIN_S = 90


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer of any status."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


def fetch(url: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None) -> Answered:
    """Ask anybody for anything; an error of HTTP is an answer like any other. Header names come in lower case."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=_ANSWERS_WITHIN_S) as answer:
            return Answered(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read())
    except HTTPError as error:
        with error:
            return Answered(error.code, {name.lower(): value for name, value in error.headers.items()}, error.read())


@dataclass(frozen=True, slots=True)
class Caller:
    """Asks the API at ``api``, with a key where it is given one."""

    api: str
    key: str | None = None

    def ask(self, path: str, method: str = "GET", body: dict[str, Any] | None = None) -> Answered:
        """One request, JSON in where there is a body."""
        data = None if body is None else json.dumps(body).encode()
        proof = {"Authorization": f"Bearer {self.key}"} if self.key is not None else {}
        return fetch(self.api + path, method, data, {"Content-Type": "application/json"} | proof)

    def announce(self, name: str, **fields: object) -> dict[str, Any]:
        """Announce an upload: where to put it, and with which headers."""
        answer = self.ask("/upload", "POST", {"file_name": name, **fields})
        assert answer.status == 201, answer
        told: dict[str, Any] = answer.json
        return told

    def upload(self, path: Path, **fields: object) -> str:
        """Announce a file and put it; its id."""
        announced = self.announce(path.name, **fields)
        put = fetch(announced["upload_url"], announced["method"], path.read_bytes(), announced["headers"])
        assert put.status == 200, put
        return str(announced["file_id"])

    def status(self, file_id: str) -> dict[str, Any]:
        """The file as it stands."""
        told: dict[str, Any] = self.ask(f"/upload/{file_id}/status").json
        return told

    def id_of(self, key: str, *, profile: str | None = None) -> str:
        """The id of an object that was put without the API, once the daemon knows it."""

        def known() -> str | None:
            files = self.ask("/uploads?limit=100").json["uploads"]
            return next((f["file_id"] for f in files if f["s3_key"] == key and profile in (None, f["profile"])), None)

        found, _ = until(known, within_s=_ANSWERS_WITHIN_S, what=f"a file for {key!r}")
        return str(found)

    def end_of(self, file_id: str) -> dict[str, Any]:
        """The file once it has come to its end, whatever that is."""

        def ended() -> dict[str, Any] | None:
            told = self.status(file_id)
            return told if told["processing_status"] in ENDED else None

        found, _ = until(ended, within_s=_ENDS_WITHIN_S, what=f"the end of {file_id}: {self.status(file_id)}")
        assert found is not None
        return found

    def completed(self, file_id: str) -> dict[str, Any]:
        """The file once it is completed; fails for any other end."""
        told = self.end_of(file_id)
        assert (told["processing_status"], told["progress"], told["error"]) == ("completed", 1.0, None), told
        return told

    def outputs(self, file_id: str) -> list[dict[str, Any]]:
        """All outputs, single segments too."""
        answer = self.ask(f"/upload/{file_id}/download/processed?segments=true")
        assert answer.status == 200, answer
        listed: list[dict[str, Any]] = answer.json["outputs"]
        return listed
