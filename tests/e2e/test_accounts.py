"""Accounts as a person and a program use them: a `vproc dev` with its own user pool, over sockets, from sign-up to log-out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

import boto3
import pytest

from tests.support.caller import Answered, fetch
from tests.support.daemon import Daemon, dev

pytestmark = pytest.mark.xdist_group("e2e-accounts")

PASSWORD = "Correct-horse-1"
_OF_A_PAGE = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}


@dataclass
class Browser:
    """Keeps cookies by their path, as far as these routes need it."""

    api: str
    cookies: dict[str, tuple[str, str]] = field(default_factory=dict)

    def ask(self, path: str, method: str = "POST", body: Any = None) -> Answered:
        """One request of the API's own page."""
        sent = "; ".join(f"{name}={value}" for name, (value, under) in self.cookies.items() if path.startswith(under))
        headers = _OF_A_PAGE | ({"Cookie": sent} if sent else {})
        return fetch(self.api + path, method, None if body is None else json.dumps(body).encode(), headers)

    def log_in(self, email: str) -> Answered:
        """Log in, as a program, and keep the tokens where a browser has them."""
        told = self.ask("/auth/log-in", body={"email": email, "password": PASSWORD, "session": "tokens"})
        assert told.status == 200, told
        self.keep(told)
        return told

    def keep(self, told: Answered) -> None:
        """The tokens of an answer, as cookies."""
        self.cookies = {"access_token": (told.json["access_token"], "/"), "refresh_token": (told.json["refresh_token"], "/auth")}

    @property
    def refresh_token(self) -> str:
        """What refreshes the session."""
        return self.cookies["refresh_token"][0]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with dev(tmp_path_factory.mktemp("accounts"), VPROC_AUTH="cognito", VPROC_ROLES="api") as running:
        running.until_ready()
        yield running


def joined(daemon: Daemon, email: str) -> Browser:
    """Somebody with a confirmed account, logged in."""
    browser = Browser(daemon.api)
    assert browser.ask("/auth/sign-up", body={"email": email, "password": PASSWORD, "name": "Ann"}).status == 202
    assert browser.ask("/auth/confirm", body={"email": email, "code": daemon.ready["cognito_code"]}).status == 204
    browser.log_in(email)
    return browser


def test_from_sign_up_to_log_out(daemon: Daemon) -> None:
    """Another user's file is not there; a refresh token holds once; a session that is ended opens nothing."""
    ann, bob = joined(daemon, "ann@example.com"), joined(daemon, "bob@example.com")
    me = ann.ask("/auth/me", "GET").json
    assert (me["email"], me["name"], me["admin"]) == ("ann@example.com", "Ann", False)
    announced = ann.ask("/upload", body={"file_name": "a.mp4"})
    assert announced.json["s3_key"].startswith(f"videos/{me['owner']}/")
    status = f"/upload/{announced.json['file_id']}/status"
    assert [ann.ask(status, "GET").status, bob.ask(status, "GET").status] == [200, 404]
    before = ann.refresh_token
    ann.keep(ann.ask("/auth/refresh", body={"refresh_token": before}))
    assert ann.refresh_token != before
    assert ann.ask(status, "GET").status == 200
    assert ann.ask("/auth/refresh", body={"refresh_token": before}).status == 401
    out = ann.ask("/auth/log-out")
    assert out.status == 204
    assert ann.ask("/auth/refresh").status == 401
    ann.cookies.clear()
    assert ann.ask(status, "GET").status == 401
    assert bob.ask("/auth/me", "GET").status == 200


def test_a_wrong_password_and_no_account_are_the_same(daemon: Daemon) -> None:
    joined(daemon, "carl@example.com")
    browser = Browser(daemon.api)
    answers = [
        browser.ask("/auth/log-in", body={"email": email, "password": "wrong"})
        for email in ("carl@example.com", "nobody@example.com")
    ]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.json["detail"] for answer in answers}) == 1
    wrong = browser.ask("/auth/confirm", body={"email": "carl@example.com", "code": "000000"})
    nobody = browser.ask("/auth/confirm", body={"email": "nobody@example.com", "code": "000000"})
    assert (wrong.status, wrong.json["detail"]) == (nobody.status, nobody.json["detail"])
    assert wrong.status == 422


def test_the_cookies_of_a_log_in(daemon: Daemon) -> None:
    joined(daemon, "dora@example.com")
    answer = Browser(daemon.api).ask("/auth/log-in", body={"email": "dora@example.com", "password": PASSWORD})
    # The test's client keeps one header of a name: the last of the two.
    jar = SimpleCookie(answer.headers["set-cookie"])
    assert set(jar) == {"refresh_token"}
    cookie = jar["refresh_token"]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/auth", True, "Strict")
    assert set(answer.json) == {"owner", "expires_in"}


def test_a_member_of_the_group_sees_all_files(daemon: Daemon) -> None:
    ann, boss = joined(daemon, "erna@example.com"), joined(daemon, "boss@example.com")
    file_id = ann.ask("/upload", body={"file_name": "a.mp4"}).json["file_id"]
    cognito = boto3.client(
        "cognito-idp",
        endpoint_url=daemon.ready["s3"],
        region_name="us-east-1",
        aws_access_key_id="embedded",
        aws_secret_access_key="embedded",
    )
    cognito.admin_add_user_to_group(
        UserPoolId=daemon.ready["cognito_user_pool_id"], Username="boss@example.com", GroupName="vproc-admin"
    )
    assert boss.ask(f"/upload/{file_id}/status", "GET").status == 404, "the token of before does not know it"
    boss.log_in("boss@example.com")
    assert boss.ask(f"/upload/{file_id}/status", "GET").status == 200


def test_a_forgotten_password(daemon: Daemon) -> None:
    browser = joined(daemon, "frida@example.com")
    asked = [browser.ask("/auth/forgot-password", body={"email": email}) for email in ("frida@example.com", "nobody@example.com")]
    assert [answer.status for answer in asked] == [202, 202]
    assert asked[0].body == asked[1].body
    reset = {"email": "frida@example.com", "code": daemon.ready["cognito_code"], "password": "Another-horse-2"}
    assert browser.ask("/auth/reset-password", body=reset).status == 204
    assert browser.ask("/auth/log-in", body={"email": "frida@example.com", "password": PASSWORD}).status == 401


def test_another_sites_page_is_refused(daemon: Daemon) -> None:
    browser = joined(daemon, "gerd@example.com")
    headers = {"Cookie": f"access_token={browser.cookies['access_token'][0]}", "Content-Type": "application/json"}
    body = json.dumps({"file_name": "a.mp4"}).encode()
    foreign = fetch(f"{daemon.api}/upload", "POST", body, headers | {"Sec-Fetch-Site": "cross-site"})
    own = fetch(f"{daemon.api}/upload", "POST", body, headers | {"Origin": daemon.api})
    assert (foreign.status, own.status) == (403, 201)


def test_an_id_token_opens_nothing(daemon: Daemon) -> None:
    """It tells who somebody is, and gives no right."""
    joined(daemon, "hans@example.com")
    cognito = boto3.client("cognito-idp", endpoint_url=daemon.ready["s3"], region_name="us-east-1")
    answer = cognito.initiate_auth(
        ClientId=daemon.ready["cognito_client_id"],
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "hans@example.com", "PASSWORD": PASSWORD},
    )["AuthenticationResult"]
    for name, status in (("AccessToken", 200), ("IdToken", 401)):
        asked = fetch(f"{daemon.api}/auth/me", headers={"Authorization": f"Bearer {answer[name]}"})
        assert asked.status == status


def test_no_secret_is_in_the_log(daemon: Daemon) -> None:
    browser = joined(daemon, "ina@example.com")
    tokens = [value for value, _ in browser.cookies.values()]
    browser.ask("/auth/log-out")
    log = (daemon.folder / "dev.err").read_text()
    assert "account.log_out" in log
    for secret in (PASSWORD, "ina@example.com", *tokens, *(token.rpartition(".")[2] for token in tokens)):
        assert secret not in log
