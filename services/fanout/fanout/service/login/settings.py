"""Settings of the login."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fanout.environment import Environment
from fanout.errors import SecretError, SettingError

HOW = "make keys creates a pair, or AUTH=off says that everyone may do everything"


@dataclass(frozen=True, kw_only=True)
class LoginSettings:
    """Whether tokens are needed, and which are valid.

    Attributes:
        on: whether tokens are needed.
        keys_file: the file with the keys; None if there is none.
        jwks_url: the URL of the keys; empty if there is none.
        issuer: who must have issued a token; empty is anyone who has the key.
        audience: for whom a token must be; empty takes only tokens that name nobody.
        cookie: the name of the cookie.
    """

    on: bool
    keys_file: Path | None
    jwks_url: str
    issuer: str
    audience: str
    cookie: str


def read_login(env: Environment) -> LoginSettings:
    """Read the settings of the login; it is on by default where keys are named.

    Raises:
        SettingError: a variable is invalid, or there are no keys.
    """
    file, url = env.text("AUTH_KEYS_FILE"), env.text("AUTH_JWKS_URL")
    on = env.choice("AUTH", "on" if file or url else "off", "on", "off") == "on"
    if on and not (file or url):
        raise SettingError("AUTH", "on", f"given together with AUTH_KEYS_FILE or AUTH_JWKS_URL: {HOW}")
    if url:
        _check_url(url)
    cookie = env.text("AUTH_COOKIE", "fanout_token")
    if not (cookie.isascii() and cookie.replace("-", "_").isidentifier()):
        raise SettingError("AUTH_COOKIE", cookie, "letters, digits, - and _")
    path = Path(file) if file else None
    if path and url and _empty(path):  # as the layer prod mounts it where there is no key
        path = None
    return LoginSettings(
        on=on,
        keys_file=path,
        jwks_url=url,
        issuer=env.text("AUTH_ISSUER"),
        audience=env.text("AUTH_AUDIENCE"),
        cookie=cookie,
    )


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    allowed = "a URL that begins with https:// or http://, without a user name"
    if "@" in url:  # a password may stand in it
        raise SecretError("AUTH_JWKS_URL", "has a user name", allowed)
    if not fits or not url.isascii() or any(char <= " " for char in url):
        raise SettingError("AUTH_JWKS_URL", url, allowed)


def _empty(path: Path) -> bool:
    try:
        return path.read_bytes()[:1] == b""
    except OSError:
        return False
