"""encode/broadcaster: `async for` over a subscription."""

import sys

import uvloop
from broadcaster import Broadcast  # type: ignore[import-not-found]

from bench.peers.common import logger
from bench.wire import CHANNEL


async def main(port: str) -> None:
    """A line a message, until it is stopped."""
    info = logger().info
    async with (
        Broadcast(f"redis://127.0.0.1:{port}?protocol=2") as broadcast,
        # With redis-py 8 its listener stops for good at the first subscription and starts again at the second one.
        broadcast.subscribe(channel="unused"),
        broadcast.subscribe(channel=CHANNEL) as subscription,
    ):
        async for event in subscription:
            info("message_received", channel=event.channel, data=event.message)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
