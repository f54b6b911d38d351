"""Whether a token holds: signatures by every algorithm, headers that lie, what is remembered."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.support.issuer import AUDIENCE, Signer, b64, made_by_hand
from vproc.errors import ServiceUnavailableError, UnauthenticatedError, UnavailableError
from vproc.oidc import tokens as tokens_module
from vproc.oidc.jwk import VerifyingKey, read_key_set
from vproc.oidc.keys import KeySet
from vproc.oidc.tokens import BELIEVED_S, MOST_TOKEN_CHARACTERS, TokenVerifier
from vproc.tasks import task_group

ISSUER = "https://issuer.example"
EC, RSA = Signer("ec"), Signer("rsa", "RS256")
ALL = [Signer(name, name) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")]


@dataclass
class Checked:
    """A verifier whose clock stands at ``now_s`` and whose issuer publishes ``signers``."""

    signers: list[Signer] = field(default_factory=lambda: [EC, RSA])
    now_s: float = field(default_factory=time.time)
    fetches: int = 0
    away: bool = False
    verifier: TokenVerifier = field(init=False)

    async def fetch(self) -> tuple[VerifyingKey, ...]:
        self.fetches += 1
        if self.away:
            raise UnavailableError("away")
        return read_key_set({"keys": [signer.jwk() for signer in self.signers]})

    def claims(self, **changes: Any) -> dict[str, Any]:
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": int(self.now_s) + 600, "scope": "openid"}
        return {name: value for name, value in (usual | changes).items() if value is not ...}

    async def subject(self, token: str) -> str:
        return (await self.verifier.verify(token)).subject

    async def refusal(self, token: str) -> str:
        with pytest.raises(UnauthenticatedError) as refused:
            await self.verifier.verify(token)
        return refused.value.detail


@asynccontextmanager
async def checked(*signers: Signer, **changes: Any) -> AsyncIterator[Checked]:
    made = Checked(signers=list(signers) or [EC, RSA], **changes)
    async with task_group() as tasks:
        keys = KeySet(made.fetch, tasks=tasks)
        made.verifier = TokenVerifier(
            issuer=ISSUER, keys=keys, audience=(AUDIENCE,), token_use="access", clock=lambda: made.now_s
        )
        yield made
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("signer", ALL, ids=lambda signer: signer.algorithm)
async def test_each_algorithm_that_is_taken_holds(signer: Signer) -> None:
    async with checked(*ALL) as its:
        assert await its.subject(signer.sign(its.claims())) == "ann"
        forged = Signer(signer.kid, signer.algorithm, number=2).sign(its.claims())
        assert await its.refusal(forged) == "This token's signature does not hold."


async def test_a_key_that_names_no_alg_takes_those_of_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    async with checked() as its:
        document = {"keys": [RSA.jwk(alg=...)]}
        monkeypatch.setattr(its.verifier._keys, "_fetch", lambda: _given(read_key_set(document)))
        for algorithm in ("RS256", "PS512"):
            assert await its.subject(Signer("rsa", algorithm).sign(its.claims())) == "ann"
        assert "does not name" in await its.refusal(EC.sign(its.claims(), kid="rsa"))


UNREADABLE = "This token cannot be read: it is no signed JWT."
OTHER_ALG = f"This token's alg is not taken here: {', '.join(sorted(signer.algorithm for signer in ALL))} are."


async def _given(keys: tuple[VerifyingKey, ...]) -> tuple[VerifyingKey, ...]:
    return keys


# --- headers that lie --------------------------------------------------------------------------------------------------


def by_secret(secret: bytes, header: dict[str, Any], claims: Any) -> str:
    return made_by_hand(header, claims, lambda message: hmac.new(secret, message, hashlib.sha256).digest())


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "", None, ..., 7, ["ES256"], "HS256", "HS512", "ES256K", "es256", "RS1", "ES256 "]
)
async def test_another_alg_is_refused_whatever_signs(alg: object) -> None:
    header = {"typ": "JWT", "kid": "ec"} | ({} if alg is ... else {"alg": alg})
    async with checked() as its:
        for sign in (EC.raw, lambda _: b"x"):
            assert "alg is not taken" in await its.refusal(made_by_hand(header, its.claims(), sign))
        assert its.fetches == 0, "no key is looked for"


async def test_none_without_a_signature_is_no_token() -> None:
    async with checked() as its:
        token = made_by_hand({"alg": "none"}, its.claims(), lambda _: b"")
        assert "cannot be read" in await its.refusal(token)


@pytest.mark.parametrize("form", ["pem", "der", "jwk", "n"])
@pytest.mark.parametrize("alg", ["HS256", "RS256"])
async def test_a_public_key_is_no_secret(form: str, alg: str) -> None:
    """What everybody can fetch signs nothing."""
    public = RSA.private.public_key()
    secret = {
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "jwk": json.dumps(RSA.jwk()).encode(),
        "n": RSA.jwk()["n"].encode(),
    }[form]
    async with checked() as its:
        assert await its.refusal(by_secret(secret, {"alg": alg, "kid": "rsa", "typ": "JWT"}, its.claims()))


@pytest.mark.parametrize("header", [{"kid": "rsa"}, {"kid": "ec", "alg": "ES384"}, {"kid": "ec", "alg": "EdDSA"}])
async def test_a_key_of_another_type_verifies_nothing(header: dict[str, str]) -> None:
    async with checked() as its:
        token = made_by_hand({"alg": "ES256", **header}, its.claims(), EC.raw)
        assert "does not name for such a signature" in await its.refusal(token)


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], None, "exp", ["x5u"]])
async def test_an_extension_that_must_be_understood_is_not(crit: object) -> None:
    async with checked() as its:
        token = made_by_hand({"alg": "ES256", "kid": "ec", "crit": crit, "b64": True}, its.claims(), EC.raw)
        assert "crit" in await its.refusal(token)


async def test_a_payload_that_is_not_encoded_is_refused() -> None:
    async with checked() as its:
        token = made_by_hand({"alg": "ES256", "kid": "ec", "b64": False}, its.claims(), EC.raw)
        assert await its.refusal(token)


@pytest.mark.parametrize("typ", ["logout+jwt", "dpop+jwt", "secevent+jwt", 7])
async def test_what_the_issuer_signs_for_something_else_is_no_token(typ: object) -> None:
    async with checked() as its:
        token = made_by_hand({"alg": "ES256", "kid": "ec", "typ": typ}, its.claims(), EC.raw)
        assert "is no token" in await its.refusal(token)


@pytest.mark.parametrize("kid", ["", 7, ["ec"], {"a": 1}, True, "x" * 257])
async def test_a_kid_that_names_nothing_is_refused(kid: object) -> None:
    async with checked() as its:
        token = made_by_hand({"alg": "ES256", "kid": kid}, its.claims(), EC.raw)
        assert "kid" in await its.refusal(token)
        assert its.fetches == 0


async def test_a_key_in_the_header_is_not_looked_at() -> None:
    """The attacker's key signs, and comes with the token in every form."""
    mallory = Signer("ec", number=2)
    for extra in ({"jwk": mallory.jwk()}, {"jku": "https://evil.example"}, {"x5c": ["AA"]}, {"x5u": "https://evil.example"}):
        async with checked() as its:
            assert await its.refusal(mallory.sign(its.claims(), **extra)) == "This token's signature does not hold."
            assert await its.subject(EC.sign(its.claims(), **extra)) == "ann", "the issuer may put there what it likes"


# --- what is no token --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token",
    [
        *("", ".", "..", "a", "a.b", "a.b.c", "a.b.c.d", "a.b.c.d.e", "é.é.é", "a b.c.d", "e30.e30.", ".e30.e30", "e30..e30"),
        *("e30.e30.e30\n", "e30=.e30.e30", "W10.e30.e30", "\x00", "eyJhbGciOiJFUzI1NiJ9", "%2e.%2e.%2e", "e30.e30.e30.e30"),
    ],
)
async def test_what_is_no_signed_token_is_said_to_be_none(token: str) -> None:
    async with checked() as its:
        assert await its.refusal(token) in {UNREADABLE, OTHER_ALG}


@pytest.mark.parametrize(
    "payload", [b"", b"x", b"[]", b"null", b'"a"', b"{", b'{"sub": NaN}', b'{"exp": Infinity}', b"\xff", b"[" * 5000, b"{}{}"]
)
async def test_a_signed_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    async with checked() as its:
        token = made_by_hand({"alg": "ES256", "kid": "ec"}, payload, EC.raw)
        assert "cannot be read" in await its.refusal(token)


@pytest.mark.parametrize("header", [b"x", b"[]", b"{", b'{"alg": NaN}', b"\xff", b'{"a":' * 2000, b"7"])
async def test_a_header_that_is_no_object_is_refused(header: bytes) -> None:
    async with checked() as its:
        token = ".".join([b64(header), b64(b"{}"), b64(b"x")])
        assert "cannot be read" in await its.refusal(token)


async def test_a_token_is_so_long_at_most_and_no_work_is_done_for_a_longer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with checked() as its:
        long = EC.sign(its.claims(pad="x" * 11000))
        assert len(long) <= MOST_TOKEN_CHARACTERS
        assert await its.subject(long) == "ann"
        monkeypatch.setattr(tokens_module, "digest_of", lambda _: pytest.fail("work"))
        assert "too long" in await its.refusal("e" * (MOST_TOKEN_CHARACTERS + 1))


async def test_a_payload_that_was_changed_is_refused() -> None:
    async with checked() as its:
        header, payload, signature = EC.sign(its.claims()).split(".")
        other = b64(json.dumps(its.claims(sub="bob")).encode())
        assert "signature" in await its.refusal(f"{header}.{other}.{signature}")
        swapped = EC.sign(its.claims(sub="bob")).split(".")[2]
        assert "signature" in await its.refusal(f"{header}.{payload}.{swapped}")
        assert "signature" in await its.refusal(f"{header}.{payload}.{signature[:-8]}")
        assert "signature" in await its.refusal(f"{header}.{payload}.{b64(b'0' * 64)}")
        assert "signature" in await its.refusal(f"{header}.{payload}.{b64(bytes(64))}"), "zeros (CVE-2022-21449)"


@given(st.data())
async def test_a_token_with_anything_changed_is_refused(data: st.DataObject) -> None:
    async with checked() as its:
        token = EC.sign(its.claims())
        at = data.draw(st.integers(0, len(token) - 1))
        character = data.draw(st.sampled_from("Aa0-_.=é"))
        changed = token[:at] + character + token[at + 1 :]
        if changed == token:
            assert await its.subject(changed) == "ann"
            return
        words = await its.refusal(changed)
        assert words.startswith("This ")
        assert token.split(".")[1] not in words


# --- the claims are checked too ----------------------------------------------------------------------------------------


async def test_a_signature_is_not_enough() -> None:
    async with checked() as its:
        for changes, word in (
            ({"iss": "https://evil.example"}, "issuer"), ({"aud": "other"}, "audience"), ({"exp": its.now_s - 61}, "expired"),
            ({"nbf": its.now_s + 61}, "yet"), ({"sub": ...}, "sub"), ({"token_use": "id"}, "access"), ({"exp": ...}, "exp"),
        ):  # fmt: skip
            assert word in await its.refusal(EC.sign(its.claims(**changes)))


async def test_without_a_kid_the_only_key_is_meant() -> None:
    async with checked(EC) as its:
        assert await its.subject(Signer(None).sign(its.claims())) == "ann"
    async with checked(EC, RSA) as its:
        assert "does not name" in await its.refusal(Signer(None).sign(its.claims()))


async def test_of_two_keys_under_one_name_either_may_have_signed() -> None:
    other = Signer("ec", number=2)
    async with checked(EC, other) as its:
        assert [await its.subject(signer.sign(its.claims())) for signer in (EC, other)] == ["ann", "ann"]
        assert "signature" in await its.refusal(Signer("ec", number=3).sign(its.claims()))


async def test_a_key_that_was_replaced_under_its_name_is_looked_for() -> None:
    """A signature that does not hold asks for newer keys, beside the request and as seldom as an unknown name."""
    new = Signer("ec", number=2)
    async with checked(EC) as its:
        assert await its.subject(EC.sign(its.claims())) == "ann"
        its.signers, keys = [new], its.verifier._keys
        keys._begun_s = 0.0
        assert "signature" in await its.refusal(new.sign(its.claims()))
        await keys._landed()
        assert await its.subject(new.sign(its.claims())) == "ann"
        for _ in range(100):
            assert "signature" in await its.refusal(EC.sign(its.claims()))
        assert its.fetches == 2


async def test_without_keys_it_is_not_the_token_that_is_wrong() -> None:
    async with checked(away=True) as its:
        with pytest.raises(ServiceUnavailableError) as away:
            await its.verifier.verify(EC.sign(its.claims()))
        assert away.value.retry_after_s == 30


# --- what is remembered ------------------------------------------------------------------------------------------------


async def test_a_token_that_held_is_believed_for_a_minute_and_never_beyond_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with checked() as its:
        long, short = EC.sign(its.claims()), EC.sign(its.claims(exp=int(its.now_s) + 20))
        for token in (long, short):
            assert await its.subject(token) == "ann"
        checks: list[str] = []
        whole = its.verifier._checked

        async def counted(token: str) -> Any:
            checks.append(token)
            return await whole(token)

        monkeypatch.setattr(its.verifier, "_checked", counted)
        its.now_s += 10
        assert [await its.subject(token) for token in (long, short)] == ["ann", "ann"]
        assert checks == []
        its.now_s += 20
        assert [await its.subject(token) for token in (long, short)] == ["ann", "ann"], "by the leeway"
        assert checks == [short]
        its.now_s += BELIEVED_S - 9
        assert "expired" in await its.refusal(short)
        assert await its.subject(long) == "ann"
        assert checks == [short, short, long]


async def test_what_is_remembered_is_bounded_and_holds_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "_MOST_BELIEVED", 2)
    async with checked() as its:
        tokens = [EC.sign(its.claims(sub=f"ann{number}")) for number in range(4)]
        for token in tokens:
            await its.verifier.verify(token)
        assert "signature" in await its.refusal(Signer("ec", number=2).sign(its.claims()))
        assert len(its.verifier._believed) == 2
        assert all(token.split(".")[2] not in repr(its.verifier._believed) for token in tokens)
