"""A client on a channel: where it starts, what it is sent, and when it leaves."""

import asyncio
from collections.abc import Callable

from fanout.errors import FanoutError
from gateway import frames
from gateway.budget import catch_ups
from gateway.catch_up import SHARE, CatchUp
from gateway.client import Client
from gateway.hub import Hub
from gateway.since import NOW, EventId, Since


class Following:
    """Sends a client the messages of one channel, from where it left off.

    `on_end` is called with the channel and the reason if the channel ends while the client follows it.
    """

    __slots__ = ("_asked", "_on_end", "_since", "hub")

    def __init__(self, hub: Hub, since: Since, on_end: Callable[[str, FanoutError], None]) -> None:
        self.hub, self._since, self._on_end = hub, since, on_end
        self._asked = asyncio.get_running_loop().time()

    def join(self, client: Client) -> EventId | None:
        """Add a client to the channel's listeners if it starts at `now`, so that it misses nothing from here on.

        Return the ID with which it comes back if it is disconnected before the first message, and send it to the
        client; None if there is none yet.
        """
        hub, history = self.hub, self.hub.shared.history
        if hub.error:  # `start` says so
            return None
        if (self._since not in (NOW, None) and history) or not (hub.begun or not history):
            return None
        return self._listen(client)

    async def start(self, client: Client) -> None:
        """Send a client what it missed, and add it to the channel's listeners if it is not among them yet.

        Raises:
            FanoutError: the channel may not be read.
        """
        hub, since = self.hub, self._since
        if since is None or (since != NOW and not hub.shared.history):  # what it missed is unknown
            client.write(client.form([frames.gone(hub.channel, 0, exact=False)]))
        if client not in hub.clients:
            await hub.ready()
            async with catch_ups.reserve(max(SHARE, hub.shared.largest_message)):
                await CatchUp(client, hub).run(since or NOW, self._asked)
                if hub.error:
                    raise hub.error
                self._listen(client)

    def _listen(self, client: Client) -> EventId | None:
        hub = self.hub
        hub.clients[client] = self._on_end
        at = hub.event_id
        if at:
            client.write(client.form([frames.Frame("", b"", at.position, mark=at.mark, channel=hub.channel)]))
        return at

    def leave(self, client: Client) -> None:
        """Remove a client from the channel's listeners."""
        self.hub.clients.pop(client, None)
