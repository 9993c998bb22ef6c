"""Which web pages may use the gateway from a browser: its own, and those whose origin the settings name."""

from urllib.parse import urlsplit

from aiohttp import hdrs, web

from fanout.intake import Refused

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Content-Type, Idempotency-Key, Last-Event-ID, traceparent",
    "Access-Control-Max-Age": "600",
}


class Origins:
    """Judges requests by their Origin header. Without one no browser's page of another site sent it."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._allowed = set(allowed)

    def check(self, request: web.Request) -> None:
        """Refuses a request of another page.

        Raises:
            Refused: its origin is not allowed.
        """
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and not self._own(request, origin) and not self._named(origin):
            raise Refused(403, f"pages of {origin} may not use this gateway; ORIGINS says who may")

    def preflight(self, request: web.Request) -> web.Response | None:
        """The answer to a browser that asks whether it may send a request; None if that is not what it asks."""
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            return web.Response(status=204, headers=PREFLIGHT)
        return None

    def headers(self, request: web.Request) -> dict[str, str]:
        """What lets a page of an allowed origin read the answer."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or self._own(request, origin) or not self._named(origin):
            return {"Vary": "Origin"}
        return {"Vary": "Origin", "Access-Control-Allow-Origin": origin}

    def _named(self, origin: str) -> bool:
        return "*" in self._allowed or origin.lower() in self._allowed

    @staticmethod
    def _own(request: web.Request, origin: str) -> bool:
        """By host and port alone: behind a proxy that does TLS the scheme is not ours."""
        try:
            return urlsplit(origin).netloc.lower() == request.host.lower()
        except ValueError:
            return False
