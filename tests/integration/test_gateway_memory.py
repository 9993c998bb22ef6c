"""What the gateway weighs, whoever connects."""

import json
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.gateways import address, memory, post
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
LIMIT = 400_000.0  # kB
CLIENTS = 300


@contextmanager
def deaf_clients(gateway: Service, count: int, path: str) -> Iterator[None]:
    """Clients that ask, and never read."""
    sockets = []
    for _ in range(count):
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(address(gateway))
        peer.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        sockets.append(peer)
    yield
    for peer in sockets:
        peer.close()


def fill(server: RedisServer, sizes: list[int], channel: str = "n") -> None:
    began = int(time.time() * 1000) - 3_600_000
    pipeline = server.client().pipeline(transaction=False)
    for n, size in enumerate(sizes, 1):
        event = b'{"specversion":"1.0","type":"t","source":"/n/0123456789abcdef","id":"%d","data":"%b"}' % (
            n,
            b"x" * size,
        )
        pipeline.xadd(f"fanout:{{{channel}}}:history", {"event": event, "streamseq": n}, f"{began}-{n}")
    pipeline.execute()


@pytest.mark.parametrize("sizes", [[60_000] * 300, [10] * 3000 + [60_000] * 300], ids=["large", "small, then large"])
def test_clients_that_never_read_their_history_weigh_little_and_leave_nothing(
    server: RedisServer, unharmed: Start, sizes: list[int]
) -> None:
    fill(server, sizes)
    gateway = unharmed("gateway", LOG_MESSAGES="none")
    post(gateway, "begin")
    for _ in range(2):  # the first time loads what is always needed
        with deaf_clients(gateway, 5, "/channels/n/events?since=earliest"):
            eventually(lambda: gateway_clients(server) == 5)
        eventually(lambda: gateway_clients(server) == 0)
    before = memory(gateway)
    most, beside = 0.0, sockets_memory()
    with deaf_clients(gateway, CLIENTS, "/channels/n/events?since=earliest"):
        until = time.monotonic() + 12
        while time.monotonic() < until:
            now = memory(gateway) + sockets_memory() - beside
            most = max(most, now)
            post(gateway, "the others are served")
            time.sleep(0.05)
    print(f"\nbefore {before / 1000:.0f} MB, at most {most / 1000:.0f} MB")
    assert most < LIMIT
    deadline = time.monotonic() + 60
    while (after := memory(gateway)) > before * 1.2 and time.monotonic() < deadline:
        time.sleep(0.2)
    print(f"after {after / 1000:.0f} MB")
    assert after <= before * 1.2


def test_what_waits_for_clients_that_never_read_is_kept_once_for_all_of_them(
    server: RedisServer, unharmed: Start
) -> None:
    gateway = unharmed("gateway", LOG_MESSAGES="none")
    post(gateway, "begin")
    before, beside = memory(gateway), sockets_memory()
    with deaf_clients(gateway, CLIENTS, "/channels/n/events"):
        eventually(lambda: gateway_clients(server) == CLIENTS)
        small = b"".join(b"small message %d\n" % n for n in range(10_000))
        assert unharmed("publisher", "send", "n", stdin=small, LOG_MESSAGES="none").ended() == 0
        eventually(lambda: received(server) == 10_001)
        most = memory(gateway) + sockets_memory() - beside
        print(f"\nbefore {before / 1000:.0f} MB, at most {most / 1000:.0f} MB")
        assert not gateway.events("client_cut")
    assert most < LIMIT


def sockets_memory() -> float:
    """What the kernel keeps for all sockets, in kB: a container pays for that too."""
    [line] = [line for line in Path("/proc/net/sockstat").read_text().splitlines() if line.startswith("TCP:")]
    return float(line.split()[-1]) * resource.getpagesize() / 1024


def record(server: RedisServer) -> dict[str, Any]:
    return dict(json.loads(server.client().get("fanout:presence:gateway-1") or b"{}"))


def gateway_clients(server: RedisServer) -> int:
    return int(record(server).get("clients", 0))


def received(server: RedisServer) -> int:
    return int(record(server).get("received", 0))
