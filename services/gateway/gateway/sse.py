"""Server-Sent Events: channels, or the dashboard's view, on a response that stays open."""

from typing import Protocol

from aiohttp import web
from aiohttp.http import HttpVersion11

from fanout.errors import FanoutError
from fanout.service.logs import log_crash
from gateway import frames
from gateway.client import Client
from gateway.clients import Clients
from gateway.frames import Form

BEGIN = b"retry: 1000\n\n"
COMMENT = b": \n\n"
UNEXPECTED = "unexpected error in the gateway; see its log"
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",  # who compresses it would hold it back
    "X-Accel-Buffering": "no",
}


class Stream(Protocol):
    """What is written on a response."""

    def join(self, client: Client) -> object:
        """Join before the headers go out: what is written from then on comes after them."""

    async def follow(self, client: Client) -> None:
        """Follow the stream once the headers are out; never return."""

    def leave(self, client: Client) -> None:
        """Leave, at the end."""


async def respond(
    request: web.Request, clients: Clients, stream: Stream, form: Form = frames.sse
) -> web.StreamResponse:
    """Answer with a response that stays open until the client or the gateway ends it; `form` writes its frames."""
    response = web.StreamResponse(headers=HEADERS)
    begin, comment = BEGIN, COMMENT
    if request.version >= HttpVersion11:
        begin, comment, form = frames.chunk(BEGIN), frames.chunk(COMMENT), frames.in_chunks(form)
    with clients.connected(request.transport, form, comment) as client:
        client.hold(begin)
        try:
            stream.join(client)
            await response.prepare(request)
            client.release()
            await stream.follow(client)
        except FanoutError as error:
            client.abort(str(error))
        except ConnectionResetError:
            pass  # the client is gone
        except Exception as error:
            log_crash(error)
            client.abort(UNEXPECTED)
        finally:
            stream.leave(client)
    return response
