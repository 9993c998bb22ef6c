"""Print what arrives: `python subscribe.py orders`. REDIS_URL says where Redis is, INSTANCE is the subscription's name.

Stop it with Ctrl-C and start it again: with a name, it continues after the last message that it printed.
"""

import asyncio
import contextlib
import os
import signal
import sys

from fanout import FanoutError, Subscription


async def main(channel: str) -> None:
    task = asyncio.current_task()
    assert task
    async with Subscription.from_environment(os.environ | {"CHANNELS": channel}) as messages:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C or SIGTERM: the end of the block saves the position
            async for message in messages:
                print(message.channel, message.id, message.data, flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "orders"))
    except FanoutError as error:
        sys.exit(f"subscribe: {error}")
