"""Several channels on one response of Server-Sent Events."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from gateway import frames, since
from gateway.client import Client
from gateway.following import Following
from gateway.frames import Frame
from gateway.hubs import Hubs
from gateway.since import EventId, Since

MOST = 200
"""Channels of one response: an ID with the places of all of them must fit into the headers of the next request."""
NO_ID = b"-"
"""Stands in an ID for a channel of which the client has nothing yet."""


class Several:
    """Sends a client the messages of several channels; see `sse.Stream`.

    An ID has the place of every channel, in the order in which the client named them, separated by commas: a browser
    comes back with the last ID alone.
    """

    def __init__(self, hubs: Hubs, wanted: Mapping[str, Since]) -> None:
        """Make it for the channels and where each begins.

        Raises:
            Refused: 400 a name is invalid, 503 too many channels are open.
        """
        self._hubs = hubs
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ended.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._places = dict.fromkeys(wanted, NO_ID)
        with ExitStack() as undo:
            self._followings = []
            for channel, begin in wanted.items():
                hub = hubs.open(channel)
                undo.callback(hubs.release, hub)
                self._followings.append(Following(hub, begin, self._on_end))
                if isinstance(begin, EventId):
                    self._places[channel] = frames.event_id(*begin).encode()
            undo.pop_all()

    async def ready(self) -> None:
        """Wait until all channels are subscribed.

        Raises:
            FanoutError: one of them is refused.
        """
        await asyncio.gather(*(following.hub.ready() for following in self._followings))

    def join(self, client: Client) -> None:
        """Add the client to the listeners of channels on which it begins now."""
        for following in self._followings:
            following.join(client)

    async def follow(self, client: Client) -> None:
        """Send the client what it missed and what follows; never return.

        Raises:
            FanoutError: a channel has ended.
        """
        starting = [asyncio.create_task(self._start(following, client)) for following in self._followings]
        try:
            await self._ended
        finally:
            for task in starting:
                task.cancel()
            await asyncio.wait(starting)

    def leave(self, client: Client) -> None:
        """Leave all channels."""
        for following in self._followings:
            following.leave(client)

    def close(self) -> None:
        """Let go of all channels."""
        for following in self._followings:
            self._hubs.release(following.hub)

    def form(self, batch: Sequence[Frame]) -> bytes:
        """Encode frames for this client alone. They must be sent in the order in which they are encoded."""
        return frames.sse(batch, self._event_id)

    def _event_id(self, frame: Frame) -> bytes:
        self._places[frame.channel] = frame.event_id
        return b",".join(self._places.values())

    async def _start(self, following: Following, client: Client) -> None:
        try:
            await following.start(client)
        except Exception as error:
            self._on_end(following.hub.channel, error)

    def _on_end(self, _channel: str, why: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(why)


def parse_last(text: str, channels: Sequence[str]) -> dict[str, Since]:
    """Return where each channel begins for a client that comes back with an ID; None for one that no gateway made.

    A channel that the ID does not know yet is left out.
    """
    parts = text.split(",")
    if len(parts) != len(channels):
        return dict.fromkeys(channels)
    found = zip(channels, parts, strict=True)
    return {channel: since.parse_id(part) for channel, part in found if part.strip() != NO_ID.decode()}
