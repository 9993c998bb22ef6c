"""The gateway in the process of the test, without what publishes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from fanout.environment import Environment
from fanout.service.origins import Origins
from gateway.app import Gateway
from gateway.clients import Clients
from gateway.hubs import Hubs
from gateway.presence.presence import Presence
from gateway.settings import read
from gateway.system import System
from support.redis_server import RedisServer


@asynccontextmanager
async def gateway_here(server: RedisServer, **settings: str) -> AsyncIterator[tuple[str, Clients, Hubs]]:
    """Its address and its parts."""
    found = read(Environment({"REDIS_URL": server.url} | settings))
    clients, hubs = Clients(100, found.client_buffer, 0), Hubs(found)
    nothing: Any = None
    presence = Presence(nothing, hubs.subscription, found.instance)
    app = Gateway(nothing, nothing, hubs, clients, System(found), Origins((), (), found.instance), presence).app()
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    pumping = asyncio.create_task(clients.pump())
    async with hubs.subscription:
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}", clients, hubs
        finally:
            pumping.cancel()
            clients.close()
            await runner.cleanup()
