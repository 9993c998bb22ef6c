"""Who is there, as pages see it: over two gateways, over Server-Sent Events, and in the example chat."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from fanout import keys
from support.client_page import Client, look
from support.fake_gateway import FakeGateway
from support.front import Front
from support.gateways import address, url
from support.issuer import Issuer
from support.redis_server import RedisServer
from support.service import Service
from support.site import Site
from support.waiting import eventually

Start = Callable[..., Service]
Visit = Callable[[str], Page]
WATCH = """async (room) => {
  window.here = new Set();
  window.told = [];
  const early = [];
  let asked;
  const take = ({ type, data: { members = [], version } }) => {
    if (version <= asked) return;
    told.push([type, members]);
    for (const name of members) here[type === "joined" ? "add" : "delete"](name);
  };
  ends[room] = fanout.subscribe(room, (message) => log.push(["message", room, message.data]), {
    presence: true,
    onPresence: (message) => (asked ? take(message) : early.push(message)),
  });
  await new Promise((resolve) => {
    const look = () => (fanout.state === "live" ? resolve() : setTimeout(look, 10));
    look();
  });
  const { members, version } = await fanout.presence(room);
  asked = version;
  for (const { sub } of members) here.add(sub);
  early.forEach(take);
}"""
"""How a page keeps who is there: it asks once, and then takes what came later."""


def here(page: Page) -> list[str]:
    return sorted(page.evaluate("[...here]"))


def members(page: Page, room: str) -> list[list[Any]]:
    """Who is there and how often, as the gateway answers it."""
    found = page.evaluate("(room) => fanout.presence(room)", room)["members"]
    return [[member["sub"], member["connections"]] for member in found]


@pytest.fixture(autouse=True)
def _login(site: Site, issuer: Issuer) -> None:
    site.issue = lambda user: issuer.token(user, ["user:{sub}", "room:*"], ["room:*"])


@pytest.fixture
def front(site: Site) -> Iterator[Front]:
    front = Front(1)
    yield front
    front.close()


def test_of_two_gateways_one_is_killed_and_its_member_goes_and_is_back(
    start: Start, visit: Visit, site: Site, server: RedisServer, front: Front
) -> None:
    one, other = start(INSTANCE="g1"), start(INSTANCE="g2")
    front.lead_to(address(other)[1])
    ann = Client(visit("ann"), site.blank, token=True, gateway=f"{url(one)}/").page
    bob = Client(visit("bob"), site.blank, token=True, gateway=front.url).page
    for page in (ann, bob):
        page.evaluate(WATCH, "room:a")
    for page in (ann, bob):
        eventually(lambda page=page: here(page) == ["ann", "bob"])
        assert members(page, "room:a") == [["ann", 1], ["bob", 1]]
    before = ann.evaluate("told.length"), bob.evaluate("told.length")
    other.process.kill()
    # It would be taken for alive for another 15 s.
    redis = server.client()
    [killed] = [name for name in redis.zrange(keys.GATEWAYS, 0, -1) if name.startswith(b"g2:")]
    redis.zadd(keys.GATEWAYS, {killed: 1})
    eventually(lambda: here(ann) == ["ann"])
    assert members(ann, "room:a") == [["ann", 1]]
    front.lead_to(address(one)[1])
    bob.evaluate("dispatchEvent(new Event('online'))")
    for page, since in zip((ann, bob), before, strict=True):
        eventually(lambda page=page: here(page) == ["ann", "bob"])
        assert page.evaluate("told")[since:] == [["left", ["bob"]], ["joined", ["bob"]]]
        assert members(page, "room:a") == [["ann", 1], ["bob", 1]]


def test_a_client_is_a_member_over_server_sent_events(start: Start, visit: Visit, site: Site) -> None:
    gateway = f"{url(start())}/"
    watcher = Client(visit("bob"), site.blank, token=True, gateway=gateway)
    watcher.page.evaluate(WATCH, "room:a")
    client = Client(visit("ann"), site.blank, token=True, gateway=gateway).without_websockets()
    client.subscribe("user:ann").live()
    client.page.evaluate(WATCH, "room:a")
    for page in (client.page, watcher.page):
        eventually(lambda page=page: here(page) == ["ann", "bob"])
    assert members(client.page, "room:a") == [["ann", 1], ["bob", 1]]
    assert members(client.page, "user:ann") == []
    client.subscribe("user:ann", presence=True)  # has it ask anew, as another channel does
    eventually(lambda: members(client.page, "user:ann") == [["ann", 1]])
    client.subscribe("room:b")
    watcher.page.evaluate("fanout.publish('room:a', 'hello')")
    client.has("room:a", ["hello"])
    assert members(client.page, "room:b") == []
    client.unsubscribe("room:a")
    eventually(lambda: here(watcher.page) == ["bob"])
    told = watcher.page.evaluate("told")
    assert [entry for entry in told if entry[1] == ["ann"]] == [["joined", ["ann"]], ["left", ["ann"]]]
    assert client.log("error") == client.log("refused") == watcher.log("refused") == []


def test_what_a_newer_event_has_told_is_left_out_of_one_that_comes_late(page: Page, fake: FakeGateway) -> None:
    client = Client(page, fake.url).subscribe("a").live()
    page.evaluate(
        """() => void fanout.subscribe("a", () => {},
          { onPresence: ({ type, data: { members = [], count } }) => log.push(["presence", type, members, count]) })"""
    )
    eventually(lambda: {"subscribe": "a.presence"} in fake.frames[0])
    for type_, version, count, names in (
        ("joined", 1_000_005, 2, ["ann", "bob"]),
        ("left", 1_000_009, 1, ["bob"]),
        ("joined", 1_000_007, 3, ["bob", "cid"]),
        ("joined", 1_000_006, 3, ["bob"]),
        ("vacated", 1_000_020, 0, None),
        ("occupied", 1_000_019, 1, None),
        ("joined", 1_000_021, 1, ["bob"]),
        ("left", 1_000_021 - 61_000_000, 0, ["bob"]),  # the server's clock was put back
    ):
        fake.publish("a.presence", {"version": version, "count": count} | ({"members": names} if names else {}), type_)
    fake.publish("a", "end")
    client.has("a", ["end"])
    assert client.log("presence") == [
        ["joined", ["ann", "bob"], 2],
        ["left", ["bob"], 1],
        ["joined", ["cid"], 1],
        ["vacated", [], 0],
        ["joined", ["bob"], 1],
        ["left", ["bob"], 0],
    ]


def test_in_the_example_chat_two_talk_and_see_each_other_come_and_go(start: Start, visit: Visit, site: Site) -> None:
    site.use(f"{url(start())}/", login=True)
    ann, bob = visit("ann"), visit("bob")
    for page, who in ((ann, "ann"), (bob, "bob")):
        look(page, f"{site.url}/chat.html")
        page.get_by_label("Your name").fill(who)
        page.get_by_label("Room").fill("kitchen")
        page.get_by_role("button", name="Enter").click()
        expect(page.locator("#state")).to_have_text("live")
    for page in (ann, bob):
        expect(page.locator("#members")).to_have_text("Here: ann, bob")
    ann.get_by_label("Message").fill("Who has <b>milk</b>?")
    ann.get_by_role("button", name="Send").click()
    expect(bob.locator("#list li")).to_have_text([re.compile("ann.*Who has <b>milk</b>\\?")])
    bob.get_by_label("Message").fill("Me.")
    bob.get_by_label("Message").press("Enter")
    for page in (ann, bob):
        expect(page.locator("#list li")).to_have_text([re.compile("milk"), re.compile("bob.*Me\\.")])
    bob.close()
    expect(ann.locator("#members")).to_have_text("Here: ann")
    expect(ann.locator("#list li")).to_have_count(2)
