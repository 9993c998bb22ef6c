"""python -m gateway: reads settings, builds the parts, runs them."""

import asyncio
import sys

from aiohttp import web

from fanout import intake, lifecycle
from fanout.health import Heartbeat
from fanout.lifecycle import Totals
from fanout.logs import get_logger
from fanout.presence import Presence
from fanout.writer import Writer
from gateway.app import Gateway
from gateway.client import Clients
from gateway.hubs import Hubs
from gateway.origins import Origins
from gateway.settings import GatewaySettings, read
from gateway.state import State
from gateway.system import System

BACKLOG = 1024
SOCKETS = 100
"""Open files beside those of clients and channels."""


async def serve(settings: GatewaySettings, stop: asyncio.Event) -> Totals:
    """Serves until `stop` is set; returns the totals.

    Raises:
        FanoutError: the port is taken, Redis refuses, or events could not be delivered before the end.
    """
    clients = Clients(settings.max_clients, settings.client_buffer, 2 * settings.max_channels + SOCKETS)
    hubs = Hubs(settings)
    with intake.listen(settings.http_host, settings.http_port) as listener:
        host, port = listener.getsockname()[:2]
        get_logger().info("started", http=f"http://{host}:{port}", clients=clients.limit)
        async with Writer(settings, settings.history, Heartbeat(settings.heartbeat_file)) as writer:
            gateway = Gateway(writer, hubs, clients, System(settings), Origins(settings.origins), settings.max_event)
            runner = web.AppRunner(
                gateway.app(), access_log=None, handler_cancellation=True, shutdown_timeout=settings.shutdown_grace
            )
            await runner.setup()
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
            state = State(settings.instance, writer, hubs, clients)
            presence = Presence(settings.instance, state.replica, lambda: writer.sender.redis)
            present = asyncio.create_task(presence.keep())
            alive = asyncio.create_task(clients.keep_alive())
            await lifecycle.until(stop, writer.task, present, alive)
            present.cancel()
            alive.cancel()
            clients.close()
            await runner.cleanup()
            await hubs.close()
            await writer.finish(settings.shutdown_grace)
            await presence.leave()
    return writer.totals() | {"received": hubs.received, "clients_cut": clients.cut}


def main() -> int:
    """Runs the service; returns its exit code."""
    return lifecycle.run("gateway", read, serve)


if __name__ == "__main__":
    sys.exit(main())
