"""A user pool in memory, and an API whose accounts it holds. Tokens are texts that it knows, so nothing is signed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

from tests.support.api import Answered, RunningApi, running_api
from tests.support.issuer import LateIdentity
from vproc.api.identity import ApiKeyIdentity
from vproc.api.parts import Limits
from vproc.api.token_cookies import CookieIdentity
from vproc.core.claims import Claims
from vproc.errors import ConflictError, InvalidRequestError, UnauthenticatedError
from vproc.oidc.identity import JwtIdentity
from vproc.ports import AccountParts, Tokens

CODE = "123456"
PASSWORD = "Correct-horse-1"
ANN = {"email": "ann@example.com", "password": PASSWORD}


@dataclass(slots=True)
class Member:
    """One user of the pool."""

    subject: str
    password: str
    name: str | None
    confirmed: bool = False


@dataclass(slots=True)
class MemoryPool:
    """`ports.accounts.Accounts`, `HostedLogin` and `TokenCheck`. ``failing`` is raised by whatever is called next.

    ``access_length``: how long an access token is at least; ``groups`` are everybody's.
    """

    members: dict[str, Member] = field(default_factory=dict)
    claims: dict[str, Claims] = field(default_factory=dict)
    refreshable: dict[str, str] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    made: int = 0
    failing: Exception | None = None
    access_length: int = 0
    refresh_length: int = 0
    lasts: timedelta = timedelta(hours=1)
    groups: frozenset[str] = frozenset()
    rotates: bool = True
    redeemed: tuple[str, str] | None = None
    nonce: str | None = None

    def _fail(self) -> None:
        if (failing := self.failing) is not None:
            self.failing = None
            raise failing

    async def sign_up(self, email: str, password: str, name: str | None) -> None:
        """The port's."""
        self._fail()
        if email not in self.members:
            self.members[email] = Member(f"sub-{len(self.members) + 1}", password, name)
            self.sent.append(email)

    async def confirm(self, email: str, code: str) -> None:
        """The port's."""
        self._fail()
        if code != CODE or email not in self.members:
            raise InvalidRequestError("code: wrong.")
        self.members[email].confirmed = True

    async def resend(self, email: str) -> None:
        """The port's."""
        self._fail()
        if email in self.members:
            self.sent.append(email)

    forgot_password = resend

    async def log_in(self, email: str, password: str) -> Tokens:
        """The port's."""
        self._fail()
        member = self.members.get(email)
        if member is None or member.password != password:
            raise UnauthenticatedError("Wrong e-mail address or password.")
        if not member.confirmed:
            raise ConflictError("This account awaits its confirmation.")
        return self.tokens(email)

    async def refresh(self, token: str) -> Tokens:
        """The port's."""
        self._fail()
        email = self.refreshable.get(token)
        if email is None:
            raise UnauthenticatedError("This session has ended.")
        made = self.tokens(email)
        if self.rotates:
            del self.refreshable[token]
            return made
        return Tokens(made.access, made.identity, None)

    async def log_out(self, token: str) -> None:
        """The port's."""
        self._fail()
        self.refreshable.pop(token, None)

    async def reset_password(self, email: str, code: str, password: str) -> None:
        """The port's."""
        await self.confirm(email, code)
        self.members[email].password = password

    def address(self, *, state: str, challenge: str, nonce: str) -> str:
        """The port's."""
        return f"https://pool.example/login?state={state}&challenge={challenge}&nonce={nonce}"

    async def redeem(self, code: str, *, verifier: str) -> Tokens:
        """The port's: the code is the address of a member."""
        self._fail()
        self.redeemed = (code, verifier)
        if code not in self.members:
            raise UnauthenticatedError("This log-in's code does not hold.")
        return self.tokens(code)

    async def verify(self, token: str) -> Claims:
        """The port's."""
        found = self.claims.get(token)
        if found is None or found.expires_at <= datetime.now(UTC):
            raise UnauthenticatedError("This token does not hold.")
        return found

    def tokens(self, email: str) -> Tokens:
        """New ones for a member."""
        member, ends = self.members[email], datetime.now(UTC) + self.lasts
        self.made += 1
        access = f"access.{self.made}.".ljust(self.access_length, "x")
        identity, refresh = f"identity.{self.made}.", f"refresh.{self.made}.".ljust(self.refresh_length, "x")
        self.claims[access] = Claims(subject=member.subject, expires_at=ends, groups=self.groups)
        said = Claims(subject=member.subject, expires_at=ends, email=email, name=member.name, nonce=self.nonce)
        self.claims[identity] = said
        self.refreshable[refresh] = email
        return Tokens(access, identity, refresh)


@dataclass(slots=True)
class AccountApi:
    """An API with that pool, and a browser's cookies."""

    api: RunningApi
    pool: MemoryPool

    async def post(self, path: str, body: Any = None, *, cookies: dict[str, str] | None = None, **headers: str) -> Answered:
        """POST as a program, or with a browser's cookies."""
        return await self.ask("POST", path, body, cookies=cookies, **headers)

    async def ask(
        self, method: str, path: str, body: Any = None, *, cookies: dict[str, str] | None = None, **headers: str
    ) -> Answered:
        """One request. An underscore in a header's name stands for a hyphen."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if cookies is not None:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        options = {} if body is None else {"json": body}
        return await self.api.ask(method, path, headers=sent, allow_redirects=False, **options)

    async def with_ann(self, **log_in: str) -> Answered:
        """Ann's account, confirmed, and her log-in."""
        await self.post("/auth/sign-up", ANN | {"name": "Ann"})
        await self.post("/auth/confirm", {"email": ANN["email"], "code": CODE})
        return await self.post("/auth/log-in", ANN | log_in)


def cookies_of(answer: Answered) -> SimpleCookie:
    """What an answer puts into the browser."""
    jar = SimpleCookie()
    for name, value in answer.headers.items():
        if name.lower() == "set-cookie":
            jar.load(value)
    return jar


def values_of(answer: Answered) -> dict[str, str]:
    """The cookies as a browser sends them."""
    return {name: morsel.value for name, morsel in cookies_of(answer).items()}


@asynccontextmanager
async def account_api(folder: Path, *, hosted: bool = True, limits: Limits | None = None) -> AsyncIterator[AccountApi]:
    """An API whose accounts are in memory; keys and sessions are the catalog's."""
    pool = MemoryPool()
    identity = LateIdentity(lambda store: CookieIdentity(pool, beside=JwtIdentity(pool, beside=ApiKeyIdentity(store))))

    def accounts(catalog: Any) -> AccountParts:
        identity.over(catalog)
        return AccountParts(accounts=pool, access=pool, identity=pool, users=catalog, hosted=pool if hosted else None)

    async with running_api(folder, identity=identity, accounts=accounts, limits=limits) as api:
        yield AccountApi(api, pool)
