"""The view of all replicas for the dashboard: read from Redis while a client watches, once for all of them."""

import asyncio
import time
from functools import partial

import msgspec
from redis.exceptions import RedisError

from fanout._redis.commands import Commands
from fanout._redis.retry import with_backoff
from fanout.errors import ConnectionLost, RefusedByRedis
from fanout.service import roster
from fanout.service.logs import log_crash
from fanout.settings import Settings
from gateway.client import Client
from gateway.frames import Form, Frame, in_one_line

EVERY = 0.5
AWAY_AFTER = 1.0
"""Seconds without an answer until Redis is shown as away: a first attempt that timed out is not an outage yet."""

_encode = msgspec.json.Encoder().encode


class System:
    """Sends `view` events to the clients that watch: the roster, and whether Redis is connected, when these change."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._watchers: set[Client] = set()
        self._reading: asyncio.Task[None] | None = None
        self._view = roster.View([], {})
        self._shown: tuple[object, ...] = ()
        self._frame: Frame | None = None
        self._away: asyncio.TimerHandle | None = None
        self._last_error = ""

    def join(self, client: Client) -> None:
        """Send a client the view, and from then on each change."""
        self._watchers.add(client)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        if self._frame:
            client.write(client.form([self._frame]))

    async def follow(self, _client: Client) -> None:
        """Wait until cancelled."""
        await asyncio.get_running_loop().create_future()

    def leave(self, client: Client) -> None:
        """Stop sending to a client."""
        self._watchers.discard(client)
        if not self._watchers and self._reading:
            self._reading.cancel()
            self._end_outage()
            self._reading, self._frame, self._shown = None, None, ()

    async def _read(self) -> None:
        again = False
        while True:
            self._start_outage()
            try:
                await self._read_until_lost(again=again)
            except RefusedByRedis:
                self._show("away")
            except (ConnectionLost, RedisError):
                pass
            except Exception as error:  # foreign data in Redis may cause any error: keep the last view and go on
                if self._last_error != (text := repr(error)):
                    log_crash(error)
                self._last_error = text
                self._end_outage()
            again = True
            await asyncio.sleep(EVERY)

    async def _read_until_lost(self, *, again: bool) -> None:
        redis = await with_backoff(partial(Commands.open, self._settings), self._settings, lambda: None, again=again)
        try:
            while True:
                self._view = await roster.read(redis)
                self._end_outage()
                self._show("connected")
                await asyncio.sleep(EVERY)
        finally:
            redis.close()

    def _start_outage(self) -> None:
        if self._away is None:
            self._away = asyncio.get_running_loop().call_later(AWAY_AFTER, self._show, "away")

    def _end_outage(self) -> None:
        if self._away:
            self._away.cancel()
            self._away = None

    def _show(self, redis: str) -> None:
        """Send the view if it has changed; ages are compared in whole seconds, since a fresh record's age varies."""
        replicas = [msgspec.structs.asdict(replica) for replica in self._view.replicas]
        found = {"channels": self._view.channels, "strange": self._view.strange}
        shown = (redis, [replica | {"age_s": int(replica["age_s"])} for replica in replicas], found)
        if shown == self._shown:
            return
        self._shown = shown
        view = {"redis": redis, "at": round(time.time(), 3), "replicas": replicas} | found
        self._frame = Frame("view", in_one_line(_encode(view)))
        encoded: dict[Form, bytes] = {}
        for client in self._watchers:
            if client.form not in encoded:
                encoded[client.form] = client.form([self._frame])
            client.write(encoded[client.form])
