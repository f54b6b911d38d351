"""What a token says, and whether that is enough: issuer, times, audience, kind, subject. No signature and no clock is known here.

The names are RFC 7519's and OpenID Connect's; where issuers differ, the source of the difference stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vproc.core.api_keys import checked_owner
from vproc.core.files import DEFAULT_OWNER
from vproc.errors import UnauthenticatedError

LEEWAY_S = 60.0
"""How far the issuer's clock and ours may be apart."""
ADMIN_SCOPE = "vproc:admin"
ADMIN_GROUP = "vproc-admin"
ACCESS = "access"
ID = "id"

_SAYINGS = {
    "token_use": {"access": ACCESS, "id": ID},
    "typ": {"bearer": ACCESS, "access": ACCESS, "access_token": ACCESS, "at+jwt": ACCESS, "id": ID, "id_token": ID},
}
_TYPES = frozenset({"jwt", "at+jwt"})
_LATEST_S = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
_MOST_TEXT = 320  # an e-mail address takes no more
# Where issuers put what a user belongs to: Cognito, Keycloak's and Entra's mappers, Auth0's permissions.
_GROUP_CLAIMS = ("cognito:groups", "groups", "roles", "permissions")
_NAME_CLAIMS = ("name", "preferred_username", "cognito:username", "username")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token that holds says of whoever sent it. ``token_use``: ``access``, ``id``, or None where it does not say.

    ``expires_at`` is the token's own, without leeway. ``nonce`` is what the log-in sent, for whoever began it to compare.
    """

    subject: str
    expires_at: datetime
    token_use: str | None = None
    client_id: str | None = None
    email: str | None = None
    email_verified: bool = False
    name: str | None = None
    scopes: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    nonce: str | None = None

    @property
    def admin(self) -> bool:
        """Whether it sees every owner's files: by the scope or permission ``vproc:admin``, or the group ``vproc-admin``."""
        return ADMIN_SCOPE in self.scopes | self.groups or ADMIN_GROUP in self.groups


def read_claims(
    payload: Mapping[str, Any],
    *,
    header: Mapping[str, Any],
    issuer: str,
    audience: tuple[str, ...],
    token_use: str | None,
    now_s: float,
) -> Claims:
    """The claims of a token whose signature holds. ``token_use`` None takes either kind. Raises `UnauthenticatedError`."""
    if payload.get("iss") != issuer:
        raise UnauthenticatedError("This token is another issuer's.")
    expires_s = _check_times(payload, now_s)
    use = _use(payload, header)
    if token_use is not None and use not in {token_use, None}:
        raise UnauthenticatedError(f"This is not an {token_use} token, which is what is taken here.")
    client_id = _first_text(payload, ("client_id", "azp"))
    _check_audience(payload, audience, client_id if use == ACCESS else None)
    return Claims(
        subject=_subject(payload),
        expires_at=datetime.fromtimestamp(expires_s, UTC),
        token_use=use,
        client_id=client_id,
        email=_first_text(payload, ("email",)),
        email_verified=payload.get("email_verified") in (True, "true"),  # Cognito's older pools say it in a string
        name=_first_text(payload, _NAME_CLAIMS),
        scopes=frozenset(_words(payload.get("scope"))) | frozenset(_words(payload.get("scp"))),
        groups=frozenset(_groups(payload)),
        nonce=_first_text(payload, ("nonce",)),
    )


def _check_times(payload: Mapping[str, Any], now_s: float) -> float:
    """When it expires. Raises where one of its times is none, or does not hold now."""
    expires_s, begins_s, issued_s = (_instant(payload, name) for name in ("exp", "nbf", "iat"))
    if expires_s is None:
        raise UnauthenticatedError("This token never expires: it has no exp, and such are not taken.")
    if now_s >= expires_s + LEEWAY_S:
        raise UnauthenticatedError("This token has expired.")
    if begins_s is not None and now_s < begins_s - LEEWAY_S:
        raise UnauthenticatedError("This token does not hold yet: its nbf is in the future.")
    if issued_s is not None and now_s < issued_s - LEEWAY_S:
        raise UnauthenticatedError("This token was issued in the future: one of the two clocks is wrong.")
    return expires_s


def _instant(payload: Mapping[str, Any], name: str) -> float | None:
    """A time in seconds of the epoch; None where the claim is not there."""
    value = payload.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST_S:
        raise UnauthenticatedError(f"This token's {name} is no time.")
    return float(value)


def _use(payload: Mapping[str, Any], header: Mapping[str, Any]) -> str | None:
    """Which kind a token is: what it says of itself, and None where nothing in it tells.

    Cognito says it in ``token_use``, Keycloak in the claim ``typ``, RFC 9068 in the header; ``at_hash`` and ``nonce`` are an
    id token's (OpenID Connect Core, section 3.1.3.6 and 2), ``scope`` is an access token's.
    """
    for name, uses in _SAYINGS.items():
        said = payload.get(name)
        if isinstance(said, str) and said.lower() != "jwt":  # a claim that only repeats the header says nothing
            return uses.get(said.lower(), f"{name} that is unknown")
    if media_type(header) == "at+jwt":
        return ACCESS
    if any(name in payload for name in ("at_hash", "c_hash", "nonce")):
        return ID
    return ACCESS if "scope" in payload or "scp" in payload else None


def media_type(header: Mapping[str, Any]) -> str:
    """A header's ``typ`` in lower case, without ``application/``; ``jwt`` where there is none (RFC 7515, section 4.1.9)."""
    said = header.get("typ", "jwt")
    return said.lower().removeprefix("application/") if isinstance(said, str) else ""


def is_token_type(header: Mapping[str, Any]) -> bool:
    """Whether a header is that of a token, and not of something else that the issuer signs (``logout+jwt`` …; RFC 8725, 3.11)."""
    return media_type(header) in _TYPES


def _check_audience(payload: Mapping[str, Any], audience: tuple[str, ...], client_id: str | None) -> None:
    """For us by ``aud``. Where there is none, as in Cognito's access tokens, by the client that they were made for."""
    said = payload.get("aud")
    meant = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    if said is None and payload.get("token_use") == ACCESS and client_id is not None:
        meant = [client_id]
    if not any(one in audience for one in meant if isinstance(one, str)):
        raise UnauthenticatedError("This token is meant for another audience.")


def _subject(payload: Mapping[str, Any]) -> str:
    """Who it is about: an owner of files, and part of their keys."""
    said = payload.get("sub")
    if not isinstance(said, str) or not said:
        raise UnauthenticatedError("This token does not say whom it is about: it has no sub.")
    if said == DEFAULT_OWNER:
        raise UnauthenticatedError(f"This token's sub is {DEFAULT_OWNER!r}, which is the owner of what nobody announced.")
    try:
        return checked_owner(said)
    except ValueError as error:
        raise UnauthenticatedError(f"This token's sub cannot be an owner: {error}.") from None


def _first_text(payload: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of these claims that is a text fit to be shown."""
    for name in names:
        value = payload.get(name)
        if isinstance(value, str) and 0 < len(value) <= _MOST_TEXT and value.isprintable():
            return value
    return None


def _words(value: object) -> Iterator[str]:
    """The words of a claim: a text with spaces between, or a list of texts."""
    if isinstance(value, str):
        yield from value.split()
    elif isinstance(value, list):
        yield from (one for one in value if isinstance(one, str))


def _groups(payload: Mapping[str, Any]) -> Iterator[str]:
    for name in _GROUP_CLAIMS:
        value = payload.get(name)
        yield from (value,) if isinstance(value, str) else _words(value)
    realm = payload.get("realm_access")  # Keycloak's roles
    if isinstance(realm, dict):
        yield from _words(realm.get("roles"))
