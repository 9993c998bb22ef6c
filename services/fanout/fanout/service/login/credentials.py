"""Where a request has its token: the Authorization header or a cookie. Never the URL, which logs and history keep."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from fanout.service.http_body import Refused
from fanout.service.login.refusals import InvalidToken, Unauthorized

IN_URL = {"token", "access_token", "authorization"}


class Credentials(NamedTuple):
    """A token, and whether a browser has sent it by itself, as it does with cookies."""

    token: str
    by_cookie: bool = False


def check_url(query: str) -> None:
    """Check that there is no token in a URL.

    Raises:
        Refused: 400 there is one.
    """
    for part in query.split("&") if query else ():
        if (name := unquote_plus(part.partition("=")[0]).lower()) in IN_URL:
            raise Refused(
                400,
                f"a token does not belong into a URL, which logs and histories keep: the parameter {name} is refused; "
                "send Authorization: Bearer <token>, or log in for a cookie",
            )


def find(headers: Mapping[str, str], cookie: str) -> Credentials | None:
    """Return a request's token: of the Authorization header, or else of the cookie of this name; None without one.

    Raises:
        Unauthorized: there is something else, or more than one.
    """
    given = _all(headers, "authorization")
    if len(given) > 1:
        raise InvalidToken("there are several Authorization headers")
    if given:
        scheme, _, token = given[0].partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("the Authorization must be Bearer <token>", given=False)
        if not token:
            raise InvalidToken("the Authorization has no token after Bearer")
        return Credentials(token)
    return _from_cookies(_all(headers, "cookie"), cookie)


def _from_cookies(lines: list[str], wanted: str) -> Credentials | None:
    pairs = [pair.strip().partition("=") for line in lines for pair in line.split(";")]
    values = [value for name, _, value in pairs if name == wanted]
    if len(values) > 1:  # another one, of a wider domain or path, was put beside ours
        raise InvalidToken(f"there are several cookies {wanted}")
    return Credentials(values[0], by_cookie=True) if values and values[0] else None


def _all(headers: Any, name: str) -> list[str]:
    """Return all values of a header, of aiohttp's headers, Starlette's, or a plain mapping's."""
    for method in ("getall", "getlist"):
        if found := getattr(headers, method, None):
            return list(found(name, [])) if method == "getall" else list(found(name))
    return [value for key, value in headers.items() if key.lower() == name]
