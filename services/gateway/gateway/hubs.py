"""The open channels: each is opened by its first client, and closed some time after its last one has left."""

import asyncio
import itertools
from collections.abc import Iterator
from operator import attrgetter

from fanout import Message, Subscription
from fanout._subscribe.catch_up import Outcome
from fanout.errors import FanoutError
from fanout.keys import check_open_to_all
from fanout.service.http_body import Refused
from fanout.service.logs import log_crash
from fanout.service.memory_limit import memory_limit
from fanout.settings import StartFrom, SubscriptionSettings
from gateway.hub import Hub, Shared
from gateway.rollback import FIRST_ASKED
from gateway.settings import GatewaySettings
from gateway.sse import UNEXPECTED

BEFORE = 5.0
"""Seconds of history that a ring begins with: a crash of Redis may lose events from before the first client came."""
LINGER = 10.0
"""Seconds that a channel stays open without a client, so that one that was disconnected can come back."""
RING_BYTES = 4 * 2**20
ALL_RINGS_BYTES = memory_limit() // 8
KEPT_BYTES = memory_limit() // 8
"""Bytes that may be queued for the clients of all channels together."""
QUEUE_SIZE = PRODUCERS = 100_000


class Hubs:
    """The hubs of all open channels, over one subscription; iterating yields them.

    Attributes:
        subscription: the subscription to all channels; it is used within its block.
        received: messages that have arrived so far.
        closed: how many channels have been closed so far.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        history = settings.history.size > 0
        what = SubscriptionSettings(
            channels=(),
            patterns=(),
            start_from=StartFrom(earliest=False, age=BEFORE),
            queue_size=QUEUE_SIZE,
            producers=PRODUCERS,
            history=history,
            save=False,
        )
        self.subscription = Subscription(settings, what=what)
        self.subscription.inbox.direct = self._take
        self.subscription.on_lost(self._lost)
        self.subscription.on_refused(self._refused)
        self._shared = Shared(self.subscription, settings.largest_message, history=history)
        self._shared.ring_bytes, self._shared.kept = self._ring_bytes, self._kept
        self._open: dict[str, Hub] = {}
        self._unsettled: set[Hub] = set()
        self._shared.opened = self._unsettled.add
        self._idle: dict[Hub, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._lagging: set[Hub] = set()
        self._behind = 0
        self._rings_reckoned = ALL_RINGS_BYTES // RING_BYTES
        self.received = self.closed = 0

    @property
    def channels_per_client(self) -> int:
        """How many channels one client may follow."""
        return self._settings.client_channels

    def __iter__(self) -> Iterator[Hub]:
        return iter(list(self._open.values()))  # channels come and go meanwhile

    def __len__(self) -> int:
        return len(self._open)

    def open(self, channel: str) -> Hub:
        """Return a channel's hub, which stays open until it is released as often as it was opened.

        Raises:
            Refused: 400 the name is invalid, 503 too many channels are open.
        """
        try:
            check_open_to_all(channel)
        except ValueError as error:
            raise Refused(400, str(error)) from None
        hub = self._open.get(channel) or self._start(channel)
        hub.users += 1
        if timer := self._idle.pop(hub, None):
            timer.cancel()
        return hub

    def release(self, hub: Hub) -> None:
        """Let go of a hub that was opened."""
        hub.users -= 1
        if not hub.users and not hub.error:
            self._idle[hub] = asyncio.get_running_loop().call_later(LINGER, self._close_soon, hub)

    async def watch(self) -> None:
        """After each outage, find out when all events have been sent again; never return."""
        while True:
            await asyncio.sleep(FIRST_ASKED)
            for hub in list(self._unsettled):
                if not hub.rollback or hub.error or not await hub.rollback.look():
                    self._unsettled.discard(hub)

    def _start(self, channel: str) -> Hub:
        if len(self._open) - len(self._closing) >= self._settings.max_channels:
            if not self._idle:
                raise Refused(503, "the gateway has too many open channels")
            self._close_soon(next(iter(self._idle)))
        hub = self._open[channel] = Hub(channel, self._shared)
        return hub

    def _close_soon(self, hub: Hub) -> None:
        if timer := self._idle.pop(hub, None):
            timer.cancel()
        task = asyncio.create_task(self._close(hub))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, hub: Hub) -> None:
        if (hub.error or not hub.users) and self._forget(hub):
            await self.subscription.unsubscribe(hub.channel)  # removes it before anyone else can open it again

    def _take(self, messages: list[Message]) -> None:
        self.received += len(messages)
        for channel, batch in itertools.groupby(messages, attrgetter("channel")):
            if hub := self._open.get(channel):
                try:
                    hub.take(list(batch))
                except Exception as error:
                    log_crash(error)
                    self._end(hub, FanoutError(UNEXPECTED))

    def _lost(self, channel: str, outcome: Outcome) -> None:
        if hub := self._open.get(channel):
            hub.lost(outcome)

    def _refused(self, channel: str, error: FanoutError) -> None:
        if hub := self._open.get(channel):
            self._end(hub, error)

    def _end(self, hub: Hub, error: FanoutError) -> None:
        hub.end(error)
        self._close_soon(hub)

    def _forget(self, hub: Hub) -> bool:
        if self._open.get(hub.channel) is not hub:
            return False
        del self._open[hub.channel]
        self.closed += 1
        self._shared.rings.discard(hub)
        self._unsettled.discard(hub)
        self._kept(hub, 0)
        return True

    def _ring_bytes(self) -> int:
        """Return how many bytes a ring may have; when it is a good deal less than before, trim all rings."""
        rings = self._shared.rings
        if len(rings) > self._rings_reckoned:
            self._rings_reckoned = len(rings) * 3 // 2
            for hub in rings:
                hub.ring.trim(ALL_RINGS_BYTES // self._rings_reckoned)
        elif len(rings) < self._rings_reckoned // 3:
            self._rings_reckoned = max(len(rings), ALL_RINGS_BYTES // RING_BYTES)
        return min(RING_BYTES, ALL_RINGS_BYTES // self._rings_reckoned)

    def _kept(self, hub: Hub, behind: int) -> None:
        """Note how many bytes are kept for a hub's clients: as many as for the slowest, since all get the same bytes.

        When too much is kept, disconnect the slowest clients, so that each channel keeps an equal share.
        """
        change, hub.behind = behind - hub.behind, behind
        self._behind += change
        (self._lagging.add if behind else self._lagging.discard)(hub)
        if self._behind <= KEPT_BYTES or change <= 0:
            return
        lagging = [(one, max((client.queued for client in one.clients), default=0)) for one in self._lagging]
        share = KEPT_BYTES // (2 * max(1, len(lagging)))
        for one, queued in lagging:
            for client in list(one.clients) if queued > share else ():
                if client.queued > share:
                    client.abort("it reads too slowly, and memory is short")
            one.behind = min(queued, share)
        self._behind = sum(one.behind for one in self._lagging)
