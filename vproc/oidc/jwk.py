"""An issuer's published keys (RFC 7517) as keys that verify, each with the algorithms that it may be used with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from vproc.errors import UnavailableError

MOST_KEYS = 64
"""Of one issuer. The largest publish some twenty."""
MOST_KID_CHARACTERS = 256
_RSA_BITS = range(2048, 8192 + 1)
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_EDWARDS = {"Ed25519": "EdDSA"}
ALGORITHMS = _RSA | frozenset(_CURVES.values()) | frozenset(_EDWARDS.values())
"""Every algorithm that is taken: public keys only, so that whoever can verify cannot sign."""

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key of the issuer's. ``algorithms``: those that its type, its curve and its own ``alg`` allow."""

    kid: str | None
    algorithms: frozenset[str]
    public: PublicKey


def read_key_set(document: object) -> tuple[VerifyingKey, ...]:
    """The keys of a JWK set that may verify a token; others are passed over. Raises `UnavailableError` where there is none."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise UnavailableError("the key set is no JWK set: it has no list of keys")
    if len(entries) > MOST_KEYS:
        raise UnavailableError(f"the key set has {len(entries)} keys; {MOST_KEYS} are taken")
    keys = tuple(key for entry in entries if isinstance(entry, dict) and (key := _key_from(entry)) is not None)
    if not keys:
        raise UnavailableError(f"the key set has no key that verifies {', '.join(sorted(ALGORITHMS))}")
    return keys


def _key_from(entry: Mapping[str, Any]) -> VerifyingKey | None:
    """The key, or None: another use, an unknown type, one that is too weak, or one whose private half stands there for all."""
    kid, operations = entry.get("kid"), entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations or "d" in entry:
        return None
    if kid is not None and not (isinstance(kid, str) and len(kid) <= MOST_KID_CHARACTERS):
        return None
    algorithms = _algorithms(entry)
    if "alg" in entry:
        algorithms &= {entry["alg"]} if isinstance(entry["alg"], str) else set()
    public = _public(entry) if algorithms else None
    return VerifyingKey(kid, algorithms, public) if public is not None else None


def _algorithms(entry: Mapping[str, Any]) -> frozenset[str]:
    match entry.get("kty"), entry.get("crv"):
        case "RSA", _:
            return _RSA
        case "EC", str(curve) if curve in _CURVES:
            return frozenset({_CURVES[curve]})
        case "OKP", str(curve) if curve in _EDWARDS:
            return frozenset({_EDWARDS[curve]})
    return frozenset()


def _public(entry: Mapping[str, Any]) -> PublicKey | None:
    kinds: Mapping[str, type[RSAAlgorithm | ECAlgorithm | OKPAlgorithm]] = {
        "RSA": RSAAlgorithm,
        "EC": ECAlgorithm,
        "OKP": OKPAlgorithm,
    }
    try:
        key = kinds[entry["kty"]].from_jwk(dict(entry))
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if isinstance(key, RSAPublicKey):
        return key if key.key_size in _RSA_BITS else None
    return key if isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey) else None
