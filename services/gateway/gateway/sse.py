"""Server-Sent Events: one channel, or the dashboard's view, on a response that stays open."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http import HttpVersion11

from fanout.errors import FanoutError
from gateway import frames
from gateway.client import Client, Clients

BEGIN = b"retry: 1000\n\n"
COMMENT = b": \n\n"
HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def respond(
    request: web.Request, clients: Clients, follow: Callable[[Client], Awaitable[None]]
) -> web.StreamResponse:
    """A response on which `follow` writes, until the client or the gateway ends it."""
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    chunked = request.version >= HttpVersion11
    begin, comment = (frames.chunk(BEGIN), frames.chunk(COMMENT)) if chunked else (BEGIN, COMMENT)
    with clients.connected(request.transport, frames.sse_chunk if chunked else frames.sse, comment) as client:
        client.write(begin)
        try:
            await follow(client)
        except FanoutError as error:
            client.abort(str(error))
    return response
