"""Collects cyclic garbage in few pauses, however many channels and clients there are.

A full collection looks at every object, half a second for 100,000 channels, and meanwhile nothing is delivered. What
has grown old is therefore set aside (gc.freeze), where Python's own collections do not look. What ends later may leave
garbage there; when enough has ended, everything is looked at.
"""

import asyncio
import gc

from gateway.budget import catch_ups
from gateway.clients import Clients
from gateway.hubs import Hubs

EVERY = 10.0
FEW = 100
"""How many clients, channels and catch-ups may end, and half as many as there are, before all is looked at."""


async def collect(hubs: Hubs, clients: Clients) -> None:
    """Collect garbage for as long as the gateway runs; never return."""
    looked = 0
    while True:
        gc.freeze()
        await asyncio.sleep(EVERY)
        ended = hubs.closed + clients.left + catch_ups.served
        if ended - looked > FEW + (len(hubs) + len(clients)) // 2:
            looked = ended
            gc.unfreeze()
            gc.collect()
