"""The channels that clients look at: each is opened with its first client, and closed some time after its last."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from fanout.errors import FanoutError
from fanout.intake import Refused
from fanout.keys import check_channel
from fanout.logs import get_logger, log_crash
from gateway.hub import Hub
from gateway.settings import GatewaySettings

LINGER = 10.0
"""Seconds that a channel stays open without a client: long enough for one that was cut off to come back."""
RING_BYTES = 4 * 2**20
ALL_RINGS_BYTES = 64 * 2**20


class _Open:
    """An open channel: `users` blocks use it, `task` runs it, `closing` ends it when nobody does for long."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self.users = hub, 0
        self.task = asyncio.create_task(hub.run())
        self.closing: asyncio.TimerHandle | None = None


class Hubs:
    """The hubs of all channels that are open. Iterating gives them; `received` counts their messages."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._open: dict[str, _Open] = {}
        self._received = 0

    def __iter__(self) -> Iterator[Hub]:
        return (entry.hub for entry in self._open.values())

    def __len__(self) -> int:
        return len(self._open)

    @property
    def received(self) -> int:
        """Messages of all channels so far, also of those that are closed by now."""
        return self._received + sum(hub.received for hub in self)

    @asynccontextmanager
    async def open(self, channel: str) -> AsyncIterator[Hub]:
        """The hub of a channel, for as long as the block runs.

        Raises:
            Refused: 400 the name is not allowed, 503 too many channels are open.
        """
        try:
            check_channel(channel)
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

    async def close(self) -> None:
        """Ends them all."""
        tasks = [entry.task for entry in self._open.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _start(self, channel: str) -> _Open:
        if len(self._open) >= self._settings.max_channels:
            idle = next((entry for entry in self._open.values() if not entry.users), None)
            if idle is None:
                raise Refused(503, "the gateway has as many channels open as it may")
            self._close(idle)
        hub = Hub(channel, self._settings, self._ring_bytes, history=self._settings.history.size > 0)
        entry = self._open[channel] = _Open(hub)
        entry.task.add_done_callback(lambda task: self._ended(entry, task))
        return entry

    def _close(self, entry: _Open) -> None:
        self._forget(entry)
        entry.task.cancel()

    def _ended(self, entry: _Open, task: asyncio.Task[None]) -> None:
        self._forget(entry)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, FanoutError):
            get_logger().error("channel_refused", channel=entry.hub.channel, reason=str(error))
        elif error:
            log_crash(error)
        entry.hub.end(error)

    def _forget(self, entry: _Open) -> None:
        if self._open.get(entry.hub.channel) is entry:
            del self._open[entry.hub.channel]
            self._received += entry.hub.received

    def _ring_bytes(self) -> int:
        return min(RING_BYTES, ALL_RINGS_BYTES // max(1, len(self._open)))
