"""Attacks on the gateway's streams, by any client that reaches its port."""

import asyncio
import contextlib
import json
import random
import time

from abuse import raw
from abuse.attack import Attack, Target, check
from abuse.http import post_all
from abuse.raw import Connection, ask, post, read_frame, request, text_frame, websocket

HEARD_WITHIN = 2.0
BACK_WITHIN = 30.0


async def subscriber(port: int, first: int, count: int) -> Connection:
    """Open a WebSocket and subscribe to that many channels. Raises Fell or OSError."""
    socket = await websocket(port)
    await socket.send(b"".join(text_frame(b'{"subscribe": "grabbed-%d"}' % (first + n)) for n in range(count)))
    for _ in range(count):
        said = json.loads(await read_frame(socket))
        check("subscribed" in said, f"a client is told {said}")
    return socket


async def _hears(port: int, channel: str) -> float:
    """Return the seconds from another client's message until a new client has it. Raises Fell or OSError."""
    socket = await websocket(port)
    try:
        await socket.send(text_frame(json.dumps({"subscribe": channel}).encode()))
        while "subscribed" not in (said := json.loads(await read_frame(socket))):
            check("error" not in said, f"another client is told {said}")
        began = time.monotonic()
        served = (await ask(port, post(channel, b"heard"))).status
        check(served == 202, f"another client's message is answered {served}")
        while json.loads(await read_frame(socket)).get("message", {}).get("data") != "heard":
            pass
        return time.monotonic() - began
    finally:
        socket.close()


def never_read(target: Target) -> str:
    """Ask for a whole history, and read nothing of it."""
    port, count, body = target.port("gateway"), target.some(300, 60), random.Random(2).randbytes(20_000).hex().encode()

    async def run() -> str:
        for _ in range(target.some(500, 100)):
            served = (await ask(port, post("long-history", body))).status
            check(served == 202, f"the gateway answers {served} to a message")
        wire = request("GET", "/channels/long-history/events?since=earliest")
        async with raw.crowd(port, count, lambda connection: connection.send(wire)):
            await asyncio.sleep(2)
            took = await _hears(port, "abuse-heard")
            check(took < HEARD_WITHIN, f"another client has its message after {took:.1f} s")
            memory = target.stack.memory_of("gateway")
        return f"{count} at 20 MB each; gateway {memory / 2**20:.0f} MB; others are served in {took * 1000:.0f} ms"

    return asyncio.run(run()).replace("20 MB", f"{target.some(500, 100) * 40 // 1000} MB")


def many_channels(target: Target) -> str:
    """Subscribe one client to as many channels as possible, in one burst."""
    port, count = target.port("gateway"), target.some(2000, 1200)
    commands = b"".join(text_frame(b'{"subscribe": "grabbed-%d"}' % n) for n in range(count))

    async def run() -> str:
        greedy = await websocket(port)
        try:
            await greedy.send(commands)
            began = time.monotonic()
            took = await _hears(port, "abuse-heard")
            waited = time.monotonic() - began
            check(waited < 5, f"another client waits for {waited:.1f} s")
            return f"{count} at once; another client is served in {took * 1000:.0f} ms"
        finally:
            greedy.close()

    return asyncio.run(run())


def many_commands(target: Target) -> str:
    """Send endless commands, valid and invalid ones."""
    port, each, count = target.port("gateway"), target.some(20_000, 2000), target.some(10, 4)
    kinds = [
        b'{"subscribe": "c"}',
        b'{"unsubscribe": "c"}',
        b"{",
        b"[" * 2000,
        b'{"subscribe": ""}',
        b'{"subscribe": 1}',
    ]
    wire = b"".join(map(text_frame, kinds)) * (each // len(kinds))

    async def flood(socket: Connection) -> None:
        await socket.send(raw.HANDSHAKE + wire)

    async def run() -> str:
        async with raw.crowd(port, count, flood):
            took = await _hears(port, "abuse-heard")
            check(took < HEARD_WITHIN, f"another client has its message after {took:.1f} s")
        return f"{count} clients, {each} each; others are served in {took * 1000:.0f} ms"

    return asyncio.run(run())


def comings_and_goings(target: Target) -> str:
    """Connect and disconnect clients without closing their connections properly."""
    port, count = target.port("gateway"), target.some(3000, 300)
    wire = request("GET", "/channels/abuse/events?since=earliest")

    async def leave(connection: Connection) -> None:
        await connection.send(wire)
        connection.close()

    async def run() -> str:
        async with raw.crowd(port, count, leave):
            took = await _hears(port, "abuse-heard")
            check(took < HEARD_WITHIN, f"another client has its message after {took:.1f} s")
        return f"{count}; others are served in {took * 1000:.0f} ms"

    return asyncio.run(run())


def redis_restarts(target: Target) -> str:
    """Restart Redis while clients follow as many channels as allowed, all of which must be subscribed again."""
    port, each, count = target.port("gateway"), 100, target.some(9, 2)

    async def hear(socket: Connection, first: int) -> None:
        wanted = {f"grabbed-{first + n}" for n in range(each)}
        while wanted:
            with contextlib.suppress(TimeoutError):  # the gateway waits for Redis
                wanted.discard(json.loads(await read_frame(socket)).get("message", {}).get("channel"))

    async def run() -> str:
        sockets: list[Connection] = []
        hearing: list[asyncio.Task[None]] = []
        try:
            for n in range(count):
                sockets.append(await subscriber(port, n * each, each))
                hearing.append(asyncio.create_task(hear(sockets[-1], n * each)))
            await asyncio.to_thread(target.stack.restart, "redis")
            began = time.monotonic()
            served = await post_all(port, [(f"grabbed-{n}", b"back") for n in range(each * count)], BACK_WITHIN)
            check(set(served) == {202}, f"the gateway answers {sorted(set(served))} to messages")
            async with asyncio.timeout(BACK_WITHIN):
                await asyncio.gather(*hearing)
            took = time.monotonic() - began
            check(took < BACK_WITHIN, f"they are back after {took:.1f} s")
            return f"{count} clients with {each} each: all are heard of after {took:.1f} s"
        finally:
            for task in hearing:
                task.cancel()
            for socket in sockets:
                socket.close()

    return asyncio.run(run())


ATTACKS = (
    Attack("streams that are not read", never_read),
    Attack("one client, all channels", many_channels),
    Attack("commands without end", many_commands),
    Attack("clients that come and go", comings_and_goings),
    Attack("many channels, when Redis restarts", redis_restarts, outage=True),
)
