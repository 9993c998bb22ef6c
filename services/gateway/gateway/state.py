"""How the gateway is, for its presence record."""

import time

from fanout.presence import CHANNELS, Replica
from fanout.writer import Writer
from gateway.client import Clients
from gateway.hubs import Hubs


class State:
    """Sums up the parts."""

    def __init__(self, instance: str, writer: Writer, hubs: Hubs, clients: Clients) -> None:
        self._instance, self._writer, self._hubs, self._clients = instance, writer, hubs, clients
        self._since = time.time()

    def replica(self) -> Replica:
        """What the presence record says."""
        sent, subscriptions = self._writer.sender, [hub.subscription for hub in self._hubs]
        whole = all(subscription.state == "live" for subscription in subscriptions)
        return Replica(
            service="gateway",
            instance=self._instance,
            state="connecting" if not sent.redis else "live" if whole else "catching_up",
            since=self._since,
            producer=self._writer.producer,
            waiting=self._writer.waiting,
            reconnects=sent.reconnects,
            accepted=sent.accepted,
            failed=sent.failed,
            replayed=sent.replayed,
            received=self._hubs.received,
            lost=sent.gone + sum(subscription.lost for subscription in subscriptions),
            clients=len(self._clients),
            channels=dict(item for one in subscriptions[:CHANNELS] for item in one.positions(1).items()),
        )
