"""The gateway's HTTP routes: the page, messages in, messages out, and health checks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError

from fanout import Publisher
from fanout.errors import FanoutError
from fanout.service.http_body import Refused
from fanout.service.http_ingest import Ingest, as_json, channel_in
from fanout.service.origins import PREFLIGHT, Origins
from gateway import since, sse, websocket
from gateway.clients import Clients
from gateway.following import Following
from gateway.hubs import Hubs
from gateway.system import System

PAGE = Path(__file__).parent / "page"
CLIENT = Path(__file__).parent / "fanout.js"
SUBSCRIBED_WITHIN = 2.0
PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
CLIENT_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Type": "text/javascript; charset=utf-8",
    "Vary": "Accept-Encoding, Origin",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Gateway:
    """The request handlers and the parts that they use."""

    publisher: Publisher
    ingest: Ingest
    hubs: Hubs
    clients: Clients
    system: System
    origins: Origins

    def app(self) -> web.Application:
        """Build the application."""
        app = web.Application(middlewares=[self._answer])
        app.router.add_get("/", self._index)
        app.router.add_get("/page/{name}", self._page)
        app.router.add_get("/fanout.js", self._client)
        app.router.add_post("/channels/{channel:[^/]+}/messages", self._publish)
        app.router.add_get("/channels/{channel:[^/]+}/events", self._events, allow_head=False)
        app.router.add_get("/ws", self._websocket, allow_head=False)
        app.router.add_get("/system/events", self._system, allow_head=False)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.on_response_prepare.append(self._add_headers)
        logging.getLogger("aiohttp.server").addFilter(_is_unexpected)
        return app

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let only allowed requests through, and answer errors as JSON."""
        try:
            self.origins.check(request.headers)
            if self.origins.preflight(request.method, request.headers):
                return web.Response(status=204, headers=PREFLIGHT)
            return await handler(request)
        except Refused as error:
            return web.json_response({"detail": str(error)}, status=error.status, headers=error.headers)
        except web.HTTPError as error:
            headers = {hdrs.ALLOW: error.headers[hdrs.ALLOW]} if hdrs.ALLOW in error.headers else None
            detail = (error.text or error.reason).removeprefix(f"{error.status}: ")
            return web.json_response({"detail": detail}, status=error.status, headers=headers)

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        if hdrs.UPGRADE in request.headers and response.status != 101:
            response.force_close()  # further requests on this connection would bypass the guard
        response.headers.update(self.origins.headers(request.headers))
        response.headers["X-Content-Type-Options"] = "nosniff"
        if request.path == "/" or request.path.startswith("/page/"):
            response.headers.update(PAGE_HEADERS)
        elif isinstance(response, web.FileResponse):
            response.headers.update(CLIENT_HEADERS)

    async def _index(self, _request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE / "index.html")

    async def _page(self, request: web.Request) -> web.StreamResponse:
        for file in PAGE.iterdir():
            if file.name == request.match_info["name"]:
                return web.FileResponse(file)
        raise web.HTTPNotFound

    async def _client(self, request: web.Request) -> web.StreamResponse:
        response = web.FileResponse(CLIENT)
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            response.enable_compression(web.ContentCoding.gzip)
        return response

    async def _publish(self, request: web.Request) -> web.StreamResponse:
        body = request.content.iter_any()
        accepted = await self.ingest.take(request.remote or "", request.rel_url.raw_path, request.headers, body)
        return web.json_response(as_json(accepted), status=202)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        begin = self._since(request)
        with self.clients.admit():
            async with self.hubs.open(channel_in(request.rel_url.raw_path)) as hub:
                # Headers go out when the channel is subscribed; but do not wait for long while Redis is away.
                try:
                    async with asyncio.timeout(SUBSCRIBED_WITHIN):
                        await hub.ready()
                except TimeoutError:
                    pass
                except FanoutError as error:
                    raise Refused(503, str(error)) from None
                return await sse.respond(request, self.clients, Following(hub, begin))

    @staticmethod
    def _since(request: web.Request) -> since.Since:
        if last := request.headers.get("Last-Event-ID"):  # browsers may send an ID of another server
            return since.parse_id(last)
        try:
            return since.parse(request.query.get("since", ""))
        except ValueError as error:
            raise Refused(400, str(error)) from None

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        with self.clients.admit():
            return await websocket.respond(request, self.clients, self.hubs)

    async def _system(self, request: web.Request) -> web.StreamResponse:
        with self.clients.admit():
            return await sse.respond(request, self.clients, self.system)

    async def _healthz(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.StreamResponse:
        redis = self.publisher.redis
        state = {"redis": "connected" if redis else "connecting", "waiting": self.publisher.statistics().waiting}
        return web.json_response(state, status=200 if redis else 503)


def _is_unexpected(record: logging.LogRecord) -> bool:
    """Return whether a record is an error of ours; bytes that are not HTTP are not, and are answered with 400."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def busy(protocol: asyncio.Protocol) -> bool:
    """Return whether aiohttp is working on a request of this connection."""
    return bool(getattr(protocol, "_request_in_progress", True))
