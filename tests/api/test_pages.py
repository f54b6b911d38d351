"""The page, as it is served. What a browser does with it: `tests/e2e/test_page*.py`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.api import PROFILES, running_api
from vproc.api.parts import Limits
from vproc.errors import UnavailableError


async def test_the_page_and_its_files_come_from_here_with_a_strict_policy(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        page = await api.get("/")
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        policy = dict(rule.split(" ", 1) for rule in page.headers["Content-Security-Policy"].split("; "))
        html = page.body.decode()
        for path in re.findall(r'(?:src|href)="([^"#]+)"', html):
            assert path.startswith("/")
            assert (await api.get(path)).status == 200, path
        assert not re.search(r"<script(?![^>]*src=)", html), "no inline script"
        assert " style=" not in html
        script = await api.get("/assets/upload.js")
        style = await api.get("/assets/style.css")
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert style.headers["Content-Type"] == "text/css; charset=utf-8"
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    raw, processed = (f"https://{bucket}.s3.eu-west-1.amazonaws.test" for bucket in ("raw", "processed"))
    assert policy["connect-src"] == f"'self' {raw} {processed}"


async def test_the_policy_names_the_cdn_and_the_page_stands_without_credentials(tmp_path: Path) -> None:
    async with running_api(tmp_path, limits=Limits(profiles=PROFILES, public_url="https://cdn.example/v/")) as api:
        api.presigner.fail_next("put", UnavailableError("no credentials"))
        page = await api.get("/")
    assert page.status == 200
    assert "img-src 'self' https://cdn.example;" in page.headers["Content-Security-Policy"]


async def test_the_operators_page_asks_nobody_but_the_daemon(tmp_path: Path) -> None:
    """It stands for everybody and holds nothing; what it is told is what the other page is told."""
    async with running_api(tmp_path) as api:
        page = await api.get("/ops")
        html = page.body.decode()
        for path in re.findall(r'(?:src|href)="([^"#]+)"', html):
            assert (await api.get(path)).status == 200, path
        told = re.findall(r'<meta name="vproc" content="([^"]+)">', html)
        assert told == re.findall(r'<meta name="vproc" content="([^"]+)">', (await api.get("/")).body.decode())
    policy = page.headers["Content-Security-Policy"]
    assert policy.endswith("script-src 'self'; connect-src 'self'; img-src 'self'")
    assert policy.startswith("default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


@pytest.mark.parametrize(
    "name", ["index.html", "ops.html", "..", "../http.py", "..%2fhttp.py", "%2e%2e%2fhttp.py", "style.css/", "STYLE.css", ""]
)
async def test_only_the_pages_own_files_are_served(tmp_path: Path, name: str) -> None:
    async with running_api(tmp_path) as api:
        answer = await api.get(f"/assets/{name}")
    assert answer.status in {200, 404}
    assert b"import" not in answer.body
    assert answer.status == 404 or answer.headers["Content-Type"].startswith(("application/problem", "text/html"))
