"""WebSocket: several channels on one connection, taken up and given up by commands."""

import asyncio
import contextlib
from contextlib import AsyncExitStack

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from fanout.errors import FanoutError
from fanout.intake import Refused
from gateway import catch_up, frames, since
from gateway.client import HEARTBEAT, Client, Clients
from gateway.hubs import Hubs

LONGEST_COMMAND = 16 * 1024
GOODBYE_WITHIN = 1.0


class _Command(msgspec.Struct, forbid_unknown_fields=True):
    subscribe: str | None = None
    unsubscribe: str | None = None
    since: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Command).decode


async def respond(request: web.Request, clients: Clients, hubs: Hubs) -> web.StreamResponse:
    """A connection that is open until the client or the gateway ends it."""
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT, compress=False, max_msg_size=LONGEST_COMMAND, timeout=GOODBYE_WITHIN
    )
    await socket.prepare(request)
    with clients.connected(request.transport, frames.websocket) as client:
        channels = _Channels(client, hubs)
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await channels.obey(message.data)
                else:
                    channels.say(error="a command is JSON in a text frame")
        finally:
            await channels.close()
    if clients.closing:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_WITHIN):
                await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the gateway is stopping")
    return socket


class _Channels:
    """The channels of one client, each followed by a task of its own."""

    def __init__(self, client: Client, hubs: Hubs) -> None:
        self._client, self._hubs = client, hubs
        self._following: dict[str, asyncio.Task[None]] = {}

    def say(self, **words: str) -> None:
        """Sends an answer."""
        self._client.write(frames.websocket_text(_encode(words)))

    async def obey(self, text: str) -> None:
        """Does what a command says, or says what is wrong with it."""
        try:
            command = _decode(text)
            if (command.subscribe is None) == (command.unsubscribe is None):
                raise ValueError("a command has either subscribe or unsubscribe")
            if command.subscribe is not None:
                self._subscribe(command.subscribe, since.parse(command.since))
            elif command.unsubscribe is not None:
                await self._unsubscribe(command.unsubscribe)
        except (ValueError, RecursionError) as error:
            self.say(error=str(error))

    async def close(self) -> None:
        """Gives up all channels."""
        tasks = list(self._following.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _subscribe(self, channel: str, begin: since.Since) -> None:
        if channel in self._following:
            raise ValueError(f"{channel} is subscribed already")
        self._following[channel] = asyncio.create_task(self._follow(channel, begin))

    async def _unsubscribe(self, channel: str) -> None:
        if channel not in self._following:
            raise ValueError(f"{channel} is not subscribed")
        task = self._following.pop(channel)
        task.cancel()
        await asyncio.wait([task])
        self.say(unsubscribed=channel)

    async def _follow(self, channel: str, begin: since.Since) -> None:
        async with AsyncExitStack() as stack:
            try:
                hub = await stack.enter_async_context(self._hubs.open(channel))
                await hub.ready()
                at = hub.position if begin == since.NOW else None
                self.say(subscribed=channel, **({"event_id": frames.event_id(at)} if at else {}))
                await catch_up.follow(self._client, hub, begin)
            except (Refused, FanoutError) as error:
                self._following.pop(channel, None)
                self.say(error=str(error))
