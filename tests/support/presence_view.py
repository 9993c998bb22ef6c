"""Who is there, as a view reads it."""

import asyncio

from fanout._redis.commands import Commands
from fanout.environment import Environment
from fanout.service import roster
from fanout.settings import read_settings
from support.redis_server import RedisServer


def look(server: RedisServer) -> roster.View:
    async def read() -> roster.View:
        settings = read_settings(Environment({"REDIS_URL": server.url, "INSTANCE": "view"}))
        redis = await Commands.open(settings, 2)
        try:
            return await roster.read(redis)
        finally:
            redis.close()

    return asyncio.run(read())
