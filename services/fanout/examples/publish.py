"""Publish lines of text: `python publish.py orders < lines.txt`. REDIS_URL says where Redis is."""

import asyncio
import sys

from fanout import FanoutError, Publisher


async def main(channel: str) -> None:
    async with Publisher.from_environment() as publisher:
        count = await publisher.publish_all(channel, map(str.strip, sys.stdin))
    print(f"published {count} events on {channel}")


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "orders"))
    except FanoutError as error:
        sys.exit(f"publish: {error}")
