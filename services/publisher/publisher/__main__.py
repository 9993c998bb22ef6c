"""Runs the publisher: python -m publisher. With `send` it publishes messages and ends."""

import argparse
import asyncio
import sys
import time

import structlog

from fanout import Publisher
from fanout.errors import RefusedByRedis, SettingError
from fanout.keys import CHANNEL_RULE, check_channel
from fanout.service import http_ingest, lifecycle
from fanout.service.heartbeat import Heartbeat
from fanout.service.lifecycle import Totals
from fanout.service.roster import Replica, RosterEntry
from publisher import builtin
from publisher.settings import PublisherSettings, read

SOCKETS = 100
"""Open files that are needed besides HTTP connections."""


async def serve(settings: PublisherSettings, stop: asyncio.Event) -> Totals:
    """Publish until `stop` is set, and return the totals.

    Raises:
        FanoutError: the port is in use, Redis refuses, or events could not be delivered before the end.
    """
    # Imported here, since `send` does not need them and importing them takes longer than sending.
    from fanout.service import metrics
    from fanout.service.http_guard import Guard, open_files
    from fanout.service.login import gate as login
    from fanout.service.origins import Origins
    from publisher import api
    from publisher.front import Front
    from publisher.own_source import OwnSource

    publisher = Publisher(settings, history=settings.history, alive=Heartbeat(settings.heartbeat_file).beat)
    source = OwnSource(publisher, settings) if settings.source else None
    http = settings.http
    origins = Origins(http.origins, http.hosts, settings.instance)
    gate = login.build(settings.login, http, origins)
    ingest = http_ingest.Ingest(publisher, http, settings.max_event, gate)
    app = api.build(publisher, ingest, gate, docs=settings.api_docs)
    limit = max(1, open_files(settings.max_connections + SOCKETS) - SOCKETS)
    guard = Guard(http, min(limit, settings.max_connections), settings.max_event, api.busy, upgrades=False)
    front = Front(app, origins, gate)
    server = api.Server(front, guard, settings.shutdown_grace)
    with http_ingest.listen(http.host, http.port) as listener:
        since = time.time()
        address = metrics.serve(
            settings, "publisher", [*metrics.of_publisher(publisher), *(source.metrics() if source else [])]
        )
        structlog.get_logger().info(
            "started",
            channel=settings.channel,
            source=settings.source or "none",
            http=http_ingest.url(listener),
            login="on" if gate.on else "off",
            metrics=address,
        )
        async with publisher:
            http_task = asyncio.create_task(server.serve([listener]))
            source_task = asyncio.create_task(source.run() if source else builtin.run(publisher, settings))
            roster_entry = RosterEntry(
                settings.instance, lambda: _replica(settings.instance, since, publisher), lambda: publisher.redis
            )
            roster_task = asyncio.create_task(roster_entry.keep())
            try:
                await lifecycle.until(stop, publisher.task, http_task, source_task, roster_task)
            finally:
                source_task.cancel()
            roster_task.cancel()
            end = time.monotonic() + settings.shutdown_grace
            server.stop()
            # Before the flush: requests and the source still bring events until they end.
            await asyncio.wait([http_task, source_task], timeout=settings.shutdown_grace)
            await publisher.finish(max(0.0, end - time.monotonic()))
            await roster_entry.leave()
        await http_task
    return _totals(publisher)


async def send(channel: str, data: str | None, settings: PublisherSettings, stop: asyncio.Event) -> Totals:
    """Publish one message, or each line of standard input if `data` is None; return the totals.

    Raises:
        FanoutError: the arguments or a line cannot be published, Redis refuses, or it was stopped before the end.
    """
    try:
        check_channel(channel)
    except ValueError:
        raise SettingError("CHANNEL", channel, CHANNEL_RULE) from None
    if not settings.history.allows(channel):
        raise SettingError("CHANNEL", channel, "one of CHANNELS_ALLOWED")
    async with Publisher(settings, history=settings.history) as publisher:
        sending = asyncio.create_task(_send(publisher, channel, data))
        await lifecycle.until(stop, publisher.task, sending)
        if not sending.done():
            sending.cancel()
            await publisher.finish(settings.shutdown_grace)
        if why := publisher.refused(channel):
            raise RefusedByRedis(f"Redis refuses the channel {channel}: {why}")
    return _totals(publisher)


def _totals(publisher: Publisher) -> Totals:
    now = publisher.statistics()
    return {"accepted": now.accepted, "replayed": now.replayed, "reconnects": now.reconnects}


async def _send(publisher: Publisher, channel: str, data: str | None) -> None:
    if data is None:
        await builtin.standard_input(publisher, channel)
        return
    try:
        publisher.enqueue(channel, data)
    except ValueError as error:
        raise SettingError("DATA", f"{data[:20]}...", f"text that can be published ({error})") from None
    await publisher.flush()


def _replica(instance: str, since: float, publisher: Publisher) -> Replica:
    now = publisher.statistics()
    return Replica(
        service="publisher",
        instance=instance,
        state=now.state,
        since=since,
        producer=now.producer,
        waiting=now.waiting,
        reconnects=now.reconnects,
        accepted=now.accepted,
        failed=now.failed,
        replayed=now.replayed,
        lost=now.gone,
    )


def main() -> int:
    """Run what the arguments ask for and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="publisher", description="Publishes messages to Redis; without a command it runs as a service."
    )
    commands = parser.add_subparsers(dest="command")
    one = commands.add_parser("send", help="publish messages and end")
    one.add_argument("channel", metavar="CHANNEL", help="name of the channel")
    one.add_argument(
        "data", metavar="DATA", nargs="?", help="the message; without it, each line of standard input is one"
    )
    options = parser.parse_args()
    if options.command == "send":
        return lifecycle.run("publisher", read, lambda *given: send(options.channel, options.data, *given))
    return lifecycle.run("publisher", read, serve)


if __name__ == "__main__":
    sys.exit(main())
