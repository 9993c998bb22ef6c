"""A publisher without a limit of channels."""

import asyncio
import sys
from collections.abc import Iterable

from run import ROOT

sys.path.append(str(ROOT / "services/fanout"))

from fanout import Publisher
from fanout.environment import Environment
from fanout.service import logs
from fanout.settings import read_history, read_settings

IN_ONE_GO = 500
ACCEPTED_WITHIN = 120


async def publish(url: str, password: str, channels: Iterable[str]) -> None:
    """Publish an event on each channel, and wait until Redis has accepted all of them.

    Raises:
        FanoutError: Redis refuses.
    """
    settings = {"REDIS_URL": url, "REDIS_PASSWORD": password, "LOG_MESSAGES": "none", "LOG_LEVEL": "error"}
    env = Environment(settings | {"MAX_CHANNELS": "1000000", "LOG_FORMAT": "json"})
    logs.configure(env, "abuse", "abuse")
    async with asyncio.timeout(ACCEPTED_WITHIN):
        async with Publisher(read_settings(env), history=read_history(env, 64 * 2**20)) as publisher:
            for n, channel in enumerate(channels):
                if n % IN_ONE_GO == 0:
                    await publisher.room()
                    await asyncio.sleep(0)
                publisher.put(channel, "x")
            await publisher.flush()
