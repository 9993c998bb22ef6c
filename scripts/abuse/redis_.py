"""Attacks by clients that reach Redis: forged events, keys and roster records, and clients that take too much."""

import asyncio
import contextlib
import json
import time
from typing import Any

from abuse.attack import Attack, Fell, Target, check
from abuse.bystander import CHANNEL
from abuse.many import publish
from abuse.raw import Connection, request
from abuse.stack import AbuseStack

VICTIM = "victim"
SEEN_WITHIN = 30
LARGEST = 200 * 2**20
"""Bytes of memory, out of 256 MB, that a subscriber may use."""


def forged_ids(target: Target) -> str:
    """Publish events that claim to be the publisher's, with ids above all that it will ever send, and no place."""
    client, source = target.stack.redis_client(), _source(target.stack)
    numbers = ["1000000000000000", "9007199254740991", "9" * 5000, "-1", "abc", "1e3", "\u0661"]
    _publish(client, [_event(source, number) for number in numbers])
    return f"{len(numbers)} under the publisher's name"


def forged_places(target: Target) -> str:
    """Publish events that claim to follow the last one of the history."""
    client, source = target.stack.redis_client(), _source(target.stack)
    name = (client.get(f"fanout:{{{CHANNEL}}}:head") or b"").decode().rpartition(" ")[2]
    places: list[dict[str, Any]] = [
        {"streamid": "evil", "streamseq": "1"},
        {"streamid": "9" * 5000 + "-1", "streamseq": "9" * 5000},
        {"streamid": "99999999999999-0", "streamseq": "abc"},
        {"streamid": "99999999999999-0", "streamseq": 5, "streamname": "x" * 5000},
        {"streamid": ["evil"], "streamseq": {"a": 1}},
    ]
    for _ in range(target.some(20, 3)):
        [(last, fields)] = client.xrevrange(f"fanout:{{{CHANNEL}}}:history", count=1)
        at = {"streamprev": last.decode(), "streamname": name, "streamseq": str(int(fields[b"streamseq"]) + 1)}
        forged = [_event(source, "999999999999999", **(at | place)) for place in places]
        _publish(client, [*forged, *(f"[{_event(source, '1')},{event}]" for event in forged)])
        _publish(client, ["[" * 100_000, '{"specversion":"1.0"' + ',"a":1' * 10_000 + "}", b"\xff\xfe"])
    return f"{len(places)} places that cannot be, over and over"


def _event(source: str, number: str, **more: Any) -> str:
    event = {"specversion": "1.0", "type": "x", "source": source, "id": number, "data": "forged"}
    return json.dumps(event | more)


def _publish(client: Any, wires: list[Any]) -> None:
    for wire in wires:
        client.publish(CHANNEL, wire)


def _source(stack: AbuseStack) -> str:
    """Return the source of the publisher's own events."""
    found: list[str] = []

    def seen() -> bool:
        lines = stack.tail(stack.subscribers[0], 500, "message_received")
        found[:] = [line["source"] for line in lines if line.get("source")]
        return bool(found)

    stack.until(seen, "a message of the publisher's")
    return found[-1]


def strange_keys(target: Target) -> str:
    """Write foreign positions, entries and keys, and start a subscriber."""
    stack, client = target.stack, target.stack.redis_client()
    [watcher] = stack.of("watcher")
    key, own = f"fanout:{{{VICTIM}-%s}}", f"position:{watcher}"
    for n, record in enumerate([
        b"owner " + b"9" * 5000 + b'\n{"position":["1-1",5]}',
        b'owner 1\n{"position":["zzz",5]}',
        b'owner 1\n{"position":["1-1",1' + b"0" * 5000 + b"]}",
        b"owner 1\n" + b"[" * 100_000,
        b"\xff",
        b"",
    ]):  # fmt: skip
        client.set(f"{key % n}:{own}", record)
        client.xadd(f"{key % n}:history", {"event": "x", "streamseq": "abc"})
        client.publish(
            f"{VICTIM}-{n}",
            _event(f"/{VICTIM}-{n}/{'a' * 16}", "1", streamid="1-1", streamseq="1", streamprev="0-0", streamname="x"),
        )
    client.rpush(f"{key % 'list'}:history", "x")
    client.hset(f"{key % 'hash'}:head", "x", "y")
    client.set(f"{key % 'text'}:head", "evil 9 9 " + "x" * 5000)
    client.set(f"{key % 'text'}:marks", "x")
    client.hset(f"{key % 'types'}:{own}", "x", "y")
    client.set(f"fanout:{{*}}:pattern:{watcher}", b"owner " + b"9" * 5000 + b"\n[")
    client.xadd(b"fanout:{\xff}:history", {"x": "y"})
    began = time.time()
    stack.restart("watcher")
    stack.until(lambda: _live(stack, watcher, began), "the subscriber to everything is live again")
    return f"live {time.time() - began:.1f} s after it was restarted"


def _live(stack: AbuseStack, container: str, since: float) -> bool:
    return '"event":"live"' in stack.logs_since(container, since)


def roster_records(target: Target) -> str:
    """Write roster records of processes that do not exist, and invalid ones."""
    stack, client = target.stack, target.stack.redis_client()
    evil = "\x1b[2J\x9b31m\u202e"
    client.sadd("fanout:presence", b"\xff", evil, *(f"made-up-{n}" for n in range(target.some(5000, 200))))
    for name, record in ((b"\xff", b"\xff"), (evil.encode(), b"[" * 20_000), (b"x", b"{}"), (b"y", b"x" * 2**20)):
        client.sadd("fanout:presence", name)
        client.set(b"fanout:presence:" + name, record, px=10_000)
    replica = {"service": "subscriber", "instance": evil, "state": "live", "since": 1}
    client.set(f"fanout:presence:{evil}", json.dumps(replica), px=10_000)
    shown = stack.run("sh", "-c", "exec make --no-print-directory top ONCE=1 2>&1")
    check(not {"\x9b", "\u202e"} & set(shown) and "\x1b[2J" not in shown, "make top prints what would move the cursor")
    seen = asyncio.run(_view(target))
    client.delete("fanout:presence")
    client.set("fanout:presence", "x")
    seen = min(seen, asyncio.run(_view(target)))
    return f"the dashboard shows all {seen} of ours"


async def _view(target: Target) -> int:
    """Return how many of our processes the dashboard shows; raise Fell if it does not show all."""
    wanted = {
        name for service in ("publisher", "subscriber", "watcher", "gateway") for name in target.stack.of(service)
    }
    connection = await Connection.open(target.port("gateway"))
    try:
        await connection.send(request("GET", "/system/events"))
        shown, end = set[str](), time.monotonic() + SEEN_WITHIN
        while not wanted <= shown:
            if time.monotonic() > end:
                raise Fell(f"the dashboard does not show {', '.join(sorted(wanted - shown))}")
            async with asyncio.timeout(SEEN_WITHIN):
                line = await connection.reader.readline()
            if line.startswith(b"data:"):
                with contextlib.suppress(ValueError):
                    view = json.loads(line[5:])
                    shown = {one["instance"] for one in view.get("replicas", ()) if isinstance(one, dict)}
        return len(wanted)
    finally:
        connection.close()


def many_channels(target: Target) -> str:
    """Run a publisher without a limit of channels, with a subscriber to all of them."""
    stack, client, count = target.stack, target.stack.redis_client(), target.some(54_000, 2000)
    [watcher] = stack.of("watcher")
    usual = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", "512mb")  # this attack is not about Redis's memory
    began = time.time()
    try:
        url = f"redis://127.0.0.1:{target.port('redis')}/0"
        asyncio.run(publish(url, stack.secret.read_text(), (f"crowd-{n}" for n in range(count))))
        stack.until(
            lambda: stack.logs_since(watcher, began).count('"channel":"crowd-') >= count, "it has them all", 2.0
        )
        memory = stack.memory_of("watcher")
        check(memory < LARGEST, f"it takes {memory / 2**20:.0f} MB")
    finally:
        stack.unlink("crowd-*")
        client.config_set("maxmemory", usual)
    return f"{count}; the subscriber to all takes {memory / 2**20:.0f} MB"


def hoarders(target: Target) -> str:
    """Ask for whole histories, and do not read them."""
    count = target.some(12, 4)
    password = target.stack.secret.read_text()
    client = target.stack.redis_client()
    for n in range(1000):
        client.xadd("fanout:{hoard}:history", {"event": "x" * 60_000, "streamseq": n + 1})
    ask = "XRANGE fanout:{hoard}:history - +\r\n" * 10
    wire = f"AUTH {password}\r\n{ask}".encode()

    async def run() -> int:
        connections = [await Connection.open(target.port("redis")) for _ in range(count)]
        try:
            for connection in connections:
                connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
                await connection.send(wire)
            await asyncio.sleep(target.some(5, 2))
            return target.stack.memory_of("redis")
        finally:
            for connection in connections:
                connection.close()

    memory = asyncio.run(run())
    target.stack.unlink("hoard")
    return f"{count}, 10 times a history each; Redis {memory / 2**20:.0f} MB"


def everything_deleted(target: Target) -> str:
    """Run FLUSHALL: publishers send recent events again, once, and no subscriber gets them twice."""
    client = target.stack.redis_client()
    client.flushall()
    target.stack.until(lambda: bool(client.exists(f"fanout:{{{CHANNEL}}}:history")), "messages are kept again")
    return f"{len(list(client.scan_iter('fanout:{*}:history', 5000)))} channels are there again"


ATTACKS = (
    Attack("tens of thousands of channels", many_channels),
    Attack("forged events: ids", forged_ids),
    Attack("forged events: places", forged_places),
    Attack("foreign keys", strange_keys),
    Attack("roster records of no process", roster_records),
    Attack("clients that do not take their answers", hoarders),
    Attack("everything is deleted", everything_deleted, outage=True),
)
