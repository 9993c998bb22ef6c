"""WebSocket: several channels on one connection, which commands subscribe and unsubscribe."""

import asyncio
import contextlib
import time

import msgspec
from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from fanout.errors import FanoutError
from fanout.service.http_body import Refused
from fanout.service.login.gate import Gate
from fanout.service.login.grant import Grant
from fanout.service.logs import log_crash
from gateway import frames, since
from gateway.client import Client
from gateway.clients import HEARTBEAT, Clients
from gateway.following import Following
from gateway.hubs import Hubs
from gateway.permission import Permission
from gateway.presence.presence import ANONYMOUS, Presence, check_presence
from gateway.sse import UNEXPECTED

LONGEST_COMMAND = 16 * 1024
CLOSE_WITHIN = 1.0
COMMANDS_PER_SECOND = 20
LEAST_BURST = 100
"""Commands that a client may send at once, besides subscribing to all its channels again after a reconnect."""
ABUSE = 200
"""Refused commands after which a client that continues is disconnected."""
ALLOWED = (
    'a command is {"subscribe": channel}, optionally with "since" and "presence", {"unsubscribe": channel}, or'
    ' {"token": token}'
)


HANDSHAKE = (hdrs.UPGRADE, hdrs.CONNECTION, hdrs.SEC_WEBSOCKET_KEY, hdrs.SEC_WEBSOCKET_VERSION)


class _Command(msgspec.Struct, forbid_unknown_fields=True):
    subscribe: str | None = None
    unsubscribe: str | None = None
    token: str | None = None
    since: str = ""
    presence: bool = False


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Command).decode


async def respond(
    request: web.Request, clients: Clients, hubs: Hubs, presence: Presence, *, gate: Gate, grant: Grant | None
) -> web.StreamResponse:
    """Serve a connection until the client or the gateway ends it; `grant` is what its request permitted.

    Raises:
        Refused: 400 the request is no WebSocket handshake.
    """
    _check_handshake(request)
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT, compress=False, max_msg_size=LONGEST_COMMAND, timeout=CLOSE_WITHIN
    )
    await socket.prepare(request)
    with clients.connected(request.transport, frames.websocket) as client:

        async def end(code: int, reason: bytes) -> None:
            await channels.close()  # nothing may follow a Close frame
            await socket.close(code=code, message=reason)

        permission = Permission(gate, grant, gate.client(request.remote or "", request.headers), end)
        channels, pace = _Channels(client, hubs, presence, permission), _Pace(LEAST_BURST + hubs.channels_per_client)
        try:
            async for message in socket:
                if not pace.allows():
                    channels.say(error=f"at most {COMMANDS_PER_SECOND} commands a second: this one was ignored")
                    if pace.refused > ABUSE:
                        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"too many commands")
                elif message.type == WSMsgType.TEXT:
                    await channels.execute(message.data)
                else:
                    channels.say(error=f"a command is JSON in a text frame: {ALLOWED}")
        finally:
            await channels.close()
            await permission.close()
    if clients.closing:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the gateway is stopping")
    return socket


def _check_handshake(request: web.Request) -> None:
    """Refuse what aiohttp would fail on."""
    if not all(request.headers.get(name, "").isascii() for name in HANDSHAKE):
        raise Refused(400, "a WebSocket handshake has only ASCII in its headers")


class _Pace:
    """A token bucket for the commands of one client: `burst` at once, then COMMANDS_PER_SECOND.

    `refused` grows with each refused command and shrinks with each allowed one.
    """

    def __init__(self, burst: int) -> None:
        self._burst = self._left = float(burst)
        self._at = time.monotonic()
        self.refused = 0

    def allows(self) -> bool:
        """Count a command; return whether it is allowed now."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * COMMANDS_PER_SECOND)
        self._at = now
        if self._left < 1:
            self.refused += 1
            return False
        self._left -= 1
        self.refused = max(0, self.refused - 1)
        return True


class _Channels:
    """The channels of one client. A task follows a channel only until it has caught up."""

    def __init__(self, client: Client, hubs: Hubs, presence: Presence, permission: Permission) -> None:
        self._client, self._hubs, self._presence, self._permission = client, hubs, presence, permission
        self._following: dict[str, Following] = {}
        self._present: dict[str, str] = {}
        self._starting: dict[Following, asyncio.Task[None]] = {}
        self._on_end = self._ended

    def say(self, **fields: object) -> None:
        """Send an answer."""
        self._client.write(frames.websocket_text(_encode(fields)))

    async def execute(self, text: str) -> None:
        """Execute a command, or answer what is wrong with it."""
        try:
            try:
                command = _decode(text)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{error}: {ALLOWED}") from None
            if [command.subscribe, command.unsubscribe, command.token].count(None) != 2:
                raise ValueError(f"a command has one of subscribe, unsubscribe and token: {ALLOWED}")
            if command.token is not None:
                await self._renew(command.token)
            elif command.subscribe is not None:
                self._subscribe(command.subscribe, command.since, present=command.presence)
            elif command.unsubscribe is not None:
                await self._unsubscribe(command.unsubscribe)
        except ValueError as error:
            self.say(error=str(error))

    async def close(self) -> None:
        """Unsubscribe from all channels."""
        followings = list(self._following.values())
        self._following.clear()  # first: when a token expires, this may be called while it is under way
        await self._stop(followings)

    async def _renew(self, token: str) -> None:
        """Take a token, and give up the channels that it does not permit."""
        if not (grant := await self._permission.renew(token)):
            return
        self.say(token={"sub": grant.subject, "exp": grant.expires})
        member = grant.subject or ANONYMOUS
        for channel, before in self._present.items():
            if before != member:
                self._presence.join(channel, member)
                self._presence.leave(channel, before)
                self._present[channel] = member
        for channel in [channel for channel in self._following if not grant.may_subscribe(channel)]:
            if following := self._following.pop(channel, None):  # it may have ended meanwhile
                await self._stop([following])
                self.say(error=self._permission.refusal(channel), channel=channel)

    def _subscribe(self, channel: str, begin: str, *, present: bool) -> None:
        if channel in self._following:
            raise ValueError(f"{channel} is subscribed already")
        try:
            if refusal := self._permission.refusal(channel):
                raise ValueError(refusal)
            if len(self._following) >= self._hubs.channels_per_client:
                raise ValueError(f"at most {self._hubs.channels_per_client} channels a connection (CLIENT_CHANNELS)")
            if present:
                check_presence(channel)
            start, hub = since.parse(begin), self._hubs.open(channel)
        except (Refused, ValueError) as error:
            self.say(error=str(error), channel=channel)
            return
        if present:
            self._present[hub.channel] = self._permission.subject or ANONYMOUS
            self._presence.join(hub.channel, self._present[hub.channel])
        following = self._following[hub.channel] = Following(hub, start, self._on_end)
        self._starting[following] = asyncio.create_task(self._start(following))

    async def _unsubscribe(self, channel: str) -> None:
        if channel not in self._following:
            raise ValueError(f"{channel} is not subscribed")
        await self._stop([self._following.pop(channel)])
        self.say(unsubscribed=channel)

    async def _start(self, following: Following) -> None:
        """Have a client catch up with a channel; if that fails, the channel can be subscribed again."""
        channel = following.hub.channel
        try:
            await following.hub.ready()
            at = following.join(self._client)
            self.say(subscribed=channel, **({"event_id": frames.event_id(*at)} if at else {}))
            await following.start(self._client)
        except FanoutError as error:
            self._ended(channel, error)
        except Exception as error:
            log_crash(error)
            self._ended(channel, FanoutError(UNEXPECTED))
        finally:
            self._starting.pop(following, None)

    async def _stop(self, followings: list[Following]) -> None:
        tasks = [task for following in followings if (task := self._starting.get(following))]
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                await asyncio.wait(tasks)
        finally:  # even if the client goes away meanwhile
            for following in followings:
                self._leave(following)

    def _leave(self, following: Following) -> None:
        following.leave(self._client)
        self._hubs.release(following.hub)
        if member := self._present.pop(following.hub.channel, None):
            self._presence.leave(following.hub.channel, member)

    def _ended(self, channel: str, why: FanoutError) -> None:
        if following := self._following.pop(channel, None):
            self._leave(following)
            self.say(error=str(why), channel=channel)
