"""Runs the gateway: python -m gateway."""

import asyncio
import sys
from typing import cast

import structlog
from aiohttp import web

from fanout import Publisher
from fanout.service import http_ingest, lifecycle, metrics
from fanout.service.heartbeat import Heartbeat
from fanout.service.http_guard import Guard
from fanout.service.http_head import LONGEST_HEAD
from fanout.service.lifecycle import Totals
from fanout.service.login import gate as login
from fanout.service.origins import Origins
from fanout.service.roster import RosterEntry
from gateway import app, garbage
from gateway.app import Gateway
from gateway.clients import Clients
from gateway.hubs import Hubs
from gateway.presence.presence import Presence
from gateway.settings import GatewaySettings, read
from gateway.state import State
from gateway.system import System

BACKLOG = 1024
KEEP_ALIVE = 15.0
"""Seconds that a connection may be idle between two requests."""
SOCKETS = 100
"""Open files that are needed besides those of clients."""


async def serve(settings: GatewaySettings, stop: asyncio.Event) -> Totals:
    """Serve until `stop` is set, and return the totals.

    Raises:
        FanoutError: the port is in use, Redis refuses, or events could not be delivered before the end.
    """
    clients = Clients(settings.max_clients, settings.client_buffer, SOCKETS)
    hubs = Hubs(settings)
    http = settings.http
    origins = Origins(http.origins, http.hosts, settings.instance)
    gate = login.build(settings.login, http, origins)
    with http_ingest.listen(http.host, http.port) as listener:
        publisher = Publisher(settings, history=settings.history, alive=Heartbeat(settings.heartbeat_file).beat)
        address = metrics.serve(settings, "gateway", [*metrics.of_publisher(publisher), *_metrics(hubs, clients)])
        structlog.get_logger().info(
            "started",
            http=http_ingest.url(listener),
            clients=clients.limit,
            login="on" if gate.on else "off",
            metrics=address,
        )
        async with publisher, hubs.subscription:
            ingest = http_ingest.Ingest(publisher, http, settings.max_event, gate)
            presence = Presence(publisher, hubs.subscription, settings.instance)
            gateway = Gateway(
                publisher, ingest, hubs, clients, System(settings), origins, presence, gate, settings.api_docs
            )
            runner = web.AppRunner(
                gateway.app(),
                access_log=None,
                auto_decompress=False,
                keepalive_timeout=KEEP_ALIVE,
                handler_cancellation=True,
                shutdown_timeout=settings.shutdown_grace,
                max_field_size=LONGEST_HEAD,  # the guard has its own bounds; aiohttp's is too small for some tokens
            )
            await runner.setup()
            guard = Guard(http, clients.limit, settings.max_event, app.busy, upgrades=True)
            server = await asyncio.get_running_loop().create_server(
                lambda: guard.protocol(cast(web.Server, runner.server)), sock=listener, backlog=BACKLOG
            )
            state = State(settings.instance, publisher, hubs, clients)
            roster_entry = RosterEntry(settings.instance, state.replica, lambda: publisher.redis)
            endless = (
                roster_entry.keep(),
                clients.keep_alive(),
                clients.pump(),
                hubs.watch(),
                presence.run(),
                garbage.collect(hubs, clients),
            )
            tasks = [asyncio.create_task(work) for work in endless]
            await lifecycle.until(stop, publisher.task, hubs.subscription.task, *tasks)
            for task in tasks:
                task.cancel()
            server.close()
            guard.close()
            clients.close()
            await runner.cleanup()
            await presence.close()
            await publisher.finish(settings.shutdown_grace)
            await roster_entry.leave()
    now = publisher.statistics()
    return {
        "accepted": now.accepted,
        "replayed": now.replayed,
        "reconnects": now.reconnects,
        "received": hubs.received,
        "clients_cut": clients.cut,
    }


def _metrics(hubs: Hubs, clients: Clients) -> list[metrics.Source]:
    return [
        metrics.counter("fanout_messages_received", "Messages received on open channels.", lambda: hubs.received),
        metrics.gauge("fanout_channels", "Open channels.", lambda: len(hubs)),
        metrics.gauge("fanout_clients", "Connected clients.", lambda: len(clients)),
        metrics.counter("fanout_clients_cut", "Clients disconnected for reading too slowly.", lambda: clients.cut),
    ]


def main() -> int:
    """Run the service and return its exit code."""
    return lifecycle.run("gateway", read, serve)


if __name__ == "__main__":
    sys.exit(main())
