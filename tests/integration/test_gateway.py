"""The gateway as a browser sees it."""

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import aiohttp

from fanout.errors import ExitCode
from support.event_source import EventSource
from support.gateways import post, request, url
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]

Connect = Callable[..., EventSource]


def test_every_client_gets_every_message_over_one_subscription(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    gateway, publisher = unharmed("gateway"), unharmed("publisher")
    clients = [connect(gateway) for _ in range(5)]
    answer = post(publisher, "hello")
    for client in clients:
        client.wait_for(1)
    server.client().publish("n", b"bare\ntext\r\n\ndata: no event")
    server.client().publish("n", b"\xff")
    assert request(f"{url(gateway)}/channels/n/messages", b'{"a": "x\\ny"}', Content_Type="application/json")[0] == 202
    for client in clients:
        first, bare, binary, last = client.wait_for(4)
        assert client.retry == "1000"
        assert client.headers["Content-Type"].startswith("text/event-stream")
        assert first == {
            "channel": "n", "specversion": "1.0", "type": "notification", "datacontenttype": "text/plain",
            "data": "hello", "streamseq": "1", "time": first["time"], **answer,
        }  # fmt: skip
        assert bare == {"channel": "n", "plain": True, "data": "bare\ntext\r\n\ndata: no event"}
        assert binary == {"channel": "n", "plain": True, "data_base64": "/w=="}
        assert last["data"] == {"a": "x\ny"}
        assert [ident for ident, _, _ in client.events] == [f"{answer['streamid']}:1", "", "", f"{last['streamid']}:2"]
    assert server.client().pubsub_numsub("n") == [(b"n", 1)]


def test_while_redis_is_away_connections_stay_and_then_nothing_is_missing(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    gateway, publisher = unharmed("gateway"), unharmed("publisher")
    before = connect(gateway)
    system = connect(gateway, "/system/events")
    post(publisher, "1")
    before.wait_for(1)
    system.wait_for(1, "view")
    eventually(lambda: (v := system.of("view")[-1])["channels"] == {"n": 1} and len(v["replicas"]) == 2)
    server.kill()
    eventually(lambda: system.of("view")[-1]["redis"] == "away")
    assert {replica["instance"] for replica in system.of("view")[-1]["replicas"]} == {"gateway-1", "publisher-1"}
    during = connect(gateway, "/channels/n/events?since=earliest")
    assert during.status == 200
    assert request(f"{url(gateway)}/readyz")[0] == 503
    assert request(f"{url(gateway)}/healthz")[0] == 200
    server.start()
    post(publisher, "2")
    post(gateway, "3")
    for client in (before, during):
        assert [m["data"] for m in client.wait_for(3)] == ["1", "2", "3"]
        assert not client.ended
    eventually(lambda: system.of("view")[-1]["redis"] == "connected")


def test_the_dashboards_view_is_read_once_for_all_and_only_while_somebody_looks(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    gateway = unharmed("gateway")
    gateway.wait_for("connected")

    def connections() -> int:
        return len([one for one in server.client().client_list() if one["name"] == "gateway-1"])

    eventually(lambda: connections() == 3)
    pages = [connect(gateway, "/system/events") for _ in range(3)]
    eventually(lambda: connections() == 4)
    unharmed("subscriber", CHANNELS="n", INSTANCE="s").wait_for("live")
    post(gateway, "x")
    for page in pages:
        view = eventually(lambda p=page: (v := p.of("view")[-1])["channels"] == {"n": 1} and v)
        assert [(r["service"], r["instance"]) for r in view["replicas"]] == [
            ("gateway", "gateway-1"),
            ("subscriber", "s"),
        ]
        assert view["redis"] == "connected"
        assert abs(view["at"] - time.time()) < 30
        assert {"rate", "lag", "age_s", "clients", "patterns", "latency_p50_ms"} <= set(view["replicas"][1])
    eventually(lambda: pages[0].of("view")[-1]["replicas"][0]["clients"] == 3)
    for page in pages:
        page.close()
    eventually(lambda: connections() == 3)


def test_a_post_publishes_once_under_its_idempotency_key(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    gateway, publisher = unharmed("gateway"), unharmed("publisher")
    client = connect(gateway, "/channels/a%2Fb%20%C3%BC/events")
    there = f"{url(gateway)}/channels/a%2Fb%20%C3%BC/messages"
    first = request(there, b"once", Idempotency_Key="k", traceparent="00-1-2-01")
    assert request(there, b"once", Idempotency_Key="k") == first
    assert request(f"{url(publisher)}/channels/n/messages", b"x")[0] == request(there, b"end")[0] == 202
    assert [(m["channel"], m["data"], m.get("traceparent")) for m in client.wait_for(2)] == [
        ("a/b ü", "once", "00-1-2-01"),
        ("a/b ü", "end", None),
    ]


def test_pages_of_named_origins_may_use_it_and_may_read_the_answers(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    site = "https://site.example"
    gateway = unharmed("gateway", ORIGINS=f"{site}, https://other.example")
    asked = {"Origin": site, "Access_Control_Request_Method": "POST"}
    status, headers = request(f"{url(gateway)}/channels/n/messages", method="OPTIONS", **asked)
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, site)
    assert "Last-Event-ID" in headers["Access-Control-Allow-Headers"]
    stream = connect(gateway, Origin=site)
    assert stream.headers["Access-Control-Allow-Origin"] == site
    own = connect(gateway, Origin=url(gateway))
    assert (own.status, own.headers["Access-Control-Allow-Origin"]) == (200, None)
    assert connect(gateway, Origin="https://site.example.evil.example").status == 403
    everybody = unharmed("gateway", ORIGINS="*", INSTANCE="gateway-2")
    assert (
        connect(everybody, Origin="https://any.example").headers["Access-Control-Allow-Origin"] == "https://any.example"
    )
    assert unharmed("gateway", ORIGINS="site.example").ended() == ExitCode.BAD_INPUT


def test_the_page_is_served_with_a_policy_and_is_asked_for_again_when_it_changed(unharmed: Start) -> None:
    gateway = unharmed("gateway")
    with urllib.request.urlopen(url(gateway), timeout=5) as answer:
        page, headers = answer.read(), answer.headers
    assert b"<html" in page
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert headers["Cache-Control"] == "no-cache"
    assert request(url(gateway), If_None_Match=headers["ETag"])[0] == 304


async def test_a_websocket_follows_several_channels(server: RedisServer, unharmed: Start) -> None:
    gateway, publisher = unharmed("gateway"), unharmed("publisher")
    ids = [post(publisher, str(n), "a")["streamid"] for n in range(1, 6)]
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url(gateway)}/ws") as ws, asyncio.timeout(30):

        async def say(**command: object) -> Any:
            await ws.send_json(command)
            return await ws.receive_json()

        assert await say(subscribe="b") == {"subscribed": "b", "event_id": "0-0:0"}
        assert await say(subscribe="a", since=f"{ids[2]}:3") == {"subscribed": "a"}
        for n in (4, 5):
            got = await ws.receive_json()
            assert got["event_id"] == f"{ids[n - 1]}:{n}"
            assert (got["message"]["channel"], got["message"]["data"], got["message"]["catch_up"]) == (
                "a",
                str(n),
                True,
            )
        post(publisher, "on b", "b")
        assert (await ws.receive_json())["message"]["data"] == "on b"
        server.client().publish("a", b"\xff\n")
        assert await ws.receive_json() == {"message": {"channel": "a", "plain": True, "data_base64": "/wo="}}
        assert await say(unsubscribe="b") == {"unsubscribed": "b"}
        post(publisher, "unheard", "b")
        post(publisher, "x" * 60_000, "a")
        assert len((await ws.receive_json())["message"]["data"]) == 60_000
        assert (await say(subscribe="c", since="123-4:5")) == {"subscribed": "c"}
        assert await ws.receive_json() == {"gone": {"channel": "c", "count": 0, "exact": False}}
        for wrong, why in (
            ({"subscribe": "a"}, "subscribed already"),
            ({"unsubscribe": "b"}, "not subscribed"),
            ({"subscribe": "a,b"}, "a channel name is"),
            ({"subscribe": "d", "since": "soon"}, "since is 'soon'"),
            ({"subscribe": 5}, "Expected `str"),
            ({"subscribe": "a", "unsubscribe": "b"}, "one of subscribe, unsubscribe and token"),
            ({}, "one of subscribe, unsubscribe and token"),
            ([], "Expected `object`"),
        ):
            await ws.send_json(wrong)
            assert why in (await ws.receive_json())["error"]
        for raw in ("", "{", "\ud7ff"):
            await ws.send_str(raw)
            assert "error" in await ws.receive_json()
        await ws.send_bytes(b"{}")
        assert (await ws.receive_json())["error"].startswith("a command is JSON in a text frame")
        assert server.client().pubsub_numsub("a", "c", "d") == [(b"a", 1), (b"c", 1), (b"d", 0)]
        gateway.signal()
        assert (await ws.receive()).data == aiohttp.WSCloseCode.GOING_AWAY
    assert gateway.ended() == ExitCode.OK
