"""Clients that read slowly, or not at all, or are very many."""

import asyncio
import json
import resource
import socket
import time
from collections.abc import Callable

from fanout.errors import ExitCode
from support.event_source import EventSource
from support.gateways import handshake, masked, memory, post, url
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]

Connect = Callable[..., EventSource]


def test_a_client_that_never_reads_is_cut_and_nobody_else_notices(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    gateway = unharmed("gateway", LOG_MESSAGES="none")
    reader, redis = connect(gateway), server.client()
    host, _, port = url(gateway).removeprefix("http://").partition(":")
    for first in (
        b"GET /channels/n/events HTTP/1.1\r\nHost: localhost\r\n\r\n",
        handshake("/ws") + masked(b'{"subscribe":"n"}'),
    ):
        count = len(gateway.events("client_cut"))
        before = len(reader.data())
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((host, int(port)))
            deaf.sendall(first)
            eventually(lambda: len(deaf.recv(4096, socket.MSG_PEEK)) > 100)
            time.sleep(0.2)
            for sent in range(10, 201, 10):
                for _ in range(10):
                    redis.publish("n", b"x" * 60_000)
                reader.wait_for(before + sent)
            cut = gateway.wait_for("client_cut", count + 1)[count]
            assert cut["cause"] == "it reads too slowly"
            assert 4 * 2**20 < cut["waiting"] < 5 * 2**20
    assert not reader.ended
    assert gateway.stop() == ExitCode.OK
    assert gateway.lines[-1]["clients_cut"] == 2


def test_a_slow_client_has_its_catch_up_read_as_it_reads(server: RedisServer, unharmed: Start) -> None:
    gateway = unharmed("gateway", CLIENT_BUFFER="64KiB", LOG_MESSAGES="none")
    sent = b"".join(b"%d" % n + b"x" * 50_000 + b"\n" for n in range(200))
    unharmed("publisher", "send", "n", stdin=sent, LOG_MESSAGES="none").ended()
    host, _, port = url(gateway).removeprefix("http://").partition(":")
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.connect((host, int(port)))
        slow.sendall(b"GET /channels/n/events?since=earliest HTTP/1.0\r\nHost: localhost\r\n\r\n")
        slow.settimeout(10)
        got = b""
        deadline = time.monotonic() + 60
        while got.count(b"\nevent: message\n") < 200 or not got.endswith(b"\n\n"):
            assert time.monotonic() < deadline, got[-200:]
            got += slow.recv(100_000)
            time.sleep(0.002)
    data = [json.loads(line[6:]) for line in got.split(b"\n") if line.startswith(b"data: ")]
    assert [int(one["data"].rstrip("x")) for one in data] == list(range(200))
    assert not gateway.events("client_cut")


def test_it_ends_in_an_orderly_way_with_clients_that_read_and_one_that_does_not(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    gateway = unharmed("gateway", SHUTDOWN_GRACE="2", LOG_MESSAGES="none")
    readers = [connect(gateway) for _ in range(20)] + [connect(gateway, "/system/events")]
    unharmed("publisher", "send", "n", stdin=(b"x" * 60_000 + b"\n") * 20, LOG_MESSAGES="none").ended()
    host, _, port = url(gateway).removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as deaf:
        deaf.sendall(handshake("/ws") + masked(b'{"subscribe":"n","since":"earliest"}'))
        readers[0].wait_for(20)
        began = time.monotonic()
        assert gateway.stop() == ExitCode.OK
        assert time.monotonic() - began < 4
    eventually(lambda: all(reader.ended for reader in readers))
    assert server.client().smembers("fanout:presence") == set()


async def test_two_thousand_clients_each_get_every_message(server: RedisServer, unharmed: Start) -> None:
    count, messages = 2000, 100
    allow_sockets(count + 500)
    gateway, publisher = unharmed("gateway", LOG_MESSAGES="none"), unharmed("publisher", LOG_MESSAGES="none")
    host, _, port = url(gateway).removeprefix("http://").partition(":")
    post(publisher, "begin")
    before = memory(gateway)
    got: list[list[int]] = [[] for _ in range(count)]

    async def listen(number: int, reader: asyncio.StreamReader) -> None:
        while len(got[number]) < messages:
            line = await reader.readline()
            assert line
            if line.startswith(b"data: "):
                got[number].append(int(json.loads(line[6:])["data"]))

    streams = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**16)
        writer.write(b"GET /channels/n/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readuntil(b"retry: 1000\n\n")).startswith(b"HTTP/1.1 200 ")
        streams.append((reader, writer))
    each = (memory(gateway) - before) / count
    listening = [asyncio.create_task(listen(n, reader)) for n, (reader, _) in enumerate(streams)]
    began = time.monotonic()
    sending = asyncio.create_task(asyncio.to_thread(lambda: [post(publisher, str(n)) for n in range(messages)]))
    async with asyncio.timeout(60):
        await asyncio.gather(*listening)
    took = time.monotonic() - began
    await sending
    print(f"\n{count} clients: {each:.1f} kB each; {messages} messages to all in {took:.1f} s")
    assert got == [list(range(messages))] * count
    assert each < 100
    for _, writer in streams:
        writer.transport.abort()
    assert gateway.stop() == ExitCode.OK


def allow_sockets(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
