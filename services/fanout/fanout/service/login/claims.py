"""The claims of a token, checked one by one, as a grant."""

import time
from collections.abc import Mapping
from typing import Any

from fanout.service.login.globs import Globs
from fanout.service.login.grant import LEEWAY, PRESENCE, Grant
from fanout.service.login.refusals import InvalidToken

LONGEST_NAME = 255
MOST_GLOBS = 1000
LAST_SECOND = 253_402_300_799
"""The end of the year 9999: what is later is a mistake."""


def grant_of(claims: Mapping[str, Any], issuer: str, audience: str) -> Grant:
    """Return what claims permit that were signed.

    Args:
        claims: the claims.
        issuer: who must have issued the token; empty is anyone who has the key.
        audience: for whom it must be; empty takes only tokens that name nobody.

    Raises:
        InvalidToken: a claim is missing, of the wrong type, or does not hold at present.
    """
    expires = _check_times(claims)
    if issuer and claims.get("iss") != issuer:
        raise InvalidToken("the token is not of the issuer that AUTH_ISSUER names")
    _check_audience(claims.get("aud"), audience)
    subject = _subject(claims)
    own, mercure = _object(claims, "fanout"), _object(claims, "mercure")
    dashboard = own.get("dashboard", False)
    if not isinstance(dashboard, bool):
        raise InvalidToken("the claim fanout.dashboard must be true or false")
    return Grant(
        subject=subject,
        expires=expires,
        subscribe=_globs(own, mercure, "subscribe", subject),
        publish=_globs(own, mercure, "publish", subject),
        dashboard=dashboard,
    )


def _check_times(claims: Mapping[str, Any]) -> int:
    now = time.time()
    if "exp" not in claims:
        raise InvalidToken("the token has no exp: it must expire")
    for name in ("exp", "nbf", "iat"):
        at = claims.get(name, 0)
        if type(at) is not int or not 0 <= at <= LAST_SECOND:  # True is an int, too
            raise InvalidToken(f"the claim {name} must be a whole number of seconds since 1970")
    if claims["exp"] + LEEWAY <= now:
        raise InvalidToken("the token has expired")
    if max(claims.get("nbf", 0), claims.get("iat", 0)) > now + LEEWAY:
        raise InvalidToken("the token is not valid yet")
    return int(claims["exp"])


def _check_audience(given: Any, audience: str) -> None:
    if given is None and not audience:
        return
    named = [given] if isinstance(given, str) else given
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise InvalidToken("the claim aud must be text, or a list of texts")
    if audience not in named:  # RFC 7519, section 4.1.3: who is not named must refuse it
        raise InvalidToken("the token is for somebody else: AUTH_AUDIENCE says which aud is ours")


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims.get("sub", "")
    if not isinstance(subject, str) or ("sub" in claims and not 1 <= len(subject) <= LONGEST_NAME):
        raise InvalidToken(f"the claim sub must be text of 1 to {LONGEST_NAME} characters")
    if not subject.isprintable():
        raise InvalidToken("the claim sub must not hold control characters")
    if subject.endswith(PRESENCE):  # `user:{sub}` would be the channel that tells who is on another one's
        raise InvalidToken(f"the claim sub must not end with {PRESENCE}")
    return subject


def _object(claims: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = claims.get(name, {})
    if not isinstance(found, dict):
        raise InvalidToken(f"the claim {name} must be an object")
    return found


def _globs(own: Mapping[str, Any], mercure: Mapping[str, Any], name: str, subject: str) -> Globs:
    """Return the patterns of both claims: Mercure's are names, or `*`; its URI templates are not granted."""
    given = _texts(own, "fanout", name)
    topics = _texts(mercure, "mercure", name)
    everything = [topic for topic in topics if topic == "*"]
    return Globs([*given, *everything], subject, literal=[topic for topic in topics if "{" not in topic])


def _texts(claim: Mapping[str, Any], of: str, name: str) -> list[str]:
    found = claim.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InvalidToken(f"the claim {of}.{name} must be a list of texts")
    if len(found) > MOST_GLOBS:
        raise InvalidToken(f"the claim {of}.{name} has more than {MOST_GLOBS} entries")
    return found
