"""How a request is refused that has no token, a wrong one, or one that does not permit what is asked (RFC 6750)."""

from fanout.service.http_body import Refused

NONE_GIVEN = "this needs a token: Authorization: Bearer <token>, or the cookie that POST /login sets"
_EXPLAINED = str.maketrans({'"': "'", "\\": "/"})


class Unauthorized(Refused):
    """401: there is no token, or it is not valid."""

    def __init__(self, detail: str, *, given: bool = True) -> None:
        """Make the error; without a token (`given`) the challenge names no error."""
        super().__init__(401, detail)
        self.headers = {"WWW-Authenticate": challenge("invalid_token", detail) if given else "Bearer"}


class InvalidToken(Unauthorized):
    """A token is not valid; the text says why, and holds nothing of the token."""


class Forbidden(Refused):
    """403: the token does not permit it."""

    def __init__(self, detail: str) -> None:
        super().__init__(403, detail)
        self.headers = {"WWW-Authenticate": challenge("insufficient_scope", detail)}


class TooManyAttempts(Refused):
    """429: too many invalid tokens came from this address."""

    def __init__(self, wait: int) -> None:
        super().__init__(429, f"too many invalid tokens from this address: try again in {wait} s")
        self.headers = {"Retry-After": str(wait)}


def challenge(error: str, detail: str) -> str:
    """Return the value of WWW-Authenticate: a header holds neither quotes nor other characters than ASCII's."""
    said = "".join(char if " " <= char <= "~" else "?" for char in detail.translate(_EXPLAINED))
    return f'Bearer error="{error}", error_description="{said}"'
