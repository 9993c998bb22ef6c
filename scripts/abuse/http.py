"""Attacks on the HTTP ports, by any client that reaches one."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from abuse import raw
from abuse.attack import Attack, Fell, Target, check
from abuse.raw import Connection, ask, post, request

T = TypeVar("T")
SCRAPES = 3
POSTING = 8
"""Connections that post all the time; few, since the processor time that they take affects what is measured."""
GONE_WITHIN = 25.0
"""Seconds after which a client that sends nothing must be disconnected: REQUEST_TIMEOUT is 10."""
APIS = ("publisher", "gateway")
EVIL = "\x9b31m\x9d0;x\x07\x7f\u202e\u200b\u2066\U000e0041\x1b[2J"
NAMES = ("__proto__", "__redis__:invalidate", "__keyevent@0__:x", "%00", "a%0Ab", "a,b", "%7Ba%7D", "%FF", "x" * 256)
PIECE = b"x" * 60_000


def half_sent(target: Target) -> str:
    """Send many requests that announce 65,000 bytes, send 60,000 and then nothing."""
    wire = request("POST", "/channels/abuse/messages", content_length="65000") + PIECE
    return _crowds(target, target.some(3000, 200), wire)


def idle(target: Target) -> str:
    """Open many connections that send nothing."""
    return _crowds(target, target.some(3000, 200), b"")


def _crowds(target: Target, count: int, wire: bytes) -> str:
    async def one(name: str) -> str:
        port = target.port(name)
        async with raw.crowd(port, count, lambda connection: connection.send(wire)) as connections:
            served = (await ask(port, post("abuse"))).status
            check(served == 202, f"{name} answers {served} to others meanwhile")
            memory = await asyncio.to_thread(target.stack.memory_of, name)
            gone = await raw.all_hung_up(connections, GONE_WITHIN)
            check(gone == len(connections), f"{name} holds on to {len(connections) - gone} of {len(connections)}")
        return f"{name} {memory / 2**20:.0f} MB"

    return f"{count} each, at their height: " + ", ".join(asyncio.run(_at_both(one)))


async def _at_both(attack: Callable[[str], Coroutine[Any, Any, T]]) -> list[T]:
    return await asyncio.gather(*map(attack, APIS))


def dripping(target: Target) -> str:
    """Send requests of which a byte arrives now and then."""
    count = target.some(300, 30)

    async def drip(connection: Connection) -> float:
        began = time.monotonic()
        for byte in request("POST", "/channels/abuse/messages", PIECE):
            await connection.send(bytes([byte]))
            if await connection.hung_up(0.5) or time.monotonic() - began > GONE_WITHIN:
                break
        return time.monotonic() - began

    async def one(name: str) -> float:
        async with raw.crowd(target.port(name), count, lambda connection: connection.send(b"")) as connections:
            return max(await asyncio.gather(*map(drip, connections)))

    longest = max(asyncio.run(_at_both(one)))
    check(longest < GONE_WITHIN, f"one was let go on for {longest:.0f} s")
    return f"{count} each; the last was cut off after {longest:.1f} s"


def ambiguous(target: Target) -> str:
    """Send requests that a proxy and the service might read in two ways."""
    begin = b"POST /channels/abuse/messages HTTP/1.1\r\nHost: localhost\r\n"
    wires = {
        "a length and chunks": begin + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "two lengths": begin + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "a list of lengths": begin + b"Content-Length: 1, 1\r\n\r\nx",
        "a length with a sign": begin + b"Content-Length: +1\r\n\r\nx",
        "a folded header": begin + b"X: a\r\n b\r\nContent-Length: 1\r\n\r\nx",
        "bare LF": begin.replace(b"\r\n", b"\n") + b"Content-Length: 1\n\nx",
        "a blank before the colon": begin + b"Content-Length : 1\r\n\r\nx",
        "another coding": begin + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "a signed chunk": begin + b"Transfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n",
        "a NUL in a header": begin + b"X: \0\r\nContent-Length: 1\r\n\r\nx",
        "no host": b"POST /channels/abuse/messages HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
    }

    async def one(name: str, what: str, wire: bytes) -> None:
        connection = await Connection.open(target.port(name))
        try:
            await connection.send(wire)
            status = (await connection.answer()).status
            check(status == 400, f"{name} answers {status} to {what}")
            check(await connection.hung_up(2), f"{name} goes on after {what}")
        finally:
            connection.close()

    async def all_of_them() -> None:
        for name in APIS:
            for what, wire in wires.items():
                await one(name, what, wire)

    asyncio.run(all_of_them())
    return f"{len(wires)} ways each: 400, and the connection ends"


def foreign_pages(target: Target) -> str:
    """Send requests of other sites' pages, and under names that somebody else points here."""
    form = "application/x-www-form-urlencoded"
    asked: list[tuple[str, str, bytes]] = []
    for name in APIS:
        asked += [
            (name, "a page of another site", post("abuse", origin=o, content_type=form))
            for o in ("https://evil.example", "null")
        ]
        asked += [(name, "another name", post("abuse", host=host)) for host in ("evil.example", "evil.example:3000")]
        asked.append(
            (name, "another name and its page", post("abuse", host="evil.example", origin="http://evil.example"))
        )
    asked += [("gateway", "a stream for another site", request("GET", path, origin="https://evil.example"))
              for path in ("/channels/notifications/events", "/system/events")]  # fmt: skip
    asked.append(
        ("gateway", "a WebSocket for another site", raw.HANDSHAKE[:-2] + b"Origin: https://evil.example\r\n\r\n")
    )
    for name, what, wire in asked:
        status = asyncio.run(ask(target.port(name), wire)).status
        check(status == 403, f"{name} answers {status} to {what}")
    query = request("GET", "/api/v1/query?query=up", origin="https://evil.example")
    headers = asyncio.run(ask(target.port("prometheus"), query)).headers
    check("access-control-allow-origin" not in headers, "Prometheus lets the page of another site read it")
    return f"{len(asked)} refused with 403; Prometheus tells other sites nothing"


def strange_paths(target: Target) -> str:
    """Send names that are too long, reserved or not text, and bodies that break off."""
    asked = [("gateway", f"/page/{'a' * 256}", 404), ("gateway", "/page/..%2F..%2Fetc%2Fpasswd", 404)]
    for name, path, wanted in asked:
        status = asyncio.run(ask(target.port(name), request("GET", path))).status
        check(status == wanted, f"{name} answers {status} to {path[:30]}")
    for name in APIS:
        for channel in NAMES:
            status = asyncio.run(ask(target.port(name), post(channel))).status
            check(status == 400, f"{name} answers {status} to the channel {channel[:30]}")
        asyncio.run(_broken_off(target.port(name), target.some(200, 20)))
    return f"{len(NAMES)} names each: 400; bodies broken off: no traceback"


async def _broken_off(port: int, count: int) -> None:
    wire = request("POST", "/channels/abuse/messages", content_length="5000") + b"x" * 100
    async with raw.crowd(port, count, lambda connection: connection.send(wire)):
        pass


def terminal(target: Target) -> str:
    """Send text that would move a terminal's cursor, or be invisible in a log."""
    stack, began = target.stack, time.time()
    for name in APIS:
        status = asyncio.run(ask(target.port(name), post("abuse", EVIL.encode()))).status
        check(status == 202, f"{name} answers {status} to text with control characters")
    stack.until(lambda: "u202e" in stack.logs_since(stack.of("watcher")[0], began), "the watcher logs it")
    for container in (*stack.of("publisher"), *stack.of("gateway"), *stack.of("watcher")):
        raw_ones = sorted(
            set(EVIL.replace("[2J", "").replace("31m", "").replace("0;x", "")) & set(stack.logs_since(container, began))
        )
        check(not raw_ones, f"{stack.short(container)} logs {raw_ones!r} as they are")
    return f"{len(EVIL)} characters, spelled out in every log"


def names(target: Target) -> str:
    """Send one-byte messages to as many channels as possible."""
    count, seconds = target.some(54_000, 2000), target.some(30, 10)
    statuses = asyncio.run(post_all(target.port("publisher"), [(f"made-up-{n}", b"x") for n in range(count)], seconds))
    used, limit = _redis_memory(target)
    check(used < 0.9 * limit, f"Redis uses {used / 2**20:.0f} of {limit / 2**20:.0f} MB")
    return f"{_counted(statuses)}; Redis uses {used / 2**20:.0f} MB"


def large(target: Target) -> str:
    """Send large messages to one channel, more than Redis has room for."""
    body = random.Random(1).randbytes(30_000).hex().encode()
    count = target.some(2000, 300)
    statuses = asyncio.run(post_all(target.port("publisher"), [("too-much", body)] * count, 60))
    client = target.stack.redis_client()
    bound = 64 * 2**20
    target.stack.until(lambda: client.memory_usage("fanout:{too-much}:history") <= bound * 1.05, "it is trimmed")
    kept = client.memory_usage("fanout:{too-much}:history")
    return f"{_counted(statuses)} of 60 kB; Redis keeps {kept / 2**20:.0f} MB"


async def post_all(port: int, messages: Sequence[tuple[str, bytes]], seconds: float) -> list[int]:
    """Post as many messages as the time allows, on a few connections; return the statuses of the answers."""
    left, statuses, end = iter(messages), list[int](), time.monotonic() + seconds

    async def some() -> None:
        connection = await Connection.open(port)
        try:
            for channel, body in left:
                await connection.send(post(channel, body))
                statuses.append((await connection.answer()).status)
                if time.monotonic() > end:
                    return
        finally:
            connection.close()

    await asyncio.gather(*(some() for _ in range(POSTING)))
    return statuses


def _redis_memory(target: Target) -> tuple[int, int]:
    told = target.stack.redis_client().info("memory")
    return int(told["used_memory"]), int(told["maxmemory"])


def _counted(statuses: Sequence[int]) -> str:
    return ", ".join(f"{statuses.count(status)} times {status}" for status in sorted(set(statuses)))


def metrics(target: Target) -> str:
    """Open connections to the metrics port that send nothing."""
    port, count = target.port("metrics"), target.some(500, 125)

    async def scrape() -> str:
        async with raw.crowd(port, count, lambda connection: connection.send(b"")):
            for attempt in range(1, SCRAPES + 1):
                began = time.monotonic()
                with contextlib.suppress(ConnectionError):  # disconnected for a newer one; Prometheus would ask again
                    status = (await ask(port, request("GET", "/metrics"))).status
                    check(status == 200, f"Prometheus is answered {status}")
                    return f"at attempt {attempt} in {(time.monotonic() - began) * 1000:.0f} ms"
        raise Fell("Prometheus is not answered")

    return f"{count}; Prometheus is answered {asyncio.run(scrape())}"


ATTACKS = (
    Attack("requests of which half is sent", half_sent),
    Attack("connections that say nothing", idle),
    Attack("requests that drip", dripping),
    Attack("requests to be read in two ways", ambiguous),
    Attack("pages of other sites, other names", foreign_pages),
    Attack("strange paths, bodies that break off", strange_paths),
    Attack("text for a terminal", terminal),
    Attack("made-up channels", names),
    Attack("a channel with large messages", large),
    Attack("connections to the metrics", metrics),
)
