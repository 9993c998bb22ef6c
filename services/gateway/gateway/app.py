"""What the gateway answers to: the page, messages in, messages out, and how it is."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError

from fanout import intake
from fanout.errors import FanoutError
from fanout.intake import Refused
from fanout.writer import Writer
from gateway import catch_up, since, sse, websocket
from gateway.client import Client, Clients
from gateway.hubs import Hubs
from gateway.origins import Origins
from gateway.system import System

PAGE = Path(__file__).parent / "page"
SUBSCRIBED_WITHIN = 2.0
PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Gateway:
    """The parts that answer."""

    writer: Writer
    hubs: Hubs
    clients: Clients
    system: System
    origins: Origins
    max_event: int

    def app(self) -> web.Application:
        """The application."""
        app = web.Application(middlewares=[self._answer])
        app.router.add_get("/", self._index)
        app.router.add_static("/page", PAGE)
        app.router.add_post("/channels/{channel:[^/]+}/messages", self._publish)
        app.router.add_get("/channels/{channel:[^/]+}/events", self._events, allow_head=False)
        app.router.add_get("/ws", self._websocket, allow_head=False)
        app.router.add_get("/system/events", self._system, allow_head=False)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.on_response_prepare.append(self._add_headers)
        logging.getLogger("aiohttp.server").addFilter(_unforeseen)
        return app

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Only for pages that may, and errors as JSON."""
        try:
            self.origins.check(request)
            return self.origins.preflight(request) or await handler(request)
        except Refused as error:
            return web.json_response({"detail": str(error)}, status=error.status, headers=error.headers)
        except web.HTTPError as error:
            headers = {hdrs.ALLOW: error.headers[hdrs.ALLOW]} if hdrs.ALLOW in error.headers else None
            detail = (error.text or error.reason).removeprefix(f"{error.status}: ")
            return web.json_response({"detail": detail}, status=error.status, headers=headers)

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self.origins.headers(request))
        response.headers["X-Content-Type-Options"] = "nosniff"
        if request.path == "/" or request.path.startswith("/page/"):
            response.headers.update(PAGE_HEADERS)

    async def _index(self, _request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE / "index.html")

    async def _publish(self, request: web.Request) -> web.StreamResponse:
        key = request.headers.get("Idempotency-Key")
        if key is not None and not (1 <= len(key) <= intake.LONGEST_KEY and key.isprintable()):
            raise Refused(422, f"an Idempotency-Key has 1 to {intake.LONGEST_KEY} printable characters")
        body = request.content.iter_any()
        data, kind = await intake.read(request.headers.get(hdrs.CONTENT_TYPE, ""), body, self.max_event)
        traceparent = request.headers.get("traceparent")
        accepted = await intake.publish(self.writer, request.match_info["channel"], data, kind, traceparent, key)
        answer = {name: value for name, value in accepted._asdict().items() if value is not None}
        return web.json_response(answer, status=202)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        try:
            begin = since.parse(request.headers.get("Last-Event-ID") or request.query.get("since", ""))
        except ValueError as error:
            raise Refused(400, str(error)) from None
        with self.clients.place():
            async with self.hubs.open(request.match_info["channel"]) as hub:
                try:  # who has the headers has subscribed; but not for ever, while Redis is away
                    async with asyncio.timeout(SUBSCRIBED_WITHIN):
                        await hub.ready()
                except TimeoutError:
                    pass
                except FanoutError as error:
                    raise Refused(503, str(error)) from None

                async def follow(client: Client) -> None:
                    await catch_up.follow(client, hub, begin)

                return await sse.respond(request, self.clients, follow)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        with self.clients.place():
            return await websocket.respond(request, self.clients, self.hubs)

    async def _system(self, request: web.Request) -> web.StreamResponse:
        with self.clients.place():
            return await sse.respond(request, self.clients, self.system.follow)

    async def _healthz(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.StreamResponse:
        redis = self.writer.sender.redis
        state = {"redis": "connected" if redis else "connecting", "waiting": self.writer.waiting}
        return web.json_response(state, status=200 if redis else 503)


def _unforeseen(record: logging.LogRecord) -> bool:
    """Bytes that are no HTTP are answered with 400, and are no error of ours."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
