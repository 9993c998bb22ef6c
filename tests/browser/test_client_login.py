"""The browser client with a login, against gateways: each user sees what is theirs, and a token that ends cuts nothing."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page

from support.client_page import Client
from support.gateways import request, url
from support.issuer import Issuer
from support.service import Service
from support.site import Site
from support.waiting import eventually

Start = Callable[..., Service]
Visit = Callable[[str], Page]
MISTIMED = "() => { const now = Date.now; Date.now = () => now() - 10_000 }"


def post(gateway: Service, token: str, channel: str, data: str) -> None:
    address = f"{url(gateway)}/channels/{channel}/messages"
    status, answer = request(address, data.encode(), Authorization=f"Bearer {token}")
    assert status == 202, answer


@contextmanager
def publishing(gateway: Service, token: str, channel: str) -> Iterator[list[str]]:
    """Publishes every few milliseconds while the block runs; what it yields is then everything that was."""
    sent: list[str] = []
    wrong: list[Exception] = []
    done = threading.Event()

    def publish() -> None:
        try:
            while not done.wait(0.004):
                post(gateway, token, channel, f"{len(sent)}")
                sent.append(f"{len(sent)}")
        except Exception as error:
            wrong.append(error)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield sent
    finally:
        done.set()
        thread.join()
    assert wrong == []


@pytest.fixture
def app(issuer: Issuer) -> str:
    """The token of who may publish to every user."""
    return issuer.token("app", [], ["user:*"])


@pytest.mark.parametrize("way", ["websocket", "sse"])
def test_each_user_sees_their_own_channel_and_no_other(
    start: Start, visit: Visit, site: Site, issuer: Issuer, app: str, way: str
) -> None:
    site.issue = lambda user: issuer.token(user, ["user:{sub}"], [])
    gateway = start()

    def client(user: str) -> Client:
        client = Client(visit(user), site.blank, token=True, gateway=f"{url(gateway)}/")
        if way == "sse":
            client.without_websockets()
        return client.subscribe(f"user:{user}").live()

    ann, bob = client("ann"), client("bob")
    ann.subscribe("user:bob")
    bob.subscribe("user:ann", "user:ann.presence", since="earliest")
    refusal = "the token does not permit to subscribe to the channel"
    eventually(lambda: len(ann.log("refused")) == 1 and len(bob.log("refused")) == 2)
    assert ann.log("refused") == [["user:bob", f"{refusal} user:bob", False]]
    assert sorted(bob.log("refused")) == [
        ["user:ann", f"{refusal} user:ann", False],
        ["user:ann.presence", f"{refusal} user:ann.presence", False],
    ]
    for n in range(5):
        post(gateway, app, "user:ann", f"for ann {n}")
        post(gateway, app, "user:bob", f"for bob {n}")
    ann.has("user:ann", [f"for ann {n}" for n in range(5)])
    bob.has("user:bob", [f"for bob {n}" for n in range(5)])
    assert {name for name, _ in ann.log("message")} == {"user:ann"}
    assert {name for name, _ in bob.log("message")} == {"user:bob"}
    assert bob.page.evaluate("fanout.presence('user:ann').catch(({ status }) => status)") == 403
    assert bob.page.evaluate("fanout.publish('user:ann', 1).catch(({ status }) => status)") == 403
    assert bob.page.evaluate("fanout.presence('user:bob').then(({ count }) => count)") == 0
    assert ann.log("error") == bob.log("error") == []


@pytest.mark.parametrize("way", ["renewed", "ended", "sse"])
def test_tokens_that_end_lose_double_and_reorder_nothing(
    start: Start, visit: Visit, site: Site, issuer: Issuer, app: str, way: str
) -> None:
    # The gateway takes a token for 10 s after its end. A page whose clock is as late renews one before that.
    lasts = -5 if way == "renewed" else -8
    site.issue = lambda user: issuer.token(user, ["user:{sub}"], [], lasts=lasts)
    gateway = start()
    client = Client(visit("ann"), site.blank, token=True, gateway=f"{url(gateway)}/")
    if way == "renewed":
        client.page.evaluate(MISTIMED)
    if way == "sse":
        client.without_websockets()
    client.subscribe("user:ann").live()
    before = client.log("state")
    with publishing(gateway, app, "user:ann") as sent:
        eventually(lambda: len(site.issued) >= 4)
    assert len(sent) > 100
    client.has("user:ann", sent)
    after = client.log("state")[len(before) :]
    assert after == [] if way == "renewed" else {state for (state,) in after} == {"connecting", "live"}
    assert client.log("error") == client.log("refused") == client.log("gone") == []
