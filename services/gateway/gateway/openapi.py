"""The OpenAPI description of the gateway, and the route that serves it."""

from typing import Any

import msgspec
from aiohttp import web

from fanout.service import http_description as about
from fanout.service.http_description import CHANNEL, STRING, answer, members, operation, parameter
from fanout.service.login.gate import Gate
from gateway.presence.presence import SHOWN

_STREAM = "text/event-stream"
_SINCE = "Where to begin: the id of an event, `earliest`, an age such as `10m`, or `now`, which is the default."
_FLAG = {"type": "boolean", "default": False}
_PRESENCE = "Whether the client is on the channel for others to see."
_BEFORE = "It counts for the channel named before it."
_LAST = parameter(
    "header",
    "Last-Event-ID",
    STRING,
    "The last id that the client had, as a browser sends it; it counts before `since`.",
)
_TOO_MANY = "There are too many connections or channels, or the service is stopping."
_WHO = {
    "anyOf": [
        members({"login": {"const": "off"}}),
        members(
            {
                "login": {"const": "on"},
                "token": members({"sub": STRING, "exp": {"type": ["integer", "null"]}}),
                "dashboard": {"type": "boolean"},
            }
        ),
    ]
}
_PRESENT = members(
    {
        "channel": STRING,
        "count": {"type": "integer", "minimum": 0},
        "version": {"type": "integer", "description": "Events of a higher version came later."},
    },
    members={
        "type": "array",
        "maxItems": SHOWN,
        "items": members({"sub": STRING, "connections": {"type": "integer", "minimum": 1}}),
        "description": f"Left out where there are more than {SHOWN}.",
    },
)
_NO_STORE = {"Cache_Control": "no-store"}


def _stream(name: str, summary: str, events: str, **others: Any) -> about.Part:
    """Describe an operation whose answer is a stream of Server-Sent Events."""
    stays = "A stream that stays open: `event:` is one of " + events
    more = {"why": {503: _TOO_MANY}} | others
    return operation(name, summary, {200: answer(stays, STRING, _STREAM, Cache_Control="no-store")}, **more)


_CHANNEL_EVENTS = (
    "`message`, whose `data:` is a JSON object with the event's attributes; `gone`, when messages are no more; "
    "`expired`, before the end, when the token has expired. Each `id:` is what to come back with."
)
_FILE = {"type": "string"}
PATHS: about.Part = {
    "/channels/{channel}/messages": {"post": about.PUBLISH},
    "/channels/{channel}/events": {
        "get": _stream(
            "events",
            "Follow a channel as Server-Sent Events",
            _CHANNEL_EVENTS,
            parameters=[
                parameter("path", "channel", CHANNEL),
                parameter("query", "since", STRING, _SINCE),
                parameter("query", "presence", _FLAG, _PRESENCE),
                _LAST,
            ],
        )
    },
    "/channels/{channel}/presence": {
        "get": operation(
            "presence",
            "Say who is on a channel",
            {200: answer("Who is there.", _PRESENT)},
            parameters=[parameter("path", "channel", CHANNEL)],
            why={503: "Redis is away or refuses, or there are too many connections."},
        )
    },
    "/events": {
        "get": _stream(
            "severalEvents",
            "Follow several channels as Server-Sent Events",
            _CHANNEL_EVENTS,
            parameters=[
                {
                    **parameter(
                        "query", "channel", {"type": "array", "minItems": 1, "uniqueItems": True, "items": CHANNEL}
                    ),
                    "required": True,
                },
                parameter("query", "since", STRING, f"{_SINCE} {_BEFORE}"),
                parameter("query", "presence", _FLAG, f"{_PRESENCE} {_BEFORE}"),
                _LAST,
            ],
        )
    },
    "/system/events": {
        "get": _stream(
            "systemEvents",
            "Follow what the dashboard shows of the replicas",
            "`view`, whose `data:` is a JSON object with all replicas, or `expired`.",
        )
    },
    "/ws": {
        "get": operation(
            "ws",
            "Follow several channels over one WebSocket",
            {101: {"description": "The connection is a WebSocket; each frame is a JSON object in a text frame."}},
            401,
            429,
            login=False,
            description="Where there is a login the token comes in the Authorization header, in the cookie, or in the "
            "first frame.",
            why={400: "The request is no WebSocket handshake.", 503: _TOO_MANY},
        )
    },
    "/login": {
        "get": operation("whoIsLoggedIn", "Say who is logged in", {200: answer("Who.", _WHO, **_NO_STORE)}),
        "post": operation(
            "login",
            "Set the cookie that holds a token",
            {200: answer("The token is valid.", _WHO, Set_Cookie="The cookie, until the token expires.", **_NO_STORE)},
            401,
            404,
            415,
            429,
            login=False,
            requestBody={
                "required": True,
                "content": {
                    "application/json": {"schema": {**members({"token": STRING}), "additionalProperties": False}}
                },
            },
            why={415: "The body is not JSON.", 503: "The keys are not there yet, or there are too many connections."},
        ),
    },
    "/logout": {
        "post": operation(
            "logout",
            "Take the cookie away",
            {204: {"description": "It is gone."}},
            404,
            login=False,
        )
    },
    "/healthz": {"get": about.HEALTHZ},
    "/readyz": {"get": about.READYZ},
    "/fanout.js": {
        "get": operation(
            "fanoutJs",
            "Fetch the browser client",
            {
                200: answer("The module.", _FILE, "text/javascript", ETag="Its version."),
                206: answer("A part of it.", _FILE, "text/javascript", Content_Range="Which part."),
                304: {"description": "It has not changed."},
                412: {"description": "It is not the version that was asked for."},
                416: {"description": "It has no such part."},
            },
            login=False,
            parameters=[
                parameter("header", name, STRING)
                for name in ("If-None-Match", "If-Match", "If-Modified-Since", "If-Unmodified-Since", "Range")
            ],
        )
    },
}


def description(gate: Gate) -> about.Part:
    """Return the description of a gateway that has this gate."""
    title = {"title": "Fanout gateway", "version": "1"}
    return {"openapi": "3.1.0", "info": title, "paths": PATHS, **about.components(gate)}


def add_to(router: web.UrlDispatcher, gate: Gate) -> None:
    """Add the route that serves it."""
    body = msgspec.json.encode(description(gate))

    async def serve(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    router.add_get("/openapi.json", serve)
