"""python -m subscriber: reads settings, builds the parts, runs them."""

import asyncio
import sys

from fanout import lifecycle, metrics
from fanout.health import Heartbeat
from fanout.lifecycle import Totals
from fanout.logs import get_logger
from fanout.presence import Presence
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
    delivery = Delivery(handler, traffic.messages_received, traffic.handler_failed)
    heartbeat = Heartbeat(settings.heartbeat_file)
    what = settings.what
    subscription = Subscription(settings, what, heartbeat)
    address = metrics.serve(settings, "subscriber", [*traffic.metrics(), *metrics.of_subscription(subscription)])
    get_logger().info(
        "started",
        channels=what.channels,
        patterns=what.patterns,
        handler=settings.handler or "log only",
        metrics=address,
    )

    async def summarize() -> None:
        while True:
            await asyncio.sleep(1)
            traffic.summarize(subscription)

    async with subscription:
        work = asyncio.create_task(delivery.run(subscription.inbox))
        sums = asyncio.create_task(summarize())
        presence = Presence(settings.instance, lambda: traffic.replica(subscription), lambda: subscription.redis)
        present = asyncio.create_task(presence.keep())
        await lifecycle.until(stop, work, sums, present, subscription.task)
        present.cancel()
        subscription.inbox.close()
        delivery.stop()
        await asyncio.wait([work], timeout=settings.shutdown_grace)
        work.cancel()
        sums.cancel()
        await presence.leave()
    traffic.summarize(subscription)
    return {
        "received": traffic.received,
        "caught_up": subscription.recovered,
        "lost": subscription.lost,
        "duplicates": subscription.live.duplicates,
        "dropped": subscription.live.dropped,
        "handler_failures": traffic.failed,
        "reconnects": subscription.reconnects,
    }


def main() -> int:
    """Runs the service; returns its exit code."""
    return lifecycle.run("subscriber", read, serve)


if __name__ == "__main__":
    sys.exit(main())
