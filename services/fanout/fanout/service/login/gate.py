"""The gate: who sent a request, and what that one may do."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fanout.service.http_body import Refused
from fanout.service.http_settings import HttpSettings
from fanout.service.login import credentials
from fanout.service.login.attempts import Attempts
from fanout.service.login.grant import EVERYTHING, Grant
from fanout.service.login.refusals import NONE_GIVEN, InvalidToken, Unauthorized
from fanout.service.login.settings import LoginSettings
from fanout.service.origins import Origins

if TYPE_CHECKING:
    from fanout.service.login.keys import Key
    from fanout.service.login.tokens import Keys, Verifier


class Gate:
    """Finds out what a request may do; where there is no login, that is everything.

    Attributes:
        on: whether there is a login.
        cookie: the name of the cookie.
    """

    def __init__(
        self, verifier: "Verifier | None", http: HttpSettings | None, origins: Origins | None, cookie: str = ""
    ) -> None:
        self._verifier, self._http, self._origins = verifier, http, origins
        self._attempts = Attempts()
        self.on, self.cookie = verifier is not None, cookie

    def check_url(self, query: str) -> None:
        """Check that there is no token in a URL; without a login such a name means nothing.

        Raises:
            Refused: 400 there is one.
        """
        if self.on:
            credentials.check_url(query)

    async def admit(self, peer: str, method: str, headers: Mapping[str, str]) -> Grant:
        """Return what a request may do.

        Raises:
            Refused: 401 it has no token, or one that is not valid, 403 another site's page sent it, 429 too many tokens
                of its address were not valid, 503 the keys are not there yet.
        """
        if not self.on:
            return EVERYTHING
        client = self.client(peer, headers)
        try:
            found = credentials.find(headers, self.cookie)
        except Unauthorized as error:
            self._attempts.check(client)
            self._attempts.failed(client, str(error))
            raise
        if found is None:
            raise Unauthorized(NONE_GIVEN, given=False)
        if found.by_cookie:
            self.check_own_page(method, headers)
        return await self.verify(found.token, client)

    async def admit_socket(self, peer: str, headers: Mapping[str, str]) -> Grant | None:
        """Return what a WebSocket may do from its beginning; None where its first frame must bring a token.

        A browser sends a cookie by itself, also an old one, or for another site's page: that then counts for nothing.

        Raises:
            Refused: as `admit`, for a token in the Authorization header.
        """
        by_header = "authorization" in headers
        try:
            return await self.admit(peer, "GET", headers)
        except Refused as error:
            if by_header or error.status not in {401, 403}:
                raise
            return None

    async def verify(self, token: str, client: str) -> Grant:
        """Return what a token permits that a client has sent.

        Raises:
            Refused: as `admit`.
        """
        assert self._verifier
        self._attempts.check(client)
        try:
            return await self._verifier.verify(token)
        except InvalidToken as error:
            self._attempts.failed(client, str(error))
            raise

    def check_own_page(self, method: str, headers: Mapping[str, str]) -> None:
        """Check that a request whose cookie counts was not sent by the page of another site.

        ORIGINS=* allows pages of all sites only what they may without a user's cookie.

        Raises:
            Refused: 403 it was.
        """
        assert self._origins
        site = headers.get("sec-fetch-site", "none").lower()
        if not self._origins.names(headers) or (
            method != "GET" and "origin" not in headers and site not in {"none", "same-origin"}
        ):
            raise Refused(403, "pages of other sites may not use the cookie; ORIGINS can name them")

    def client(self, peer: str, headers: Mapping[str, str]) -> str:
        """Return a client's address."""
        return self._http.client(peer, headers.get("x-forwarded-for", "")) if self._http else peer


OPEN = Gate(None, None, None)
"""Where there is no login."""


def build(settings: LoginSettings, http: HttpSettings, origins: Origins) -> Gate:
    """Return the gate that the settings ask for.

    Raises:
        SettingError: the file with the keys cannot be used.
    """
    if not settings.on:
        return OPEN
    # Imported here: they take memory and time that a service without login does not need.
    from fanout.service.login.key_file import FileKeys
    from fanout.service.login.key_url import UrlKeys
    from fanout.service.login.tokens import Verifier

    sources: list[Keys] = []
    if settings.keys_file:
        sources.append(FileKeys(settings.keys_file))
    if settings.jwks_url:
        sources.append(UrlKeys(settings.jwks_url))
    keys = sources[0] if len(sources) == 1 else _Together(sources)
    return Gate(Verifier(keys, settings.issuer, settings.audience), http, origins, settings.cookie)


class _Together:
    """The keys of several sources: one that has none at present does not keep or delay the others."""

    def __init__(self, sources: "Sequence[Keys]") -> None:
        self._sources = sources

    def at_hand(self) -> "Sequence[Key]":
        return [key for source in self._sources for key in source.at_hand()]

    async def current(self) -> "Sequence[Key]":
        return self.at_hand() or [key for source in self._sources for key in await source.current()]

    async def renewed(self) -> "Sequence[Key]":
        return [key for source in self._sources for key in await source.renewed()]
