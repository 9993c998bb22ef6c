"""The open channels: each is opened by its first client, and closed some time after its last one has left."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import structlog

from fanout.errors import FanoutError
from fanout.keys import check_open_to_all
from fanout.service.http_body import Refused
from fanout.service.logs import log_crash
from fanout.service.memory_limit import memory_limit
from gateway.budget import catch_ups
from gateway.hub import CONNECTING, Hub
from gateway.settings import GatewaySettings

LINGER = 10.0
"""Seconds that a channel stays open without a client, so that one that was disconnected can come back."""
RING_BYTES = 4 * 2**20
ALL_RINGS_BYTES = memory_limit() // 8
KEPT_BYTES = memory_limit() // 8
"""Bytes that may be queued for the clients of all channels together."""
TIDY_EVERY = 10.0


class _Open:
    """An open channel: `users` blocks use it, `task` runs it, `closing` is the timer that closes it when unused."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self.users = hub, 0
        self.task = asyncio.create_task(hub.run())
        self.closing: asyncio.TimerHandle | None = None


class Hubs:
    """The hubs of all open channels; iterating yields them."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._open: dict[str, _Open] = {}
        self._received = 0
        self._turns = asyncio.Semaphore(CONNECTING)
        self._behind = 0
        self._closed = False

    @property
    def channels_per_client(self) -> int:
        """How many channels one client may follow."""
        return self._settings.client_channels

    def __iter__(self) -> Iterator[Hub]:
        return iter([entry.hub for entry in list(self._open.values())])  # channels come and go meanwhile

    def __len__(self) -> int:
        return len(self._open)

    @property
    def received(self) -> int:
        """Messages of all channels so far, including those that are closed by now."""
        return self._received + sum(hub.received for hub in self)

    @asynccontextmanager
    async def open(self, channel: str) -> AsyncIterator[Hub]:
        """Keep a channel's hub open while the block runs.

        Raises:
            Refused: 400 the name is invalid, 503 too many channels are open.
        """
        try:
            check_open_to_all(channel)
        except ValueError as error:
            raise Refused(400, str(error)) from None
        entry = self._open.get(channel) or self._start(channel)
        entry.users += 1
        if entry.closing:
            entry.closing.cancel()
        try:
            yield entry.hub
        finally:
            entry.users -= 1
            if not entry.users:
                entry.closing = asyncio.get_running_loop().call_later(LINGER, self._close, entry)

    async def tidy(self) -> None:
        """Collect the cyclic garbage of closed channels and of catch-ups from time to time; never return."""
        while True:
            await asyncio.sleep(TIDY_EVERY)
            if self._closed or (catch_ups.used and catch_ups.idle):
                self._closed = catch_ups.used = False
                gc.collect()

    async def close(self) -> None:
        """End all channels."""
        tasks = [entry.task for entry in self._open.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _start(self, channel: str) -> _Open:
        if len(self._open) >= self._settings.max_channels:
            idle = next((entry for entry in self._open.values() if not entry.users), None)
            if idle is None:
                raise Refused(503, "the gateway has too many open channels")
            self._close(idle)
        history = self._settings.history.size > 0
        hub = Hub(channel, self._settings, self._ring_bytes, self._turns, self._kept, history=history)
        entry = self._open[channel] = _Open(hub)
        entry.task.add_done_callback(lambda task: self._ended(entry, task))
        if self._ring_bytes() < RING_BYTES:
            for other in self:
                other.ring.trim(self._ring_bytes())
        return entry

    def _close(self, entry: _Open) -> None:
        self._forget(entry)
        entry.task.cancel()

    def _ended(self, entry: _Open, task: asyncio.Task[None]) -> None:
        self._forget(entry)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, FanoutError):
            structlog.get_logger().error("channel_refused", channel=entry.hub.channel, reason=str(error))
        elif error:
            log_crash(error)
        entry.hub.end(error)

    def _forget(self, entry: _Open) -> None:
        if self._open.get(entry.hub.channel) is entry:
            del self._open[entry.hub.channel]
            self._closed = True
            self._received += entry.hub.received
            entry.hub.keep(0)

    def _ring_bytes(self) -> int:
        return min(RING_BYTES, ALL_RINGS_BYTES // max(1, len(self._open)))

    def _kept(self, change: int) -> None:
        """Disconnect the slowest clients when too much is queued, so that each channel keeps an equal share."""
        self._behind += change
        if self._behind <= KEPT_BYTES or change <= 0:
            return
        behind = [(hub, max((client.queued for client in hub.clients), default=0)) for hub in self]
        share = KEPT_BYTES // (2 * max(1, len([hub for hub, queued in behind if queued])))
        for hub, queued in behind:
            for client in hub.clients if queued > share else ():
                if client.queued > share:
                    client.abort("it reads too slowly, and memory is short")
            hub.behind = min(queued, share)
        self._behind = sum(hub.behind for hub in self)
