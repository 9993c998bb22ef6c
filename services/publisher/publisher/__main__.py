"""python -m publisher: reads settings, builds the parts, runs them; with `send`, a command that publishes and ends."""

import argparse
import asyncio
import sys
import time

from fanout import intake, lifecycle
from fanout.errors import SettingError
from fanout.health import Heartbeat
from fanout.keys import CHANNEL_RULE, check_channel
from fanout.lifecycle import Totals
from fanout.logs import get_logger
from fanout.presence import Presence, Replica
from fanout.writer import Writer
from publisher import sources
from publisher.settings import PublisherSettings, read


async def serve(settings: PublisherSettings, stop: asyncio.Event) -> Totals:
    """Publishes until `stop` is set; returns the totals.

    Raises:
        FanoutError: the port is taken, Redis refuses, or events could not be delivered before the end.
    """
    # Not for `send`: importing these takes longer than sending.
    from fanout import metrics
    from publisher import api

    writer = Writer(settings, settings.history, Heartbeat(settings.heartbeat_file))
    server = api.Server(api.build(writer, settings.max_event), settings.shutdown_grace)
    with intake.listen(settings.http_host, settings.http_port) as listener:
        host, port = listener.getsockname()[:2]
        since = time.time()
        address = metrics.serve(settings, "publisher", metrics.of_writer(writer))
        get_logger().info("started", channel=settings.channel, http=f"http://{host}:{port}", metrics=address)
        async with writer:
            serving = asyncio.create_task(server.serve([listener]))
            making = asyncio.create_task(sources.run(writer, settings))
            presence = Presence(
                settings.instance, lambda: _replica(settings.instance, since, writer), lambda: writer.sender.redis
            )
            present = asyncio.create_task(presence.keep())
            await lifecycle.until(stop, writer.task, serving, making, present)
            making.cancel()
            present.cancel()
            end = time.monotonic() + settings.shutdown_grace
            server.stop()
            await asyncio.wait([serving], timeout=settings.shutdown_grace)  # first: until then requests bring events
            await writer.finish(max(0.0, end - time.monotonic()))
            await presence.leave()
        await serving
    return writer.totals()


async def send(channel: str, data: str | None, settings: PublisherSettings, stop: asyncio.Event) -> Totals:
    """Publishes one message, or standard input; returns the totals.

    Raises:
        FanoutError: the arguments or a line cannot be published, Redis refuses, or it was stopped before the end.
    """
    try:
        check_channel(channel)
    except ValueError:
        raise SettingError("CHANNEL", channel, CHANNEL_RULE) from None
    async with Writer(settings, settings.history, Heartbeat("")) as writer:
        sending = asyncio.create_task(_send(writer, channel, data))
        await lifecycle.until(stop, writer.task, sending)
        if not sending.done():
            sending.cancel()
            await writer.finish(settings.shutdown_grace)
    return writer.totals()


async def _send(writer: Writer, channel: str, data: str | None) -> None:
    if data is None:
        await sources.standard_input(writer, channel)
        return
    try:
        writer.enqueue(channel, data)
    except ValueError as error:
        raise SettingError("DATA", f"{data[:20]}...", f"text that can be published ({error})") from None
    await writer.flush()


def _replica(instance: str, since: float, writer: Writer) -> Replica:
    sent = writer.sender
    return Replica(
        service="publisher",
        instance=instance,
        state=sent.state,
        since=since,
        producer=writer.producer,
        waiting=writer.waiting,
        reconnects=sent.reconnects,
        accepted=sent.accepted,
        failed=sent.failed,
        replayed=sent.replayed,
        lost=sent.gone,
    )


def main() -> int:
    """Runs what the arguments ask for; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="publisher", description="Publishes to Redis; without a command, as a service."
    )
    commands = parser.add_subparsers(dest="command")
    one = commands.add_parser("send", help="publish and end")
    one.add_argument("channel", metavar="CHANNEL", help="the channel's name")
    one.add_argument(
        "data", metavar="DATA", nargs="?", help="the message; without it, each line of standard input is one"
    )
    options = parser.parse_args()
    if options.command == "send":
        return lifecycle.run("publisher", read, lambda *given: send(options.channel, options.data, *given))
    return lifecycle.run("publisher", read, serve)


if __name__ == "__main__":
    sys.exit(main())
