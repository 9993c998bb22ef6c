"""The browser client, fanout.js: against the gateway, and against one that asks for tokens and misbehaves."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from run.loopback import free_port
from support.client_page import Client, look
from support.dashboard import PICTURES
from support.fake_gateway import FakeGateway
from support.front import Front
from support.gateways import post
from support.redis_server import RedisServer
from support.service import Service
from support.site import served
from support.waiting import eventually


class Real:
    """A gateway at a port of its own, that can be stopped and started, behind a proxy that can be cut."""

    def __init__(self, server: RedisServer) -> None:
        self._server, self._port = server, free_port(0)
        self._front = Front(self._port)
        self.url, self.cut = self._front.url, self._front.cut
        self.start()

    def start(self, **settings: object) -> None:
        self.service = Service("gateway", REDIS_URL=self._server.url, HTTP_PORT=self._port, **settings)
        self.service.wait_for("started")

    def stop(self) -> None:
        self.service.stop()
        self.service.process.stdout.close()  # type: ignore[union-attr]

    def close(self) -> None:
        self.stop()
        self._front.close()


@pytest.fixture
def real(server: RedisServer) -> Iterator[Real]:
    real = Real(server)
    yield real
    real.close()


def test_several_channels_come_over_one_connection_each_in_order(page: Page, real: Real) -> None:
    client = Client(page, f"{real.url}healthz").subscribe("a", "b", "c").live()
    post(real.service, "before", "late")
    eventually(lambda: client.page.evaluate("fanout.publish('c', {n: 0}).then(({ id }) => id)") == "1")
    client.has("c", [{"n": 0}])
    for n in range(20):
        post(real.service, f"{n}", "ab"[n % 2])
    client.subscribe("late", since="10m")
    client.has("a", [f"{n}" for n in range(0, 20, 2)])
    client.has("b", [f"{n}" for n in range(1, 20, 2)])
    client.has("late", ["before"])
    assert client.log("state") == [["connecting"], ["live"]]


def test_nothing_is_lost_doubled_or_out_of_order_over_cuts_and_restarts_of_the_gateway(page: Page, real: Real) -> None:
    client = Client(page, f"{real.url}healthz").subscribe("a", "b").live()
    publisher = Service("publisher", REDIS_URL=real._server.url)
    sent: dict[str, list[str]] = {"a": [], "b": []}

    def send(name: str) -> None:
        sent[name].append(f"{len(sent[name])}")
        post(publisher, sent[name][-1], name)

    try:
        for round_ in range(6):
            for _ in range(5):
                send("a")
                send("b")
            if round_ % 3 == 1:
                real.stop()
                send("a")
                send("b")
                real.start()
            else:
                real.cut()
            send("b")
            if round_ % 2:
                client.live()
        client.has("a", sent["a"])
        client.has("b", sent["b"])
    finally:
        publisher.stop()
        publisher.process.stdout.close()  # type: ignore[union-attr]


def test_gone_is_told_and_what_follows_comes(page: Page, real: Real) -> None:
    client = Client(page, f"{real.url}healthz").subscribe("n", since="1760000000000-1:7").live()
    post(real.service, "after", "n")
    client.has("n", ["after"])
    assert client.log("gone") == [["n", False]]


def test_a_channel_is_given_up_or_tried_again_as_the_cause_is(page: Page, real: Real) -> None:
    real.stop()
    real.start(MAX_CHANNELS=1)
    client = Client(page, f"{real.url}healthz").subscribe("first").live().subscribe("second", "__x")
    eventually(lambda: len(client.log("refused")) >= 2)
    refused = {name: retrying for name, _, retrying in client.log("refused")}
    assert refused == {"second": True, "__x": False}
    client.unsubscribe("first")
    eventually(lambda: post(real.service, "now", "second") and client.data("second"))
    assert [name for name, _, _ in client.log("refused")].count("__x") == 1


def test_an_unsubscribed_channel_is_silent_and_can_be_subscribed_afresh(page: Page, fake: FakeGateway) -> None:
    client = Client(page, fake.url).subscribe("a", "b").live()
    fake.publish("a", 1)
    client.has("a", [1])
    client.unsubscribe("a")
    client.subscribe("a", since="earliest")
    client.has("a", [1, 1])
    eventually(lambda: fake.frames[0][-2:] == [{"unsubscribe": "a"}, {"subscribe": "a", "since": "earliest"}])
    client.unsubscribe("a")
    eventually(lambda: fake.frames[0][-1] == {"unsubscribe": "a"})
    fake.publish("a", 2)
    fake.publish("b", 3)
    client.has("b", [3])
    assert client.data("a") == [1, 1]
    client.page.evaluate("fanout.close()")
    eventually(lambda: fake.connections == 0)
    client.subscribe("b").live()
    fake.publish("b", 4)
    client.has("b", [3, 4])


def test_two_listeners_share_a_channel(page: Page, fake: FakeGateway) -> None:
    client = Client(page, fake.url).subscribe("a").live()
    page.evaluate("() => { fanout.subscribe('a', ({ data }) => void log.push(['other', data])) }")
    fake.publish("a", 1)
    client.has("a", [1])
    assert client.log("other") == [[1]]
    client.unsubscribe("a")
    fake.publish("a", 2)
    eventually(lambda: client.log("other") == [[1], [2]])
    assert client.data("a") == [1]
    assert fake.frames == [[{"subscribe": "a"}]]


def test_after_a_cut_each_channel_goes_on_after_its_last_id(page: Page, fake: FakeGateway) -> None:
    client = Client(page, fake.url).subscribe("a", "b", "c").live()
    fake.publish("a", 1)
    fake.publish("a", 2)
    client.has("a", [1, 2])
    fake.cut()
    eventually(lambda: len(fake.frames) > 1 and len(fake.frames[-1]) == 3)
    assert fake.frames[-1] == [
        {"subscribe": "a", "since": "1-2:2"},
        {"subscribe": "b", "since": "1-0:0"},
        {"subscribe": "c", "since": "1-0:0"},
    ]
    fake.replay("a", 0)
    fake.publish("a", 3)
    client.has("a", [1, 2, 3])


def test_an_age_counts_from_when_it_was_first_asked_for(page: Page, fake: FakeGateway) -> None:
    fake.places = False
    Client(page, fake.url).subscribe("a", since="10m").subscribe("b").subscribe("c", since="earliest").live()
    fake.cut()
    eventually(lambda: len(fake.frames) > 1 and len(fake.frames[-1]) == 3)
    a, b, c = (frame["since"] for frame in fake.frames[-1])
    assert 600 < float(a.removesuffix("s")) < 660
    assert 0 < float(b.removesuffix("s")) < 60
    assert c == "earliest"


def test_many_channels_that_come_and_go_keep_within_what_a_client_may_ask(page: Page, fake: FakeGateway) -> None:
    client = Client(page, fake.url).subscribe("a").live()
    page.evaluate("() => { for (let n = 0; n < 120; n++) fanout.subscribe(`more:${n}`, () => {}) }")
    eventually(lambda: len(fake.frames[0]) == 121)
    asked = fake.times[0]
    assert asked[120] - asked[1] > 1
    assert asked[45] - asked[1] < 1
    fake.cut()
    eventually(lambda: len(fake.frames) == 2 and len(fake.frames[1]) == 121)
    assert fake.times[1][120] - fake.times[1][0] < 1
    client.live()


def test_members_are_told_who_comes(page: Page, fake: FakeGateway) -> None:
    client = Client(page, fake.url).subscribe("a").live()
    page.evaluate(
        """() => { ends.member = fanout.subscribe("a", () => {},
          { presence: true, onPresence: ({ data }) => log.push(["presence", data]) }) }"""
    )
    member = [{"subscribe": "a.presence"}, {"unsubscribe": "a"}, {"subscribe": "a", "since": "1-0:0", "presence": True}]
    eventually(lambda: len(fake.frames[0]) == 4)
    assert sorted(fake.frames[0][1:], key=str) == sorted(member, key=str)
    told = {"members": ["ann"], "count": 1, "version": 5}
    fake.publish("a.presence", told)
    eventually(lambda: client.log("presence") == [[told]])
    client.unsubscribe("member")
    eventually(lambda: fake.frames[0][-1] == {"subscribe": "a", "since": "1-0:0"})
    members = page.evaluate("fanout.presence('a').then(({ members }) => members)")
    assert members == [{"sub": "member 1", "connections": 1}]


def test_a_handler_that_throws_stops_nothing(browser: Browser, fake: FakeGateway) -> None:
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    client = Client(page, fake.url)
    page.evaluate("() => { fanout.subscribe('a', () => { throw new Error('mine') }) }")
    client.subscribe("a").live()
    fake.publish("a", 1)
    fake.publish("a", 2)
    client.has("a", [1, 2])
    assert ["mine" in error for error in errors] == [True, True]
    page.close()


def test_publishing_is_tried_again_with_the_same_key_where_that_may_help(page: Page, fake: FakeGateway) -> None:
    Client(page, fake.url)
    fake.post_statuses = [503, 500, 429]
    assert page.evaluate("fanout.publish('room:1/ä', { text: 'hi' })") == {"source": "/c/x", "id": "1"}
    assert [data for _, _, data in fake.posts] == [{"text": "hi"}] * 4
    assert len({key for key, _, _ in fake.posts}) == 1
    fake.post_statuses = [403]
    assert page.evaluate("fanout.publish('a', 1).catch((error) => [error.status, error.message])") == [403, "no"]
    page.evaluate("fanout.publish('a', 2)")
    assert len(fake.posts) == 6
    assert fake.posts[-1][0] != fake.posts[0][0]


# Over Server-Sent Events.


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_where_no_websocket_opens_channels_come_over_server_sent_events(
    page: Page, fake: FakeGateway, how: Literal["refused", "silent"]
) -> None:
    fake.websocket = how
    client = Client(page, fake.url).subscribe("a", "b").live()
    for n in range(10):
        fake.publish("ab"[n % 2], n)
    client.has("a", [0, 2, 4, 6, 8])
    client.has("b", [1, 3, 5, 7, 9])
    assert [path for path, _ in fake.streams] == ["/events?channel=a&channel=b"]
    client.subscribe("c", since="earliest")
    eventually(lambda: len(fake.streams) == 2 and fake.connections == 1)
    assert fake.streams[1][0] == "/events?channel=a&since=1-5%3A5&channel=b&since=1-5%3A5&channel=c&since=earliest"
    fake.publish("a", 10)
    client.has("a", [0, 2, 4, 6, 8, 10])
    client.unsubscribe("b")
    client.unsubscribe("c")
    eventually(lambda: fake.streams[-1][0] == "/events?channel=a&since=1-6%3A6" and fake.connections == 1)
    if how == "refused":  # else it takes another five seconds
        fake.cut()
        eventually(lambda: len(fake.streams) == 4 and fake.connections == 1)
    fake.publish("a", 11)
    client.has("a", [0, 2, 4, 6, 8, 10, 11])
    assert client.log("error") == []


def test_it_goes_back_to_a_websocket_when_one_can_be_opened_again(page: Page, fake: FakeGateway) -> None:
    client = Client(page, fake.url).subscribe("a").live()
    fake.publish("a", 1)
    client.has("a", [1])
    fake.websocket = "refused"
    fake.cut()
    eventually(lambda: len(fake.streams) == 1 and fake.connections == 1)
    fake.publish("a", 2)
    client.has("a", [1, 2])
    fake.websocket = "open"
    fake.cut()
    eventually(lambda: len(fake.frames) == 2)
    fake.publish("a", 3)
    client.has("a", [1, 2, 3])
    assert fake.frames[1] == [{"subscribe": "a", "since": "1-2:2"}]


def test_a_channel_that_a_stream_is_refused_for_leaves_the_others_alone(page: Page, fake: FakeGateway) -> None:
    fake.websocket = "refused"
    fake.denied = {"secret"}
    client = Client(page, fake.url).subscribe("a", "secret", "b").live()
    eventually(lambda: client.log("refused") == [["secret", "secret may not be read", False]])
    eventually(lambda: fake.connections == 1)
    fake.publish("b", 1)
    client.has("b", [1])
    assert client.log("error") == []


def test_the_gateway_behind_a_proxy_without_websockets(page: Page, real: Real) -> None:
    client = Client(page, f"{real.url}healthz").without_websockets().subscribe("a").live()
    for n in range(3):
        post(real.service, f"{n}", "a")
    client.has("a", ["0", "1", "2"])
    real.stop()
    real.start()
    post(real.service, "3", "a")
    client.has("a", ["0", "1", "2", "3"])


# Tokens.


def test_the_token_is_the_first_frame_and_goes_with_each_request(page: Page, fake: FakeGateway) -> None:
    fake.tokens = {"one": 600.0}
    client = Client(page, fake.url, "one").subscribe("a").live()
    assert fake.frames == [[{"token": "one"}, {"subscribe": "a"}]]
    page.evaluate("fanout.publish('a', 1)")
    assert fake.posts[0][1] == "Bearer one"
    fake.cut(1001)
    eventually(lambda: len(fake.frames) == 2 and len(fake.frames[1]) == 2)
    assert client.log("error") == []


def test_a_gateway_without_login_says_so_and_serves(page: Page, fake: FakeGateway) -> None:
    client = Client(page, fake.url, "one").subscribe("a").live()
    assert client.log("error") == [["there is no login here"]]
    fake.publish("a", 1)
    client.has("a", [1])


def test_it_is_renewed_before_it_expires_on_the_open_connection(page: Page, fake: FakeGateway) -> None:
    fake.tokens = {"one": 4.0, "two": 4.0, "three": 3e9}
    client = Client(page, fake.url, token=True).subscribe("a").live()
    fake.publish("a", 1)
    eventually(lambda: {"token": "three"} in fake.frames[0])
    fake.publish("a", 2)
    client.has("a", [1, 2])
    assert fake.frames == [[{"token": "one"}, {"subscribe": "a"}, {"token": "two"}, {"token": "three"}]]
    assert client.log("state") == [["connecting"], ["live"]]
    assert client.log("error") == []
    # setTimeout would call at once what is to come in a hundred years
    assert len(fake.issued) == 3


def test_one_that_has_expired_is_replaced_at_once_and_nothing_is_missed(page: Page, fake: FakeGateway) -> None:
    fake.tokens = {"one": 600.0, "two": 600.0}
    client = Client(page, fake.url, token=True).subscribe("a").live()
    fake.publish("a", 1)
    client.has("a", [1])
    fake.tokens = {"gone": 0.0, "two": 600.0}
    fake.cut(4401)
    fake.publish("a", 2)
    client.has("a", [1, 2])
    assert client.log("error") == []
    assert fake.frames[-1] == [{"token": "two"}, {"subscribe": "a", "since": "1-1:1"}]
    assert ["waiting"] not in client.log("state")


def test_one_that_is_refused_again_is_an_error_and_no_storm(page: Page, fake: FakeGateway) -> None:
    fake.tokens = {"one": 600.0}
    client = Client(page, fake.url, token=True).subscribe("a").live()
    fake.tokens = {}
    page.evaluate(
        "() => { window.fetch = async () => ({ json: () => { log.push(['asked']); return { token: 'bad' }; } }) }"
    )
    fake.cut(4401)
    eventually(lambda: len(client.log("error")) >= 3)
    assert {error for (error,) in client.log("error")} == {"not this token"}
    # The first new one is asked for at once; then each comes after an error.
    assert len(client.log("asked")) <= len(client.log("error")) + 2


def test_without_a_token_there_is_an_error_and_another_try(page: Page, fake: FakeGateway) -> None:
    fake.tokens = {"one": 600.0}
    client = Client(page, fake.url, token=True)
    page.evaluate(
        """() => { const { fetch } = window; let n = 0;
          window.fetch = (...all) => n++ ? fetch(...all) : Promise.reject(new Error("no network")) }"""
    )
    client.subscribe("a").live()
    assert client.log("error") == [["no token: no network"]]


def test_a_stream_carries_the_token_and_a_new_one_after_it_has_expired(page: Page, fake: FakeGateway) -> None:
    fake.websocket = "refused"
    fake.tokens = {"one": 2.0, "two": 600.0}
    client = Client(page, fake.url, token=True).subscribe("a", "b").live()
    fake.publish("a", 1)
    client.has("a", [1])
    eventually(lambda: [token for _, token in fake.streams] == ["one", "two"])
    assert fake.streams[1][0].startswith("/events?channel=a&since=1-1%3A1&channel=b&since=")
    eventually(lambda: fake.connections == 1)
    fake.publish("b", 2)
    client.has("b", [2])
    assert client.log("error") == []


def test_a_refused_post_is_sent_again_with_a_new_token_once(page: Page, fake: FakeGateway) -> None:
    fake.tokens = {"one": 600.0, "two": 600.0}
    Client(page, fake.url, token=True)
    fake.post_statuses = [401]
    page.evaluate("fanout.publish('a', 1)")
    assert [token for _, token, _ in fake.posts] == ["Bearer one", "Bearer two"]
    fake.post_statuses = [401, 401]
    assert page.evaluate("fanout.publish('a', 1).catch(({ status }) => status)") == 401
    assert len(fake.posts) == 4


def test_a_page_of_an_allowed_origin_may_use_it(page: Page, server: RedisServer, fake: FakeGateway) -> None:
    gateway = Service("gateway", REDIS_URL=server.url, ORIGINS=fake.url.rstrip("/"))
    page.goto(fake.url)
    try:
        page.evaluate(
            """async (url) => { const { Fanout } = await import(`${url}/fanout.js`); window.log = [];
              window.fanout = new Fanout(); fanout.subscribe("a", ({ data }) => log.push(data));
              await new Promise((live) => { fanout.onstate = (state) => state === "live" && live() });
              await fanout.publish("a", "from afar") }""",
            gateway.wait_for("started")[0]["http"],
        )
        eventually(lambda: page.evaluate("log") == ["from afar"])
    finally:
        page.goto("about:blank")
        gateway.stop()
        gateway.process.stdout.close()  # type: ignore[union-attr]


# The examples, on a server of their own.


def test_the_example_shows_each_user_only_their_own_notifications(
    browser: Browser, page: Page, server: RedisServer, tmp_path: Path
) -> None:
    with served(tmp_path) as site:
        gateway = Service("gateway", REDIS_URL=server.url, ORIGINS=site.url)
        site.use(f"{gateway.wait_for('started')[0]['http']}/")
        post(gateway, "while away", "user:ann")
        bob = browser.new_page()
        look(page, f"{site.url}/notifications.html")
        look(bob, f"{site.url}/notifications.html?user=bob")
        expect(page.locator("#list li")).to_have_text([re.compile("while away")])
        for one in (page, bob):
            expect(one.locator("#state")).to_have_text("live")
        bob.get_by_label("Notification").fill("<b>for bob</b>")
        bob.get_by_label("Notification").press("Enter")
        expect(bob.locator("#list li")).to_have_text([re.compile("<b>for bob</b>")])
        post(gateway, "for ann", "user:ann")
        expect(page.locator("#list li")).to_have_text([re.compile("for ann"), re.compile("while away")])
        picture(page, "notifications")
        bob.close()
        page.goto("about:blank")
        gateway.stop()
        gateway.process.stdout.close()  # type: ignore[union-attr]


def test_in_the_example_chat_two_talk_and_see_each_other(
    browser: Browser, page: Page, fake: FakeGateway, tmp_path: Path
) -> None:
    with served(tmp_path) as site:
        fake.origin = site.url
        site.use(fake.url)
        other = browser.new_page()
        for one, who in ((page, "ann"), (other, "bob")):
            look(one, f"{site.url}/chat.html")
            one.get_by_label("Your name").fill(who)
            one.get_by_label("Room").fill("kitchen")
            one.get_by_role("button", name="Enter").click()
            expect(one.locator("#state")).to_have_text("live")
        fake.publish("room:kitchen.presence", {"members": ["bob"], "count": 2, "version": 5})
        for one in (page, other):
            expect(one.locator("#members")).to_have_text("Here: member 1, member 2")
        page.get_by_label("Message").fill("Who has <b>milk</b>?")
        page.get_by_role("button", name="Send").click()
        expect(other.locator("#list li")).to_have_text([re.compile("ann.*Who has <b>milk</b>\\?")])
        other.get_by_label("Message").fill("Me.")
        other.get_by_label("Message").press("Enter")
        expect(page.locator("#list li")).to_have_text([re.compile("milk"), re.compile("bob.*Me\\.")])
        picture(page, "chat")
        other.close()
        page.goto("about:blank")


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")
