"""Server-Sent Events end when the token expires under which they were asked for."""

import asyncio

from fanout.service.login.grant import Grant
from gateway.client import Client
from gateway.frames import Frame
from gateway.sse import Stream

EXPIRED = Frame("expired", b'{"detail": "the token has expired"}')


class UntilExpired:
    """A stream that says so and ends when the grant does; see `sse.Stream`."""

    def __init__(self, stream: Stream, grant: Grant) -> None:
        self._stream, self._grant = stream, grant

    def join(self, client: Client) -> object:
        """Join as the stream does."""
        return self._stream.join(client)

    async def follow(self, client: Client) -> None:
        """Follow the stream until the grant ends; return when the client has been told."""
        try:
            async with asyncio.timeout(self._grant.left()) as deadline:
                await self._stream.follow(client)
        except TimeoutError:
            if not deadline.expired():
                raise
            self._stream.leave(client)
            client.write(client.form([EXPIRED]))
            await client.room(0)  # the end of the response must not overtake what is queued

    def leave(self, client: Client) -> None:
        """Leave as the stream does."""
        self._stream.leave(client)
