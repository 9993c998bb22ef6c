"""Checks Host, Origin and the URL before the API, by the same rules as at every other port of Fanout."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanout.service.http_body import Refused
from fanout.service.login.gate import OPEN, Gate
from fanout.service.origins import PREFLIGHT, Origins


class Front:
    """Passes a request on to `app`, with its path still percent-encoded, or refuses it."""

    def __init__(self, app: ASGIApp, origins: Origins, gate: Gate = OPEN) -> None:
        self._app, self._origins, self._gate = app, origins, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the app answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = self._origins.headers(headers) | {"X-Content-Type-Options": "nosniff"}
                MutableHeaders(scope=message).update(added)
            await send(message)

        app: ASGIApp = self._app
        try:
            self._origins.check(headers)
            if self._origins.preflight(scope["method"], headers):
                app = Response(status_code=204, headers=PREFLIGHT)
            self._gate.check_url(scope["query_string"].decode("latin-1"))
        except Refused as error:
            app = JSONResponse({"detail": str(error)}, error.status)
        await app({**scope, "path": scope["raw_path"].decode("ascii")}, receive, with_headers)
