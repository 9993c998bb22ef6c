"""A client on a channel: where it starts, what it is sent, and when it leaves."""

import asyncio

from gateway import frames
from gateway.budget import catch_ups
from gateway.catch_up import SHARE, CatchUp
from gateway.client import Client
from gateway.hub import Hub
from gateway.since import NOW, EventId, Since


class Following:
    """Sends a client the messages of one channel, from where it left off; see `sse.Stream`."""

    def __init__(self, hub: Hub, since: Since) -> None:
        self._hub, self._since = hub, since
        self._asked = asyncio.get_running_loop().time()
        self._history = hub.subscription.what.history
        self._from_now_on = since in (NOW, None) or not self._history

    def join(self, client: Client) -> EventId | None:
        """Add a client to the channel's listeners if it starts at `now`, so that it misses nothing from here on.

        Return the ID with which it comes back if it is disconnected before the first message, and send it to the
        client; None if there is none yet.
        """
        if not self._from_now_on or not (self._hub.begun or not self._history):
            return None
        self._hub.clients.add(client)
        at = self._hub.event_id
        if at:
            client.write(client.form([frames.Frame("", b"", at.position, mark=at.mark)]))
        return at

    async def follow(self, client: Client) -> None:
        """Send a client what it missed and what follows; never return.

        Raises:
            RefusedByRedis: the channel may not be read.
        """
        hub, since = self._hub, self._since
        if since is None or (since != NOW and not self._history):  # what it missed is unknown
            client.write(client.form([frames.gone(hub.channel, 0, exact=False)]))
        if client not in hub.clients:
            await hub.ready()
            async with catch_ups.reserve(max(SHARE, hub.largest_message)):
                await CatchUp(client, hub).run(since or NOW, self._asked)
                hub.clients.add(client)
        await asyncio.shield(hub.ended)

    def leave(self, client: Client) -> None:
        """Remove a client from the channel's listeners."""
        self._hub.clients.discard(client)
