"""FastStream over Pub/Sub: `log` with structlog and the options for speed, `own` with its own log, as it comes."""

import sys
from typing import Any

import uvloop
from faststream import FastStream  # type: ignore[import-not-found]
from faststream.redis import RedisBroker  # type: ignore[import-not-found]

from bench.peers.common import logger
from bench.wire import CHANNEL


def structured(url: str) -> Any:
    """No log of its own, no conversion of arguments by their annotations: a line of structlog a message."""
    broker = RedisBroker(url, logger=None, apply_types=False)
    info = logger().info

    async def handle(data: Any) -> None:
        info("message_received", channel=CHANNEL, data=data.decode() if isinstance(data, bytes) else data)

    broker.subscriber(CHANNEL)(handle)
    return broker


def own(url: str) -> Any:
    """The defaults: two lines a message."""
    broker = RedisBroker(url)

    async def handle(data: Any) -> None:
        pass

    broker.subscriber(CHANNEL)(handle)
    return broker


if __name__ == "__main__":
    port, mode = sys.argv[1:]
    address = f"redis://127.0.0.1:{port}"
    uvloop.run(FastStream(structured(address) if mode == "log" else own(address), logger=None).run())
