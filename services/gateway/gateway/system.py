"""Who is there and how they are, for the dashboard: read from Redis while anybody looks, once for all who do."""

import asyncio
import contextlib
import time

import msgspec
from redis.exceptions import RedisError

from fanout import presence
from fanout.backoff import with_backoff
from fanout.commands import Commands
from fanout.errors import ConnectionLost, RefusedByRedis
from fanout.settings import Settings
from gateway.client import Client
from gateway.frames import Form, Frame

EVERY = 0.5

_encode = msgspec.json.Encoder().encode


class System:
    """Gives `view` events to those who look: what presence says, when it changes, and whether Redis is there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._watchers: set[Client] = set()
        self._reading: asyncio.Task[None] | None = None
        self._view = presence.View([], {})
        self._shown: tuple[object, ...] = ()
        self._frame: Frame | None = None

    async def follow(self, client: Client) -> None:
        """Gives a client the view, and each that differs; never returns."""
        self._watchers.add(client)
        try:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
            if self._frame:
                client.write(client.form([self._frame]))
            await asyncio.get_running_loop().create_future()
        finally:
            self._watchers.discard(client)
            if not self._watchers and self._reading:
                self._reading.cancel()
                self._reading, self._frame, self._shown = None, None, ()

    async def _read(self) -> None:
        again = False
        while True:
            with contextlib.suppress(ConnectionLost, RedisError, RefusedByRedis):
                redis = await with_backoff(self._connect, self._settings, lambda: None, again=again)
                try:
                    while True:
                        self._view = await presence.read(redis)
                        self._show("connected")
                        await asyncio.sleep(EVERY)
                finally:
                    redis.close()
            again = True
            self._show("away")
            await asyncio.sleep(EVERY)

    async def _connect(self, within: float) -> Commands:
        try:
            return await Commands.open(self._settings, within)
        except Exception:
            self._show("away")
            raise

    def _show(self, redis: str) -> None:
        """Ages within a second are no change: a record that is written in time is always that new."""
        replicas = [msgspec.structs.asdict(replica) for replica in self._view.replicas]
        shown = (redis, [replica | {"age_s": int(replica["age_s"])} for replica in replicas], self._view.channels)
        if shown == self._shown:
            return
        self._shown = shown
        view = {"redis": redis, "at": round(time.time(), 3), "replicas": replicas, "channels": self._view.channels}
        self._frame = Frame("view", _encode(view))
        encoded: dict[Form, bytes] = {}
        for client in self._watchers:
            if client.form not in encoded:
                encoded[client.form] = client.form([self._frame])
            client.write(encoded[client.form])
