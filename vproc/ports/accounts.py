"""Accounts: who signs up, logs in and out, and what is kept of a user. Adapters: `aws.cognito`, `oidc.hosted`, `db.users`.

What an answer says never tells whether an address has an account.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from vproc.core.claims import Claims


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a log-in or a refresh gives. Secrets, so none is in the repr. ``refresh`` None: the one before still holds.

    ``identity`` is the id token; None where there is none.
    """

    access: str = field(repr=False)
    identity: str | None = field(default=None, repr=False)
    refresh: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class User:
    """A user as the catalog knows one, from the log-in: ``subject`` is the owner of that user's files."""

    subject: str
    email: str | None
    name: str | None
    created_at: datetime
    last_log_in_at: datetime


class Accounts(Protocol):
    """A pool of users. Beside what each says, every method may raise `TooManyRequestsError` and `UnavailableError`."""

    async def sign_up(self, email: str, password: str, name: str | None) -> None:
        """Begin an account and send its code; nothing where there is one. Raises `InvalidRequestError` for the password."""
        ...

    async def confirm(self, email: str, code: str) -> None:
        """Confirm an account by its code. Raises `InvalidRequestError`, in the same words for no account and a wrong code."""
        ...

    async def resend(self, email: str) -> None:
        """Send another code; nothing where no account awaits one."""
        ...

    async def log_in(self, email: str, password: str) -> Tokens:
        """Raises `UnauthenticatedError`, the same for no account and a wrong password, and `ConflictError` where the account
        needs another step first."""
        ...

    async def refresh(self, token: str) -> Tokens:
        """New tokens for a refresh token. Raises `UnauthenticatedError` where it does not hold any more."""
        ...

    async def log_out(self, token: str) -> None:
        """End a refresh token, and with it those that came of it; nothing where it has ended."""
        ...

    async def forgot_password(self, email: str) -> None:
        """Send a code for a new password; nothing where there is no account."""
        ...

    async def reset_password(self, email: str, code: str, password: str) -> None:
        """Set a password by a code. Raises `InvalidRequestError`, as `confirm` does."""
        ...


class HostedLogin(Protocol):
    """A log-in page of somebody else's: authorization code with PKCE (RFC 7636)."""

    def address(self, *, state: str, challenge: str, nonce: str) -> str:
        """Where the browser is sent to."""
        ...

    async def redeem(self, code: str, *, verifier: str) -> Tokens:
        """The tokens for the code that it comes back with. Raises `UnauthenticatedError`."""
        ...


class TokenCheck(Protocol):
    """Whether a token holds."""

    async def verify(self, token: str) -> Claims:
        """What it says. Raises `UnauthenticatedError` and `ServiceUnavailableError`."""
        ...


class UserStore(Protocol):
    """Users, kept."""

    async def note_log_in(self, subject: str, *, email: str | None, name: str | None) -> User:
        """Keep what the log-in said of a user, and when it was. What it did not say stays as it was."""
        ...

    async def find_user(self, subject: str) -> User | None:
        """The user, once there was a log-in."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountParts:
    """What the account routes work with. ``access`` and ``identity`` check one kind of token each; ``hosted`` may be missing."""

    accounts: Accounts
    access: TokenCheck
    identity: TokenCheck
    users: UserStore
    hosted: HostedLogin | None = None
