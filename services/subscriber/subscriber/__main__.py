"""Runs the subscriber: python -m subscriber."""

import asyncio
import sys
import time

import structlog

from fanout import Subscription
from fanout.service import lifecycle, metrics
from fanout.service.heartbeat import Heartbeat
from fanout.service.lifecycle import Totals
from fanout.service.roster import RosterEntry
from subscriber.delivery import Delivery
from subscriber.handler import Handler
from subscriber.settings import SubscriberSettings, read
from subscriber.traffic import Traffic


async def serve(settings: SubscriberSettings, stop: asyncio.Event) -> Totals:
    """Deliver messages until `stop` is set, and return the totals.

    Raises:
        FanoutError: HANDLER cannot be loaded or set up, or Redis refuses.
    """
    traffic = Traffic(settings.log_messages)
    handler = Handler(settings.handler) if settings.handler else None
    delivery = Delivery(handler, traffic.messages_received, traffic.handler_failed)
    what = settings.what
    subscription = Subscription(settings, what=what, alive=Heartbeat(settings.heartbeat_file).beat)
    address = metrics.serve(settings, "subscriber", [*traffic.metrics(), *metrics.of_subscription(subscription)])
    structlog.get_logger().info(
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
        summaries = asyncio.create_task(summarize())
        roster_entry = RosterEntry(settings.instance, lambda: traffic.replica(subscription), lambda: subscription.redis)
        roster_task = asyncio.create_task(roster_entry.keep())
        try:
            await lifecycle.until(stop, work, summaries, roster_task, subscription.task)
        finally:
            delivery.stop()
            end = time.monotonic() + settings.shutdown_grace
            subscription.inbox.close()
            done, _ = await asyncio.wait([work], timeout=settings.shutdown_grace)
            for task in done:
                task.result()
        roster_task.cancel()
        work.cancel()
        summaries.cancel()
        await roster_entry.leave()
        subscription.grace = max(0.0, end - time.monotonic())
    traffic.summarize(subscription)
    now = subscription.statistics()
    return {
        "received": traffic.received,
        "caught_up": now.recovered,
        "lost": now.lost,
        "duplicates": now.duplicates,
        "dropped": now.dropped,
        "handler_failures": traffic.failed,
        "reconnects": now.reconnects,
    }


def main() -> int:
    """Run the service and return its exit code."""
    return lifecycle.run("subscriber", read, serve)


if __name__ == "__main__":
    sys.exit(main())
