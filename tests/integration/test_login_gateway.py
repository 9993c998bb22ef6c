"""Other users' channels by every road, browsers' cookies, and tokens that expire while they are used."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.event_source import EventSource
from support.gateways import url
from support.issuer import Issuer, bearer
from support.login_world import LOGIN, ask, is_served, post_as, stream_status
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
Connect = Callable[..., EventSource]
SOON = -8
"""Two seconds before a token counts as expired here: ten seconds' leeway are over by then."""
SPELLINGS = (
    "user:bob", "user%3Abob", "%75ser:bob", "user:b%6Fb", "USER:BOB", "User:bob", "user:*", "user:?ob", "*", "user:ann%00",
    "user:ann%00bob", "user:ann.", "user:ann%20", "%20user:ann", "user:ann%0A", "user:ann%2F..%2Fuser:bob", "user:ann/../user:bob",
    "user:ann%2C user:bob".replace(" ", "%20"), "user:ann,user:bob", "user:{sub}", "user:%7Bsub%7D", "user:ann%252F", "user%EF%BC%9Aann",
    "user:a%CC%81nn", "user:%61nn%E2%80%8B", "user:bob.presence", "user:ann.presence.presence", "__keyspace@0__:x", ".", "..", "%2E%2E",
)  # fmt: skip


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture
def gateway(unharmed: Start, issuer: Issuer) -> Service:
    service = unharmed("gateway", **LOGIN, **issuer.settings)
    service.wait_for("connected")
    return service


@asynccontextmanager
async def socket(gateway: Service, **headers: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url(gateway)}/ws", headers=headers) as ws,
        asyncio.timeout(40),
    ):
        yield ws


async def say(ws: aiohttp.ClientWebSocketResponse, **command: object) -> Any:
    await ws.send_json(command)
    return await ws.receive_json()


async def closed(ws: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str]:
    """The code and the reason with which the gateway has ended the connection."""
    while True:
        message = await ws.receive()
        if message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING}:
            return ws.close_code, str(message.extra or "")


def ann(issuer: Issuer, **claims: Any) -> str:
    return issuer.token("ann", ["user:{sub}", "news"], ["user:{sub}"], **claims)


def test_other_users_channels_are_nobody_elses_by_any_spelling(gateway: Service, issuer: Issuer) -> None:
    headers = list(bearer(ann(issuer)).items())
    for name in SPELLINGS:
        for road in (f"/channels/{name}/events", f"/channels/{name}/events?since=earliest"):
            assert stream_status(gateway, road, headers) in {400, 403, 404}, road
        for last in ("0-0:0", "1-1:1", "nonsense"):
            assert stream_status(gateway, f"/channels/{name}/events", [*headers, ("Last-Event-ID", last)]) in {
                400,
                403,
                404,
            }
        answer = ask(gateway, "POST", f"/channels/{name}/messages", headers, b"x")
        assert answer.status in {400, 403, 404}, (name, answer)
    assert ask(gateway, "POST", "/channels/news/messages", headers, b"x").status == 403  # read it may
    assert stream_status(gateway, "/channels/user:ann/events", headers) == 200
    assert stream_status(gateway, "/channels/user:ann.presence/events", headers) == 200
    assert stream_status(gateway, "/system/events", headers) == 403
    assert gateway.stop() == 0
    assert gateway.lines[-1]["received"] == 0


async def test_other_users_channels_are_nobody_elses_over_a_websocket(gateway: Service, issuer: Issuer) -> None:
    from urllib.parse import unquote

    async with socket(gateway) as ws:
        assert await say(ws, token=ann(issuer)) == {
            "token": {"sub": "ann", "exp": pytest.approx(time.time() + 3600, abs=5)}
        }
        for name in {*SPELLINGS, *map(unquote, SPELLINGS)}:
            for more in ({}, {"since": "earliest"}, {"since": "1-1:1"}):
                answer = await say(ws, subscribe=name, **more)
                if answer == {"error": "at most 20 commands a second: this one was ignored"}:
                    pytest.fail("too fast")
                assert answer["channel"] == name
                assert "does not permit" in answer["error"]
                await asyncio.sleep(0.05)  # as fast as a client may
        assert await say(ws, subscribe="user:ann") == {"subscribed": "user:ann", "event_id": "0-0:0"}


async def test_each_of_two_users_sees_only_what_is_theirs(gateway: Service, issuer: Issuer, connect: Connect) -> None:
    tokens = {name: issuer.token(name, ["user:{sub}", "news"], ["*"]) for name in ("ann", "bob", "*")}
    streams = {
        name: connect(gateway, f"/channels/user:{name}/events", **bearer(token)) for name, token in tokens.items()
    }
    async with socket(gateway) as ws:
        await say(ws, token=tokens["ann"])
        await say(ws, subscribe="user:ann")
        for name in ("ann", "bob", "*"):
            assert post_as(gateway, tokens["ann"], f"for {name}", f"user:{name}").status == 202
        assert (await ws.receive_json())["message"]["data"] == '"for ann"'
        for name, stream in streams.items():
            assert stream.status == 200
            assert [message["data"] for message in stream.wait_for(1)] == [f'"for {name}"']


async def test_a_subscribe_before_the_token_is_refused_and_the_channel_is_named(
    gateway: Service, issuer: Issuer
) -> None:
    async with socket(gateway) as ws:
        answer = await say(ws, subscribe="user:ann")
        assert answer["channel"] == "user:ann"
        assert "send a token first" in answer["error"]
        await say(ws, token=ann(issuer))
        assert (await say(ws, subscribe="user:ann"))["subscribed"] == "user:ann"


@pytest.mark.parametrize("by", ["header", "cookie"])
async def test_a_websocket_whose_request_has_a_token_needs_no_frame(gateway: Service, issuer: Issuer, by: str) -> None:
    headers = bearer(ann(issuer)) if by == "header" else {"Cookie": f"fanout_token={ann(issuer)}"}
    async with socket(gateway, **headers) as ws:
        assert (await say(ws, subscribe="user:ann"))["subscribed"] == "user:ann"
        assert "does not permit" in (await say(ws, subscribe="user:bob"))["error"]


async def test_an_old_cookie_does_not_keep_a_websocket_from_its_token(gateway: Service, issuer: Issuer) -> None:
    async with socket(gateway, Cookie=f"fanout_token={ann(issuer, lasts=-100)}") as ws:
        assert "send a token first" in (await say(ws, subscribe="user:ann"))["error"]
        assert (await say(ws, token=ann(issuer)))["token"]["sub"] == "ann"


async def test_a_bad_token_in_a_websockets_header_is_401(gateway: Service, issuer: Issuer) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        async with socket(gateway, **bearer(ann(issuer, lasts=-100))):
            pass
    assert error.value.status == 401


@pytest.mark.parametrize("wrong", ["letmein", "", "a.b.c", "x" * 9000])
async def test_a_first_token_that_is_not_valid_ends_the_connection(
    gateway: Service, issuer: Issuer, wrong: str
) -> None:
    async with socket(gateway) as ws:
        await ws.send_json({"token": wrong})
        code, reason = await closed(ws)
        assert code == 4401
        assert "token" in reason
    assert is_served(gateway, issuer)


async def test_a_websocket_without_a_token_is_closed_in_time(gateway: Service) -> None:
    async with socket(gateway) as ws:
        begin = time.monotonic()
        assert await closed(ws) == (4401, "no token within 10 s")
        assert 9 < time.monotonic() - begin < 14


async def test_frames_that_are_no_token_are_said_to_be_wrong(gateway: Service, issuer: Issuer) -> None:
    async with socket(gateway) as ws:
        for wrong in ({"token": 5}, {"token": ["a"]}, {"token": None}, {"token": "a.b.c", "subscribe": "n"}, {}):
            assert "error" in await say(ws, **wrong)
        assert (await say(ws, token=ann(issuer)))["token"]["sub"] == "ann"


async def test_a_websocket_ends_when_its_token_expires(gateway: Service, issuer: Issuer) -> None:
    async with socket(gateway) as ws:
        await say(ws, token=ann(issuer, lasts=SOON))
        await say(ws, subscribe="user:ann")
        assert await closed(ws) == (4401, "the token has expired")


async def test_a_renewal_leaves_no_gap(gateway: Service, issuer: Issuer) -> None:
    always = issuer.token("x", [], ["*"])
    async with socket(gateway) as ws:
        assert (await say(ws, token=ann(issuer, lasts=SOON)))["token"]["sub"] == "ann"
        await say(ws, subscribe="user:ann")
        got: list[str] = []
        begin, renewed, sent = time.monotonic(), False, 0
        while time.monotonic() - begin < 4:
            assert (await asyncio.to_thread(post_as, gateway, always, sent, "user:ann")).status == 202
            sent += 1
            if time.monotonic() - begin > 1 and not renewed:
                await ws.send_json({"token": ann(issuer)})
                renewed = True
            while len(got) < sent:
                message = await ws.receive_json()
                if "message" in message:
                    got.append(message["message"]["data"])
                else:
                    assert message["token"]["sub"] == "ann"
        assert got == [str(number) for number in range(sent)]


async def test_a_renewal_that_is_not_valid_leaves_the_token_before(gateway: Service, issuer: Issuer) -> None:
    async with socket(gateway) as ws:
        await say(ws, token=ann(issuer, lasts=SOON))
        await say(ws, subscribe="user:ann")
        assert await say(ws, token=ann(issuer, lasts=-100)) == {"error": "the token has expired"}
        assert (await say(ws, subscribe="news"))["subscribed"] == "news"
        assert await closed(ws) == (4401, "the token has expired")


async def test_a_renewal_that_permits_less_takes_channels_away(gateway: Service, issuer: Issuer) -> None:
    always = issuer.token("x", [], ["*"])
    async with socket(gateway) as ws:
        await say(ws, token=ann(issuer))
        for channel in ("user:ann", "news"):
            await say(ws, subscribe=channel)
        assert (await say(ws, token=issuer.token("ann", ["news"])))["token"]["sub"] == "ann"
        answer = await ws.receive_json()
        assert answer == {
            "error": "the token does not permit to subscribe to the channel user:ann",
            "channel": "user:ann",
        }
        for channel in ("user:ann", "news"):
            assert post_as(gateway, always, channel, channel).status == 202
        assert (await ws.receive_json())["message"]["channel"] == "news"
        assert (await say(ws, subscribe="user:ann"))["channel"] == "user:ann"


def test_a_stream_of_several_channels_needs_permission_for_each(gateway: Service, issuer: Issuer) -> None:
    headers = list(bearer(ann(issuer)).items())
    assert stream_status(gateway, "/events?channel=user:ann&channel=news", headers) == 200
    for name in SPELLINGS:
        for others in ("channel=user:ann&channel=", "channel="):
            assert stream_status(gateway, f"/events?{others}{name}&since=earliest", headers) in {400, 403}, name
    answer = ask(gateway, "GET", "/events?channel=news&channel=user:bob", headers)
    assert (answer.status, answer.detail) == (403, "the token does not permit to subscribe to the channel user:bob")
    assert (
        stream_status(gateway, "/events?channel=news&channel=user:bob", [*headers, ("Last-Event-ID", "1-1:1,1-1:1")])
        == 403
    )
    assert stream_status(gateway, "/events?channel=news") == 401


def test_a_stream_of_several_channels_ends_with_its_token_too(
    gateway: Service, issuer: Issuer, connect: Connect
) -> None:
    path, always = "/events?channel=user:ann&channel=news", issuer.token("x", [], ["*"])
    stream = connect(gateway, path, **bearer(ann(issuer, lasts=SOON)))
    for channel in ("user:ann", "news"):
        assert post_as(gateway, always, 1, channel).status == 202
    stream.wait_for(2)
    assert stream.wait_for(1, "expired")
    eventually(lambda: stream.ended)
    for channel in ("user:ann", "news"):
        assert post_as(gateway, always, 2, channel).status == 202
    again = connect(gateway, path, Last_Event_ID=stream.last_id, **bearer(ann(issuer)))
    assert [message["data"] for message in again.wait_for(2)] == ["2", "2"]


def test_a_stream_ends_when_its_token_expires_and_goes_on_with_the_last_id(
    gateway: Service, issuer: Issuer, connect: Connect
) -> None:
    always = issuer.token("x", [], ["*"])
    stream = connect(gateway, "/channels/user:ann/events", **bearer(ann(issuer, lasts=SOON)))
    assert post_as(gateway, always, 1, "user:ann").status == 202
    stream.wait_for(1)
    assert stream.wait_for(1, "expired") == [{"detail": "the token has expired"}]
    eventually(lambda: stream.ended)
    assert stream.lines[-1] == b"\n"
    assert post_as(gateway, always, 2, "user:ann").status == 202
    again = connect(gateway, "/channels/user:ann/events", Last_Event_ID=stream.last_id, **bearer(ann(issuer)))
    assert [message["data"] for message in again.wait_for(1)] == ["2"]


def test_the_dashboards_stream_ends_with_its_token_too(gateway: Service, issuer: Issuer, connect: Connect) -> None:
    token = issuer.token("op", dashboard=True, lasts=SOON)
    view = connect(gateway, "/system/events", **bearer(token))
    assert view.wait_for(1, "view")
    assert view.wait_for(1, "expired")
    eventually(lambda: view.ended)
    assert is_served(gateway, issuer)


def test_the_connection_of_a_stream_that_expired_serves_the_next_request(gateway: Service, issuer: Issuer) -> None:
    import http.client

    from support.gateways import address

    connection = http.client.HTTPConnection(*address(gateway), timeout=20)
    connection.request("GET", "/channels/user:ann/events", headers=bearer(ann(issuer, lasts=SOON)))
    assert b"event: expired" in connection.getresponse().read()
    connection.request("GET", "/healthz")
    assert connection.getresponse().read() == b'{"status": "ok"}'
    connection.close()


SITES: list[tuple[str, dict[str, str], bool]] = [
    ("no page", {}, True),
    ("our page", {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, True),
    ("our page behind tls", {"Origin": "https://localhost"}, True),
    ("a named page", {"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}, True),
    ("any other page", {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, False),
    ("a page of a subdomain", {"Origin": "http://evil.localhost", "Sec-Fetch-Site": "same-site"}, False),
    ("a page without an origin", {"Origin": "null"}, False),
    ("a page that hides its origin", {"Sec-Fetch-Site": "cross-site"}, False),
]


@pytest.mark.parametrize("origins", ["https://shop.example", "https://shop.example,*"])
def test_a_cookie_counts_only_for_our_own_pages(unharmed: Start, issuer: Issuer, origins: str) -> None:
    gateway = unharmed("gateway", ORIGINS=origins, **LOGIN, **issuer.settings)
    gateway.wait_for("connected")
    cookie = [("Cookie", f"other=1; fanout_token={issuer.token('ann', dashboard=True)}")]
    for name, headers, allowed in SITES:
        sent = [*cookie, *headers.items()]
        assert ask(gateway, "POST", "/channels/n/messages", sent, b"x").status == (202 if allowed else 403), name
        if "Origin" in headers:  # what a browser sends with each request of an EventSource or WebSocket to another site
            for path in ("/channels/n/events", "/system/events"):
                assert stream_status(gateway, path, sent) == (200 if allowed else 403), (name, path)


async def test_a_cookie_does_not_count_for_another_sites_websocket(unharmed: Start, issuer: Issuer) -> None:
    gateway = unharmed("gateway", ORIGINS="*", **LOGIN, **issuer.settings)
    headers = {"Cookie": f"fanout_token={ann(issuer)}", "Origin": "https://evil.example"}
    async with socket(gateway, **headers) as ws:
        assert "send a token first" in (await say(ws, subscribe="user:ann"))["error"]


def login(gateway: Service, token: str, *headers: tuple[str, str], kind: str = "application/json") -> Any:
    body = json.dumps({"token": token}).encode()
    return ask(gateway, "POST", "/login", [("Content-Type", kind), *headers], body)


def test_a_browser_logs_in_with_a_token_and_out_again(gateway: Service, issuer: Issuer) -> None:
    token = issuer.token("op", dashboard=True)
    assert ask(gateway, "GET", "/login").status == 401
    answer = login(gateway, token)
    value, *attributes = answer.headers["set-cookie"].split("; ")
    assert (answer.status, value) == (200, f"fanout_token={token}")
    assert answer.json["token"]["sub"] == "op"
    assert {"HttpOnly", "Secure", "SameSite=Strict"} < set(attributes)
    [age] = [int(one.removeprefix("Max-Age=")) for one in attributes if one.startswith("Max-Age=")]
    assert 3590 <= age <= 3600
    assert ask(gateway, "GET", "/login", [("Cookie", value)]).json == answer.json
    assert answer.headers["cache-control"] == "no-store"
    out = ask(gateway, "POST", "/logout", [("Cookie", value)])
    assert (out.status, out.headers["set-cookie"].split("; ")[:2]) == (204, ["fanout_token=", "Max-Age=0"])


def test_the_name_of_the_cookie_can_be_set(unharmed: Start, issuer: Issuer) -> None:
    gateway = unharmed("gateway", AUTH_COOKIE="session-1", **LOGIN, **issuer.settings)
    assert login(gateway, issuer.token()).headers["set-cookie"].startswith("session-1=")
    assert ask(gateway, "GET", "/login", [("Cookie", f"session-1={issuer.token()}")]).status == 200
    assert ask(gateway, "GET", "/login", [("Cookie", f"fanout_token={issuer.token()}")]).status == 401


def test_other_sites_log_nobody_in_or_out(gateway: Service, issuer: Issuer) -> None:
    token = issuer.token()
    assert login(gateway, token, ("Origin", "https://evil.example")).status == 403
    assert login(gateway, token, ("Sec-Fetch-Site", "cross-site")).status == 403
    assert login(gateway, token, kind="text/plain").status == 415
    assert login(gateway, token, kind="application/x-www-form-urlencoded").status == 415
    assert ask(gateway, "POST", "/logout", [("Sec-Fetch-Site", "cross-site")]).status == 403


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"token": 5}', b'{"token": "a", "more": 1}', b"\xff", b"[" * 60_000]
)
def test_a_login_that_is_no_token_is_400(gateway: Service, body: bytes) -> None:
    answer = ask(gateway, "POST", "/login", [("Content-Type", "application/json")], body)
    assert (answer.status, answer.detail) == (400, 'the body must be {"token": "<jwt>"}')


def test_a_token_that_is_too_long_for_a_cookie_is_refused(gateway: Service, issuer: Issuer) -> None:
    answer = login(gateway, issuer.token(more="x" * 4000))
    assert (answer.status, "too long for a cookie" in answer.detail) == (400, True)


def test_the_page_and_health_need_no_token(gateway: Service) -> None:
    for path in ("/", "/page/main.js", "/page/login.js", "/healthz", "/readyz"):
        assert ask(gateway, "GET", path).status == 200
    assert ask(gateway, "GET", "/system/events").status == 401


async def test_a_token_for_thousands_of_years_is_served(gateway: Service, issuer: Issuer, connect: Connect) -> None:
    token = ann(issuer, exp=253_402_300_799)
    stream = connect(gateway, "/channels/user:ann/events", **bearer(token))
    async with socket(gateway) as ws:
        assert (await say(ws, token=token))["token"]["exp"] == 253_402_300_799
        assert (await say(ws, subscribe="user:ann"))["subscribed"] == "user:ann"
        assert post_as(gateway, token, 1, "user:ann").status == 202
        assert (await ws.receive_json())["message"]["data"] == "1"
    assert [message["data"] for message in stream.wait_for(1)] == ["1"]


async def test_without_a_login_everything_is_as_it_was(unharmed: Start, issuer: Issuer) -> None:
    gateway = unharmed("gateway")
    gateway.wait_for("connected")
    assert stream_status(gateway, "/channels/n/events?token=x", list(bearer("nonsense").items())) == 200
    assert ask(gateway, "GET", "/login").json == {"login": "off"}
    assert ask(gateway, "POST", "/logout").status == 404
    async with socket(gateway) as ws:
        assert "login" in (await say(ws, token=issuer.token()))["error"]
        assert (await say(ws, subscribe="n"))["subscribed"] == "n"


@pytest.mark.parametrize("name", ["gateway", "publisher"])
def test_a_login_without_keys_does_not_start(start: Start, tmp_path: Path, name: str) -> None:
    for settings, says in (
        ({"AUTH": "on"}, "AUTH is 'on', but must be given together with AUTH_KEYS_FILE or AUTH_JWKS_URL: make keys"),
        ({"AUTH": "on", "AUTH_KEYS_FILE": "/dev/null"}, "it holds no key"),
        ({"AUTH_KEYS_FILE": str(tmp_path / "none")}, "No such file"),
        ({"AUTH": "yes"}, "one of on, off"),
        ({"AUTH_JWKS_URL": "ftp://keys"}, "begins with https://"),
        ({"AUTH_JWKS_URL": "https://user:secret@keys/"}, "without a user name"),
        ({"AUTH_COOKIE": "a=b;"}, "letters, digits"),
    ):
        service = start(name, **settings)
        assert service.ended() == 2
        [line] = service.events("failed")
        assert says in line["reason"]
        assert "secret@" not in json.dumps(line)


@pytest.mark.parametrize("name", ["gateway", "publisher"])
def test_with_keys_and_auth_off_everyone_may_do_everything(start: Start, issuer: Issuer, name: str) -> None:
    service = start(name, **issuer.settings | {"AUTH": "off"})
    service.wait_for("connected")
    assert ask(service, "POST", "/channels/n/messages", body=b"x").status == 202
    assert service.events("started")[0]["login"] == "off"
    assert service.stop() == 0


def test_the_audit_says_who_posted(unharmed: Start, issuer: Issuer) -> None:
    gateway = unharmed("gateway", AUDIT="on", **LOGIN, **issuer.settings)
    gateway.wait_for("connected")
    assert post_as(gateway, issuer.token("ann")).status == 202
    assert gateway.wait_for("message_posted")[0]["subject"] == "ann"
    assert post_as(gateway, issuer.token("bob", [], [])).status == 403
    line = gateway.wait_for("message_posted", 2)[1]
    assert (line["subject"], line["status"]) == ("bob", 403)


def test_a_server_without_keys_yet_answers_503(unharmed: Start, server: RedisServer, issuer: Issuer) -> None:
    gateway = unharmed("gateway", AUTH_JWKS_URL="http://127.0.0.1:9/keys", **LOGIN)
    gateway.wait_for("connected")
    answer = post_as(gateway, issuer.token())
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "127.0.0.1:9" not in answer.detail
    gateway.wait_for("auth_keys_failed")
