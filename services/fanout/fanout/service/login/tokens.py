"""A token is checked: its form, its signature, its claims."""

import base64
import binascii
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import jwt

from fanout.service.login.claims import grant_of
from fanout.service.login.grant import Grant
from fanout.service.login.keys import Key
from fanout.service.login.refusals import InvalidToken

ALGORITHMS = ("EdDSA", "ES256", "RS256", "HS256")
LONGEST_TOKEN = 8 * 1024
MOST_KNOWN = 1000
"""Tokens whose grant is remembered: who publishes sends the same one with each message."""
_TYPES = {"jwt", "at+jwt", "application/jwt", "application/at+jwt"}
_KEYS_IN_HEADER = ("jku", "jwk", "x5u", "x5c")
_compact = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)").fullmatch


class Keys(Protocol):
    """Where keys come from."""

    def at_hand(self) -> Sequence[Key]:
        """Return the keys that are there without waiting; perhaps none."""

    async def current(self) -> Sequence[Key]:
        """Return the keys that hold at present."""

    async def renewed(self) -> Sequence[Key]:
        """Return them once more, looked up anew if that is allowed again: a token names one that is not there."""


class Verifier:
    """Turns tokens into grants."""

    def __init__(self, keys: Keys, issuer: str, audience: str) -> None:
        self._keys, self._issuer, self._audience = keys, issuer, audience
        self._jws = jwt.PyJWS(algorithms=ALGORITHMS)
        self._known: OrderedDict[bytes, tuple[Key, Grant]] = OrderedDict()

    async def verify(self, token: str) -> Grant:
        """Return what a token permits.

        Raises:
            InvalidToken: it is not valid.
        """
        keys = await self._keys.current()
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        if known := self._recall(digest, keys):
            return known
        header, claims = read(token)
        fitting = _fitting(keys, header) or _fitting(await self._keys.renewed(), header)
        if not fitting:
            raise InvalidToken("the token is signed with a key that is not known here")
        signer = next((key for key in fitting if self._signed(token, key)), None)
        if signer is None:
            raise InvalidToken("the token's signature is wrong")
        grant = grant_of(claims, self._issuer, self._audience)
        self._known[digest] = signer, grant
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return grant

    def _recall(self, digest: bytes, keys: Sequence[Key]) -> Grant | None:
        """Return the grant of a token that was valid before, if the very key still holds and it has not expired."""
        signer, grant = self._known.get(digest, (None, None))
        if grant is None or not any(key is signer for key in keys) or grant.left() == 0:
            self._known.pop(digest, None)
            return None
        self._known.move_to_end(digest)
        return grant

    def _signed(self, token: str, key: Key) -> bool:
        try:
            self._jws.decode(token, key.key, algorithms=[key.algorithm])
        except (jwt.PyJWTError, ValueError, TypeError):
            return False
        return True


def _fitting(keys: Sequence[Key], header: dict[str, Any]) -> list[Key]:
    """Return the keys of the token's algorithm that have the name that it gives, or no name."""
    kid = header.get("kid")
    return [key for key in keys if key.algorithm == header["alg"] and (kid is None or key.kid in {kid, None})]


def read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the claims of a token, whose signature is not checked yet.

    Raises:
        InvalidToken: its form or its header is not valid.
    """
    if len(token) > LONGEST_TOKEN:
        raise InvalidToken(f"the token has more than {LONGEST_TOKEN} bytes")
    found = _compact(token)
    if not found:
        raise InvalidToken("the token is not a signed JWT: three parts of base64url, separated by dots")
    header, claims = _json_object(found[1], "header"), _json_object(found[2], "claims")
    if header.get("alg") not in ALGORITHMS:  # a list is in no tuple of texts
        raise InvalidToken(f"the token's alg must be one of {', '.join(ALGORITHMS)}")
    for name in ("crit", "b64", "cty", *_KEYS_IN_HEADER):
        if name in header:
            raise InvalidToken(f"the token's header must not have {name}")
    if "typ" in header and str(header["typ"]).lower() not in _TYPES:
        raise InvalidToken("the token's typ must be JWT")
    if "kid" in header and not isinstance(header["kid"], str):
        raise InvalidToken("the token's kid must be text")
    return header, claims


def _json_object(part: str, what: str) -> dict[str, Any]:
    """Decode a part. A name that is there twice is refused: others might read the other value."""
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        found = json.loads(raw.decode(), object_pairs_hook=_once_each, parse_constant=_no_constant)
    except (ValueError, RecursionError, binascii.Error):
        raise InvalidToken(f"the token's {what} cannot be read: JSON in base64url, each name once") from None
    if not isinstance(found, dict):
        raise InvalidToken(f"the token's {what} must be a JSON object")
    return found


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)
