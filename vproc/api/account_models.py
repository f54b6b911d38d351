"""Bodies of the account routes. A password is never echoed: not in an answer, a fault, a log line or a repr."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StrictStr

from vproc.ports import Caller
from vproc.ports.accounts import User

MOST_EMAIL_CHARACTERS = 128
"""Cognito's bound of a user name."""
MOST_PASSWORD_CHARACTERS = 256
"""Cognito's own bound."""
MOST_TOKEN_CHARACTERS = 16 * 1024

_T = TypeVar("_T")
_Told = Annotated[_T, Field(exclude_if=lambda value: value is None)]
_UNSHOWABLE = {"Cc", "Cs", "Cf", "Zl", "Zp"}


def _email(value: str) -> str:
    """One @ with something before and behind it: whether there is such a mailbox, the code that is sent there tells."""
    local, at, domain = value.partition("@")
    if not (local and at and domain) or "@" in domain or not value.isprintable() or any(char.isspace() for char in value):
        raise ValueError("takes an e-mail address")
    return value


def _shown(value: str) -> str:
    if any(unicodedata.category(char) in _UNSHOWABLE for char in value) or value != value.strip():
        raise ValueError("takes no control characters, and no space at either end")
    return value


Email = Annotated[StrictStr, AfterValidator(_email), Field(min_length=3, max_length=MOST_EMAIL_CHARACTERS)]
Code = Annotated[StrictStr, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+$")]
Password = Annotated[SecretStr, Field(min_length=1, max_length=MOST_PASSWORD_CHARACTERS)]
RefreshToken = Annotated[SecretStr, Field(min_length=1, max_length=MOST_TOKEN_CHARACTERS)]


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)


class SignUpRequest(_Asked):
    """A new account. The code that confirms it is sent to the address."""

    email: Email
    password: Password
    """As the user pool's rules want it."""
    name: Annotated[StrictStr, AfterValidator(_shown), Field(min_length=1, max_length=255)] | None = None


class ConfirmRequest(_Asked):
    """The code that was sent."""

    email: Email
    code: Code


class EmailRequest(_Asked):
    """Whom to send a code."""

    email: Email


class LogInRequest(_Asked):
    """Who logs in."""

    email: Email
    password: Password
    session: Literal["cookies", "tokens"] = "cookies"
    """Where the tokens go: into cookies, for browsers, or into the answer, for programs."""


class RefreshRequest(_Asked):
    """For programs. A browser sends no body: its cookie tells."""

    refresh_token: RefreshToken


class ResetRequest(_Asked):
    """Another password, by the code that was sent."""

    email: Email
    code: Code
    password: Password


class Accepted(BaseModel):
    """The same whether or not there is such an account."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    detail: str


class LoggedIn(BaseModel):
    """Who is logged in, and for how long. The tokens are there only where they were asked for."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    owner: str
    expires_in: int
    """Seconds until the access token has to be refreshed."""
    access_token: _Told[str | None] = Field(default=None, repr=False)
    refresh_token: _Told[str | None] = Field(default=None, repr=False)


class Me(BaseModel):
    """Who asks. E-mail address and name are null of whom no log-in here told them."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    owner: str
    """The subject of the user pool, which the files belong to."""
    admin: bool
    email: str | None
    name: str | None

    @classmethod
    def of(cls, caller: Caller, user: User | None) -> Me:
        """What is told of a caller."""
        return cls(owner=caller.owner, admin=caller.admin, email=user.email if user else None, name=user.name if user else None)
