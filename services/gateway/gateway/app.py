"""The gateway's HTTP routes: the page, messages in, messages out, and health checks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl

from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError

from fanout import Publisher
from fanout.errors import FanoutError
from fanout.keys import MAX_CHANNEL
from fanout.service.http_body import Refused
from fanout.service.http_ingest import Ingest, as_json, channel_in
from fanout.service.login.gate import OPEN, Gate
from fanout.service.login.grant import Grant
from fanout.service.origins import PREFLIGHT, Origins
from gateway import frames, openapi, several, since, sse, websocket
from gateway.clients import Clients
from gateway.expiry import UntilExpired
from gateway.hubs import Hubs
from gateway.login_routes import LoginRoutes
from gateway.presence.presence import ANONYMOUS, Presence, check_presence
from gateway.several import Several
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

T = TypeVar("T")
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
    presence: Presence
    gate: Gate = OPEN
    docs: bool = True

    def app(self) -> web.Application:
        """Build the application."""
        app = web.Application(middlewares=[self._answer])
        app.router.add_get("/", self._index)
        app.router.add_get("/page/{name}", self._page)
        app.router.add_get("/fanout.js", self._client)
        app.router.add_post("/channels/{channel:[^/]+}/messages", self._publish)
        app.router.add_get("/channels/{channel:[^/]+}/events", self._events, allow_head=False)
        app.router.add_get("/channels/{channel:[^/]+}/presence", self._members, allow_head=False)
        app.router.add_get("/events", self._several, allow_head=False)
        app.router.add_get("/ws", self._websocket, allow_head=False)
        app.router.add_get("/system/events", self._system, allow_head=False)
        LoginRoutes(self.gate).add_to(app.router)
        if self.docs:
            openapi.add_to(app.router, self.gate)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.on_response_prepare.append(self._add_headers)
        logging.getLogger("aiohttp.server").addFilter(_is_unexpected)
        logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)  # it warns of what any client may send
        return app

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let only allowed requests through, and answer errors as JSON."""
        try:
            self.origins.check(request.headers)
            if self.origins.preflight(request.method, request.headers):
                return web.Response(status=204, headers=PREFLIGHT)
            self.gate.check_url(request.query_string)
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
        whole = hdrs.RANGE not in request.headers  # what is asked for is a part of the file, not of its compressed form
        if whole and "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            response.enable_compression(web.ContentCoding.gzip)
        return response

    async def _publish(self, request: web.Request) -> web.StreamResponse:
        body = request.content.iter_any()
        accepted = await self.ingest.take(request.remote or "", request.rel_url.raw_path, request.headers, body)
        return web.json_response(as_json(accepted), status=202)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        channel = channel_in(request.rel_url.raw_path)
        present = {channel} if _parse_presence(request.query.get("presence", "false")) else ()
        if last := request.headers.get("Last-Event-ID"):  # browsers may send an ID of another server
            return await self._stream(request, {channel: since.parse_id(last)}, present)
        return await self._stream(request, {channel: _parse_since(request.query.get("since", ""))}, present)

    async def _several(self, request: web.Request) -> web.StreamResponse:
        wanted: dict[str, since.Since] = {}
        present: set[str] = set()
        channel = None
        for name, value in _query(request):
            if name == "channel":
                if value in wanted:
                    raise Refused(400, f"the channel {value[:MAX_CHANNEL]} is named twice")
                channel, wanted[value] = value, since.NOW
            elif name == "since" and channel is not None:
                wanted[channel] = _parse_since(value)
            elif name == "presence" and _parse_presence(value):
                if channel is None:
                    raise Refused(400, "presence belongs to the channel before it: /events?channel=a&presence=true")
                present.add(channel)
        most = min(self.hubs.channels_per_client, several.MOST)
        if not 1 <= len(wanted) <= most:
            raise Refused(400, f"name 1 to {most} channels (CLIENT_CHANNELS): /events?channel=a&channel=b")
        if last := request.headers.get("Last-Event-ID"):
            wanted |= several.parse_last(last, list(wanted))
        return await self._stream(request, wanted, present)

    async def _stream(
        self, request: web.Request, wanted: Mapping[str, since.Since], present: Collection[str]
    ) -> web.StreamResponse:
        grant = await self._grant(request)
        grant.check_subscribe(*wanted)
        for channel in present:
            _check(check_presence, channel)
        member = grant.subject or ANONYMOUS
        with (
            self.clients.admit(),
            closing(Several(self.hubs, wanted)) as stream,
            self.presence.on(present, member),
        ):
            # Headers go out when the channels are subscribed; but do not wait for long while Redis is away.
            try:
                async with asyncio.timeout(SUBSCRIBED_WITHIN):
                    await stream.ready()
            except TimeoutError:
                pass
            except FanoutError as error:
                raise Refused(503, str(error)) from None
            form = frames.sse if len(wanted) == 1 else stream.form
            return await sse.respond(request, self.clients, UntilExpired(stream, grant), form)

    async def _members(self, request: web.Request) -> web.StreamResponse:
        channel = channel_in(request.rel_url.raw_path)
        grant = await self._grant(request)
        grant.check_subscribe(channel)
        return web.json_response(await self.presence.members(channel))

    async def _grant(self, request: web.Request) -> Grant:
        return await self.gate.admit(request.remote or "", request.method, request.headers)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        with self.clients.admit():
            grant = await self.gate.admit_socket(request.remote or "", request.headers)
            return await websocket.respond(request, self.clients, self.hubs, self.presence, gate=self.gate, grant=grant)

    async def _system(self, request: web.Request) -> web.StreamResponse:
        grant = await self._grant(request)
        grant.check_dashboard()
        with self.clients.admit():
            return await sse.respond(request, self.clients, UntilExpired(self.system, grant))

    async def _healthz(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.StreamResponse:
        redis = self.publisher.redis
        state = {"redis": "connected" if redis else "connecting", "waiting": self.publisher.statistics().waiting}
        return web.json_response(state, status=200 if redis else 503)


def _query(request: web.Request) -> list[tuple[str, str]]:
    """Return the query; aiohttp would read what is not UTF-8 as U+FFFD, a channel that nobody has named."""
    try:
        return parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise Refused(400, "the query is not valid UTF-8") from None


def _parse_since(text: str) -> since.Since:
    return _check(since.parse, text)


def _parse_presence(text: str) -> bool:
    if text not in {"true", "false"}:
        raise Refused(400, f"presence is {text[:MAX_CHANNEL]!r}, but must be true or false")
    return text == "true"


def _check(check: Callable[[str], T], text: str) -> T:
    try:
        return check(text)
    except ValueError as error:
        raise Refused(400, str(error)) from None


def _is_unexpected(record: logging.LogRecord) -> bool:
    """Return whether a record is an error of ours; bytes that are not HTTP are not, and are answered with 400."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def busy(protocol: asyncio.Protocol) -> bool:
    """Return whether aiohttp is working on a request of this connection."""
    return bool(getattr(protocol, "_request_in_progress", True))
