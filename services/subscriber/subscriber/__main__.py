"""python -m subscriber: reads settings, builds the parts, runs them."""

import asyncio
import sys

from fanout import lifecycle
from fanout.health import Heartbeat
from fanout.lifecycle import Totals
from fanout.logs import get_logger
from fanout.subscription import Subscription
from subscriber.handler import Delivery, load
from subscriber.settings import SubscriberSettings, read
from subscriber.traffic import Traffic


async def serve(settings: SubscriberSettings, stop: asyncio.Event) -> Totals:
    """Delivers messages until `stop` is set; returns the totals.

    Raises:
        FanoutError: HANDLER cannot be loaded, or Redis refuses.
    """
    traffic = Traffic(settings.log_messages)
    handler = load(settings.handler) if settings.handler else None
    delivery = Delivery(handler, traffic.message_received, traffic.handler_failed)
    heartbeat = Heartbeat(settings.heartbeat_file)
    get_logger().info(
        "started", channels=settings.channels, patterns=settings.patterns, handler=settings.handler or "log only"
    )

    async def deliver(subscription: Subscription) -> None:
        async for batch in subscription.batches():
            traffic.count(batch)
            await delivery.deliver(batch)

    async def summarize() -> None:
        while True:
            await asyncio.sleep(1)
            traffic.summarize()

    async with Subscription(
        settings, settings.channels, settings.patterns, settings.queue_size, heartbeat
    ) as subscription:
        work = asyncio.create_task(deliver(subscription))
        sums = asyncio.create_task(summarize())
        await lifecycle.until(stop, work, sums)
        subscription.stop()
        delivery.stop()
        await asyncio.wait([work], timeout=settings.shutdown_grace)
        work.cancel()
        sums.cancel()
    traffic.summarize()
    return {
        "received": traffic.received,
        "handler_failures": traffic.failed,
        "dropped": subscription.dropped,
        "reconnects": subscription.reconnects,
    }


def main() -> int:
    """Runs the service; returns its exit code."""
    return lifecycle.run("subscriber", read, serve)


if __name__ == "__main__":
    sys.exit(main())
