"""What a token says, and whether that is enough."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.claims import ACCESS, ID, LEEWAY_S, Claims, is_token_type, read_claims
from vproc.errors import UnauthenticatedError

ISSUER = "https://issuer.example/"
NOW_S = 1_800_000_000.0


def read(header: dict[str, Any] | None = None, *, wanted: str | None = ACCESS, **changes: Any) -> Claims:
    """What a good access token says once it is changed so; a claim that is ``...`` is left out."""
    usual = {"iss": ISSUER, "aud": "api", "sub": "ann", "exp": NOW_S + 600, "iat": NOW_S, "scope": "openid"}
    payload = {name: value for name, value in (usual | changes).items() if value is not ...}
    return read_claims(payload, header=header or {}, issuer=ISSUER, audience=("api", "app"), token_use=wanted, now_s=NOW_S)


def refusal(header: dict[str, Any] | None = None, **changes: Any) -> str:
    with pytest.raises(UnauthenticatedError) as refused:
        read(header, **changes)
    return refused.value.detail


def test_a_good_token_says_who_it_is_about() -> None:
    claims = read({"typ": "at+jwt"}, email="ann@example.org", email_verified=True, name="Ann", client_id="cli", nonce="n")
    assert claims == Claims(
        subject="ann",
        expires_at=datetime.fromtimestamp(NOW_S + 600, UTC),
        token_use=ACCESS,
        client_id="cli",
        email="ann@example.org",
        email_verified=True,
        name="Ann",
        scopes=frozenset({"openid"}),
        nonce="n",
    )


@pytest.mark.parametrize(
    "issuer", [..., None, "", "https://issuer.example", "https://issuer.example//", "https://evil.example/", [ISSUER], 1]
)
def test_another_issuers_token_is_refused(issuer: object) -> None:
    """To the letter: an issuer without its last slash is another."""
    assert "another issuer" in refusal(iss=issuer)


# --- times -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "holds", "does_not"),
    [
        ("exp", NOW_S - LEEWAY_S + 1, NOW_S - LEEWAY_S),
        ("nbf", NOW_S + LEEWAY_S, NOW_S + LEEWAY_S + 1),
        ("iat", NOW_S + LEEWAY_S, NOW_S + LEEWAY_S + 1),
    ],
)
def test_clocks_may_be_a_minute_apart(name: str, holds: float, does_not: float) -> None:
    assert read(**{name: holds}).subject == "ann"
    assert refusal(**{name: does_not})


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["1", "now", True, [], {}, -1, 1e30, float("inf"), float("nan"), 10**400])
def test_what_is_no_time_is_refused(name: str, value: object) -> None:
    assert refusal(**{name: value}) == f"This token's {name} is no time."


def test_a_token_without_an_end_is_refused() -> None:
    assert "never expires" in refusal(exp=...)
    assert "never expires" in refusal(exp=None)


def test_only_the_end_is_asked_for() -> None:
    assert read(iat=..., nbf=...).subject == "ann"


# --- audience ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("audience", ["api", "app", ["api"], ["other", "app"], [1, "api"]])
def test_one_of_ours_is_enough(audience: object) -> None:
    assert read(aud=audience).subject == "ann"


@pytest.mark.parametrize("audience", [..., None, "", "API", "api ", [], ["other"], [["api"]], {"api": 1}, 1])
def test_a_token_for_somebody_else_is_refused(audience: object) -> None:
    assert "another audience" in refusal(aud=audience)


def test_cognitos_access_token_is_for_its_client() -> None:
    """It has no ``aud``."""
    cognito = {"aud": ..., "token_use": "access", "scope": "aws.cognito.signin.user.admin"}
    assert read(**cognito, client_id="app").client_id == "app"
    assert "another audience" in refusal(**cognito, client_id="other")
    assert "another audience" in refusal(**cognito)


@pytest.mark.parametrize("changes", [{"aud": "other"}, {"aud": []}, {"aud": ..., "token_use": ...}])
def test_a_client_is_no_audience_elsewhere(changes: dict[str, Any]) -> None:
    """Where a token names an audience, that is what counts; and only Cognito leaves it out."""
    assert "another audience" in refusal(**({"client_id": "app", "azp": "app", "token_use": "access"} | changes))


# --- kinds -------------------------------------------------------------------------------------------------------------

ACCESS_TOKENS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Cognito": ({}, {"token_use": "access", "aud": ..., "client_id": "app"}),
    "Keycloak": ({"typ": "JWT"}, {"typ": "Bearer", "nonce": "n"}),
    "one that says access": ({}, {"typ": "access_token", "nonce": "n"}),
    "one whose claim repeats the header": ({"typ": "JWT"}, {"typ": "JWT"}),
    "RFC 9068": ({"typ": "at+jwt"}, {"scope": ..., "nonce": "n"}),
    "RFC 9068, at length": ({"typ": "application/at+jwt"}, {"scope": ...}),
    "Auth0": ({"typ": "JWT"}, {"scope": "openid profile"}),
    "Entra": ({"typ": "JWT"}, {"scope": ..., "scp": "Files.Read"}),
}
ID_TOKENS: dict[str, dict[str, Any]] = {
    "Cognito": {"token_use": "id", "scope": ...},
    "Keycloak": {"typ": "ID", "scope": ...},
    "with a hash of the access token": {"at_hash": "x", "scope": ...},
    "with a nonce": {"nonce": "n", "scope": ...},
    "with a nonce and a scope": {"nonce": "n"},
}


@pytest.mark.parametrize("name", ACCESS_TOKENS)
def test_an_access_token_is_known(name: str) -> None:
    header, changes = ACCESS_TOKENS[name]
    assert read(header, **changes).token_use == ACCESS
    assert refusal(header, wanted=ID, **changes) == "This is not an id token, which is what is taken here."


@pytest.mark.parametrize("name", ID_TOKENS)
def test_an_id_token_is_no_access_token(name: str) -> None:
    assert refusal(**ID_TOKENS[name]) == "This is not an access token, which is what is taken here."
    assert read(wanted=ID, **ID_TOKENS[name]).token_use == ID
    assert read(wanted=None, **ID_TOKENS[name]).token_use == ID


@pytest.mark.parametrize(
    "changes",
    [{"typ": "Refresh"}, {"typ": "Logout"}, {"typ": "Offline"}, {"typ": "bearer+x"}, {"typ": "DPoP"}, {"token_use": "refresh"}],
)
def test_what_is_neither_kind_is_refused(changes: dict[str, Any]) -> None:
    assert "not an access token" in refusal(**changes)


def test_a_token_that_does_not_say_its_kind_is_its_audiences() -> None:
    assert read(scope=...).token_use is None


@pytest.mark.parametrize(
    ("typ", "is_one"),
    [
        (..., True), ("JWT", True), ("jwt", True), ("at+jwt", True), ("application/at+JWT", True), ("application/jwt", True),
        ("logout+jwt", False), ("dpop+jwt", False), ("secevent+jwt", False), ("JOSE", False), ("", False),
        (None, False), (1, False),
    ],
)  # fmt: skip
def test_what_the_issuer_signs_for_something_else_is_no_token(typ: object, is_one: bool) -> None:
    assert is_token_type({} if typ is ... else {"typ": typ}) is is_one


# --- who it is ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", ["ann", "auth0|5f7c", "a/b", "a b", "ä@example.org", "..", "x" * 255, "|" * 255, "😀" * 75])
def test_a_subject_may_hold_anything_printable(subject: str) -> None:
    assert read(sub=subject).subject == subject


@pytest.mark.parametrize(
    "subject", [..., None, "", 7, ["ann"], " ann", "ann ", "a\nb", "a\x00b", "x" * 256, "😀" * 76, "default", "\u202eann"]
)
def test_what_cannot_be_an_owner_is_refused(subject: object) -> None:
    assert "sub" in refusal(sub=subject)


@pytest.mark.parametrize(
    ("changes", "admin"),
    [
        ({"scope": "openid vproc:admin"}, True),
        ({"scope": ["openid", "vproc:admin"]}, True),
        ({"scp": ["vproc:admin"]}, True),
        ({"permissions": ["vproc:admin"]}, True),
        ({"cognito:groups": ["a", "vproc-admin"]}, True),
        ({"groups": ["vproc-admin"]}, True),
        ({"groups": "vproc-admin"}, True),
        ({"roles": ["vproc-admin"]}, True),
        ({"realm_access": {"roles": ["vproc-admin"]}}, True),
        ({}, False),
        ({"scope": "vproc:administrator xvproc:admin vproc-admin admin"}, False),
        ({"groups": ["admin", "VPROC-ADMIN"], "roles": [["vproc-admin"]], "realm_access": ["vproc-admin"]}, False),
        ({"groups": "not vproc-admin", "admin": True, "email": "vproc-admin", "name": "vproc:admin"}, False),
        ({"scope": {"vproc:admin": 1}, "realm_access": {"roles": 7}}, False),
    ],
)
def test_an_admin_is_one_by_scope_permission_or_group(changes: dict[str, Any], admin: bool) -> None:
    assert read(**changes).admin is admin


@pytest.mark.parametrize("value", [None, 7, ["a@b"], "", "x" * 321, "a\nb", {"a": 1}])
def test_what_is_no_name_is_none(value: object) -> None:
    claims = read(email=value, name=value)
    assert (claims.email, claims.name) == (None, None)


def test_a_name_is_looked_for_where_issuers_put_it() -> None:
    assert read(**{"cognito:username": "ann1"}).name == "ann1"
    assert read(preferred_username="ann2", username="no").name == "ann2"


@pytest.mark.parametrize(
    ("said", "verified"), [(True, True), ("true", True), (False, False), ("false", False), (1, True), (None, False)]
)
def test_an_address_is_verified_where_the_issuer_says_so(said: object, verified: bool) -> None:
    assert read(email_verified=said).email_verified is verified


_TEXT = st.text("ab|/ \nä\x00😀", max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
_NAMES = st.sampled_from(
    [
        "iss",
        "aud",
        "sub",
        "exp",
        "nbf",
        "iat",
        "scope",
        "scp",
        "groups",
        "roles",
        "realm_access",
        "typ",
        "token_use",
        "email",
        "nonce",
    ]
)


@given(st.dictionaries(_NAMES, _JSON), st.dictionaries(st.just("typ"), _JSON))
def test_whatever_it_holds_a_token_is_read_or_refused(changes: dict[str, Any], header: dict[str, Any]) -> None:
    try:
        claims = read(header, **changes)
    except UnauthenticatedError as refused:
        assert refused.detail.startswith("This ")  # noqa: PT017 - either end is right
    else:
        assert 0 < len(claims.subject) <= 255
