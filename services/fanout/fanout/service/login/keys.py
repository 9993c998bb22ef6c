"""Keys that signatures are checked with, from text: PEM, a JSON Web Key or a set of them (RFC 7517), or a secret."""

import json
import re
from typing import Any, NamedTuple

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

SHORTEST_SECRET = 32
SHORTEST_RSA = 2048
MOST_KEYS = 64
_BY_TYPE = {"OKP": "EdDSA", "EC": "ES256", "RSA": "RS256", "oct": "HS256"}
_pem = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


class UnusableKey(ValueError):
    """A key cannot be used; the text says why, and holds nothing of the key."""


class Key(NamedTuple):
    """A key, and the one algorithm that it is for.

    Attributes:
        algorithm: EdDSA, ES256, RS256 or HS256.
        key: the key itself.
        kid: its name in a set; None if it has none.
    """

    algorithm: str
    key: Any
    kid: str | None = None

    def __repr__(self) -> str:
        """Show no secret."""
        return f"Key({self.algorithm}, kid={self.kid!r})"


def read_keys(raw: bytes, *, secrets: bool = True) -> tuple[Key, ...]:
    """Read public keys in PEM, a JWK or a JWKS, or the secret for HS256.

    In a set, keys that are for something else are left out.

    Args:
        raw: the text.
        secrets: whether it may hold secrets: not where it was fetched from a URL.

    Raises:
        UnusableKey: it holds no key, or one that is too weak.
    """
    text = raw.strip()
    if not text:
        raise UnusableKey("holds no key")
    if text.startswith(b"{"):
        return _from_jwks(text, secrets=secrets)
    if b"-----BEGIN" in text:
        blocks = list(_pem.finditer(text))
        if not blocks:
            raise UnusableKey("holds a PEM key that is cut short")
        return tuple(_from_pem(block) for block in blocks[:MOST_KEYS])
    if not secrets:
        raise UnusableKey("is neither a JWKS nor PEM")
    return (_secret(raw.removesuffix(b"\n").removesuffix(b"\r")),)


def _from_pem(block: "re.Match[bytes]") -> Key:
    kind = block[1].decode()
    if "PRIVATE" in kind:
        raise UnusableKey("holds a private key, which only who issues tokens may have; the public one is needed")
    if kind not in {"PUBLIC KEY", "RSA PUBLIC KEY"}:
        raise UnusableKey(f"holds a {kind.lower()}, but must hold a public key")
    try:
        found = load_pem_public_key(block[0])
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey("holds a public key that cannot be read") from None
    return _of_type(found, None)


def _of_type(found: Any, kid: str | None) -> Key:
    if isinstance(found, Ed25519PublicKey):
        return Key("EdDSA", found, kid)
    if isinstance(found, EllipticCurvePublicKey) and isinstance(found.curve, SECP256R1):
        return Key("ES256", found, kid)
    if isinstance(found, RSAPublicKey):
        if found.key_size < SHORTEST_RSA:
            raise UnusableKey(f"holds an RSA key of {found.key_size} bits, but {SHORTEST_RSA} is the least")
        return Key("RS256", found, kid)
    raise UnusableKey("holds a key of another type than Ed25519, P-256 (ES256) or RSA (RS256)")


def _secret(secret: bytes, kid: str | None = None) -> Key:
    if len(secret) < SHORTEST_SECRET:
        raise UnusableKey(f"holds a secret of {len(secret)} bytes, but {SHORTEST_SECRET} is the least")
    try:
        return Key("HS256", jwt.get_algorithm_by_name("HS256").prepare_key(secret), kid)
    except jwt.InvalidKeyError:  # what looks like a public key is known to everyone
        raise UnusableKey("holds a secret that looks like a key of another kind") from None


def _from_jwks(text: bytes, *, secrets: bool) -> tuple[Key, ...]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise UnusableKey("begins like a JWKS, but is not valid JSON") from None
    listed = found.get("keys", [found])
    if not isinstance(listed, list):
        raise UnusableKey("is a JWKS whose keys are not a list")
    keys: list[Key] = []
    why = "is a JWKS without keys"
    for one in listed[:MOST_KEYS]:
        try:
            keys.append(_from_jwk(one, secrets=secrets))
        except UnusableKey as error:
            why = str(error)
    if not keys:
        raise UnusableKey(why)
    return tuple(keys)


def _from_jwk(one: Any, *, secrets: bool) -> Key:
    if not isinstance(one, dict):
        raise UnusableKey("is a JWKS with something else than keys")
    kid, uses = one.get("kid"), one.get("key_ops", ["verify"])
    if not isinstance(kid, str | None) or one.get("use", "sig") != "sig" or not isinstance(uses, list):
        raise UnusableKey("is a JWKS without a key for signatures")
    if "verify" not in uses:
        raise UnusableKey("is a JWKS without a key that is there to verify signatures")
    if one.get("kty") != "oct" and "d" in one:
        raise UnusableKey("holds a private key, which only who issues tokens may have; the public one is needed")
    if one.get("kty") == "oct" and not secrets:
        raise UnusableKey("is a JWKS with a secret, which everyone can read there")
    try:
        parsed = jwt.PyJWK(one, _BY_TYPE[one["kty"]]).key
    except (jwt.PyJWTError, LookupError, ValueError, TypeError, UnsupportedAlgorithm):
        raise UnusableKey("is a JWKS without a key of type Ed25519, P-256 or RSA") from None
    key = _secret(parsed, kid) if isinstance(parsed, bytes) else _of_type(parsed, kid)
    if one.get("alg", key.algorithm) != key.algorithm:
        raise UnusableKey("is a JWKS whose keys are for other algorithms than EdDSA, ES256, RS256 or HS256")
    return key
