"""Whatever is thrown at the gateway, it answers; nothing of it is an error of ours."""

import contextlib
import json
import re
import socket
import struct
from collections.abc import Callable
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.gateways import address, handshake, request, url
from support.redis_server import RedisServer
from support.service import Service

Start = Callable[..., Service]

EXAMPLES = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
numbers = st.integers(0, 2**70) | st.sampled_from([0, 1, 2**63, 2**64 - 1, 2**64, 10**18])
ids = st.builds(
    "{}{}{}:{}{}".format,
    numbers,
    st.sampled_from(["-", "", "--", "−"]),
    numbers,
    numbers,
    st.sampled_from(["", ":0123abcd", ":0123ABCD", ":", ":0123abcd:", "\u0660"]),
)
sinces = ids | st.sampled_from(["", "now", "earliest", "10m", "1e9d", "-1s", "0", "365d", "NaN", "inf"]) | st.text()
names = st.sampled_from(["a", "b", "__proto__", "a b", "ü"]) | st.text(max_size=300)
values = st.none() | st.booleans() | st.integers() | st.floats() | names | st.lists(st.text(), max_size=3)
commands = st.fixed_dictionaries({}, optional={"subscribe": names, "unsubscribe": names, "since": sinces})
objects = st.dictionaries(st.sampled_from(["subscribe", "unsubscribe", "since"]) | st.text(), values, max_size=4)
texts = st.builds(json.dumps, commands | objects | values).map(str.encode)
surrogate = st.just(rb'{"subscribe":"\ud800"}') | st.just(rb'{"subscribe":"a","since":"\udfff"}')
payloads = texts | surrogate | st.binary(max_size=200) | st.just(b"[" * 10_000) | st.just(b"x" * 20_000)


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
    return bytes([0x80 * final | opcode]) + length + bytes(4) + payload


frames = st.builds(frame, st.sampled_from([1, 1, 1, 1, 2]), payloads) | st.builds(
    frame, st.integers(0, 15), st.binary(max_size=150), final=st.booleans()
)


def untroubled(gateway: Service) -> None:
    assert request(f"{url(gateway)}/healthz")[0] == 200
    errors = [line for line in gateway.lines if line["event"] in {"crashed", "library_log"} or "exception" in line]
    assert not errors


def answer(gateway: Service, sent: bytes) -> bytes:
    """What it says to that, up to the end of the headers."""
    with socket.create_connection(address(gateway), timeout=10) as peer:
        peer.sendall(sent)
        got = b""
        while b"\r\n\r\n" not in got and (chunk := peer.recv(65536)):
            got += chunk
        return got


def test_a_stream_may_be_asked_for_in_any_way(server: RedisServer, start: Start) -> None:
    gateway = start("gateway", MAX_CHANNELS=10_000, LOG_MESSAGES="none")

    @EXAMPLES
    @given(
        channel=st.binary(min_size=1, max_size=300) | names.map(lambda t: t.encode("utf-8", "surrogatepass")),
        since=sinces,
        last=sinces | st.none(),
        version=st.sampled_from(["1.0", "1.1"]),
    )
    def ask(channel: bytes, since: str, last: str | None, version: str) -> None:
        query = quote_from_bytes(since.encode("utf-8", "surrogatepass"))
        header = re.sub(rb"[\r\n\x00]", b"", (last or "").encode("utf-8", "surrogatepass"))
        sent = f"GET /channels/{quote_from_bytes(channel, safe='')}/events?since={query} HTTP/{version}\r\nHost: localhost\r\n"
        sent_bytes = sent.encode() + (b"" if last is None else b"Last-Event-ID: " + header + b"\r\n") + b"\r\n"
        got = answer(gateway, sent_bytes)
        assert re.match(rb"HTTP/1\.[01] (200|4\d\d) ", got), (sent_bytes, got)

    ask()
    untroubled(gateway)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_a_websocket_may_be_sent_anything(server: RedisServer, start: Start) -> None:
    gateway = start("gateway", MAX_CHANNELS=10_000, LOG_MESSAGES="none")

    @EXAMPLES
    @given(sent=st.lists(frames, min_size=1, max_size=6), end=st.binary(max_size=20))
    def talk(sent: list[bytes], end: bytes) -> None:
        with socket.create_connection(address(gateway), timeout=10) as peer:
            peer.sendall(handshake("/ws"))
            got = b""
            while b"\r\n\r\n" not in got:
                got += peer.recv(65536)
            assert got.startswith(b"HTTP/1.1 101 ")
            with contextlib.suppress(OSError):  # it may be cut off at any of these
                peer.sendall(b"".join(sent) + end + frame(8, b""))  # goodbye
                peer.shutdown(socket.SHUT_WR)  # for where that was taken for the inside of a frame
            assert goes_away(peer), "the gateway holds on to a client that has said goodbye"

    talk()
    untroubled(gateway)


def goes_away(peer: socket.socket) -> bool:
    try:
        while peer.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def test_a_request_for_a_websocket_may_be_of_any_kind(server: RedisServer, start: Start) -> None:
    gateway = start("gateway", LOG_MESSAGES="none")

    @EXAMPLES
    @given(
        headers=st.dictionaries(
            st.sampled_from(
                [
                    "Upgrade",
                    "Connection",
                    "Sec-WebSocket-Key",
                    "Sec-WebSocket-Version",
                    "Sec-WebSocket-Extensions",
                    "Sec-WebSocket-Protocol",
                    "Origin",
                    "Host",
                ]
            ),
            st.sampled_from(
                [
                    "websocket",
                    "Upgrade",
                    "13",
                    "12",
                    "AAAAAAAAAAAAAAAAAAAAAA==",
                    "permessage-deflate",
                    "http://x",
                    "null",
                    "",
                ]
            )
            | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
        ),
        method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "BREW"]),
    )
    def ask(headers: dict[str, str], method: str) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in ({"Host": "x"} | headers).items())
        got = answer(gateway, f"{method} /ws HTTP/1.1\r\n{lines}\r\n".encode())
        assert re.match(rb"HTTP/1\.[01] (101|200|204|4\d\d) ", got), (headers, method, got)

    ask()
    untroubled(gateway)
