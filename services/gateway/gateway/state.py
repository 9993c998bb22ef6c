"""The gateway's state, for its record in the roster."""

import time

from fanout import Publisher
from fanout.service.roster import CHANNELS, Replica
from gateway.clients import Clients
from gateway.hubs import Hubs

SEARCHED = 10_000
"""Channels a second among which those heard last are looked for."""


class State:
    """Collects the state of the gateway's parts."""

    def __init__(self, instance: str, publisher: Publisher, hubs: Hubs, clients: Clients) -> None:
        self._instance, self._publisher, self._hubs, self._clients = instance, publisher, hubs, clients
        self._since = time.time()
        self._positions_until = 0.0
        self._latest: dict[str, int] = {}

    def replica(self) -> Replica:
        """Return the gateway's record for the roster."""
        sent, read = self._publisher.statistics(), self._hubs.subscription.statistics()
        return Replica(
            service="gateway",
            instance=self._instance,
            state="connecting" if sent.state == "connecting" else read.state,
            since=self._since,
            producer=sent.producer,
            waiting=sent.waiting,
            reconnects=sent.reconnects,
            accepted=sent.accepted,
            failed=sent.failed,
            replayed=sent.replayed,
            received=self._hubs.received,
            lost=sent.gone + read.lost,
            clients=len(self._clients),
            channels=self._positions(),
        )

    def _positions(self) -> dict[str, int]:
        """Return where the channels are that were heard last; found seldom if there are many to look at."""
        if time.time() >= self._positions_until:
            self._positions_until = time.time() + len(self._hubs) / SEARCHED
            self._latest = self._hubs.subscription.positions(CHANNELS)
        return self._latest
