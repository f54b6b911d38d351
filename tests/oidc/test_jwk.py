"""Published keys, and those that are passed over."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from tests.support.issuer import Signer, b64
from vproc.errors import UnavailableError
from vproc.oidc.jwk import MOST_KEYS, read_key_set

GOOD = Signer("good")
RSA = Signer("rsa", "RS256")


def algorithms(*entries: Any) -> dict[str | None, set[str]]:
    """By name, what is left of a set that has a good key beside these."""
    keys = read_key_set({"keys": [*entries, GOOD.jwk()]})
    return {key.kid: set(key.algorithms) for key in keys if key.kid != "good"}


@pytest.mark.parametrize(
    ("algorithm", "allowed"),
    [
        ("RS256", {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        ("ES256", {"ES256"}), ("ES384", {"ES384"}), ("ES512", {"ES512"}), ("EdDSA", {"EdDSA"}),
    ],
)  # fmt: skip
def test_a_key_allows_what_its_type_and_its_alg_allow(algorithm: str, allowed: set[str]) -> None:
    signer = Signer("key", algorithm)
    assert algorithms(signer.jwk()) == {"key": {algorithm}}
    assert algorithms(signer.jwk(alg=..., use=...)) == {"key": allowed}


SECRET = {"kty": "oct", "k": b64(b"x" * 32), "kid": "secret"}


@pytest.mark.parametrize(
    "entry",
    [
        *(SECRET, SECRET | {"alg": "HS256"}, SECRET | {"alg": "RS256"}),
        *(RSA.jwk(alg=alg) for alg in ("HS256", "none", "", None, ["RS256"], "ES256", "RSA-OAEP", "RS1")),
        *(RSA.jwk(use="enc"), RSA.jwk(use=None), RSA.jwk() | {"key_ops": ["sign"]}, RSA.jwk() | {"key_ops": "verify"}),
        *(RSA.jwk(d=b64(b"x" * 256)), GOOD.jwk(kid="private", d=b64(b"x" * 32))),
        *(RSA.jwk(kid=kid) for kid in (7, ["rsa"], "x" * 257)),
        *(RSA.jwk(n=n) for n in (..., "", "=", "é", 7, None, b64(b"\x00"))),
        *(RSA.jwk(e=e) for e in (..., "", b64(b"\x02"), 65537)),
        *(GOOD.jwk(kid="off", x=x) for x in (..., b64(b"x" * 32), b64(b"x" * 31), 7, "=")),
        *(GOOD.jwk(kid="curve", alg=..., crv=crv) for crv in ("secp256k1", "P-384", "", ..., 7, ["P-256"])),
        {"kty": "OKP", "crv": "X25519", "x": b64(b"x" * 32), "kid": "exchange"},
        *({}, [], None, "key", 7, {"kty": "RSA"}, {"kty": ["RSA"]}),
    ],
)  # fmt: skip
def test_what_cannot_verify_a_token_is_passed_over(entry: Any) -> None:
    assert algorithms(entry) == {}


def test_a_short_key_is_passed_over() -> None:
    public = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key().public_numbers()
    short = RSA.jwk(n=b64(public.n.to_bytes(128, "big")))
    assert algorithms(short) == {}


@pytest.mark.parametrize("document", [None, [], "keys", 7, {}, {"keys": None}, {"keys": {}}, {"keys": "x"}])
def test_what_is_no_set_is_said_to_be_none(document: object) -> None:
    with pytest.raises(UnavailableError, match="no JWK set"):
        read_key_set(document)


@pytest.mark.parametrize("entries", [[], [SECRET], [RSA.jwk(use="enc")]])
def test_a_set_without_a_key_of_use_is_none(entries: list[Any]) -> None:
    """What was held before is worth more."""
    with pytest.raises(UnavailableError, match="no key that verifies ES256"):
        read_key_set({"keys": entries})


def test_a_set_has_so_many_keys_at_most() -> None:
    assert len(read_key_set({"keys": [GOOD.jwk()] * MOST_KEYS})) == MOST_KEYS
    with pytest.raises(UnavailableError, match="65 keys; 64 are taken"):
        read_key_set({"keys": [GOOD.jwk()] * (MOST_KEYS + 1)})


_VALUE = (
    st.none() | st.booleans() | st.integers() | st.text("AQab_-=", max_size=50) | st.lists(st.text("ab", max_size=2), max_size=2)
)
_MEMBER = st.sampled_from(["kty", "crv", "n", "e", "x", "y", "alg", "use", "key_ops", "kid", "d"])


@given(st.dictionaries(_MEMBER, _VALUE), st.sampled_from([RSA, GOOD, Signer("ed", "EdDSA")]))
def test_whatever_an_entry_holds_the_set_is_read(changes: dict[str, Any], signer: Signer) -> None:
    keys = read_key_set({"keys": [signer.jwk() | changes, GOOD.jwk()]})
    assert keys[-1].kid == "good"
    assert all("HS" not in algorithm for key in keys for algorithm in key.algorithms)
