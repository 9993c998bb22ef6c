"""The browser client, fanout.js: against the gateway, and against one that asks for tokens and misbehaves."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page

from run.loopback import free_port
from support.fake_gateway import FakeGateway, fake_gateway
from support.gateways import post
from support.proxy import Proxy
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

OPEN = """async ([url, token]) => {
  const { Fanout } = await import(`${url}fanout.js`);
  window.log = [];
  window.ends = {};
  const asked = async () => (await fetch("/token")).text();
  window.fanout = new Fanout(url, { token: token === true ? asked : token ?? undefined });
  fanout.onstate = (state) => log.push(["state", state]);
  fanout.onerror = (error) => log.push(["error", error.message]);
}"""
SUBSCRIBE = """([name, options]) => {
  ends[name] = fanout.subscribe(name, (message) => log.push(["message", name, message.data]), {
    onGone: (gone) => log.push(["gone", name, gone.exact]),
    onError: (error) => log.push(["refused", name, error.message, error.retrying]),
    ...options,
  });
}"""


class Client:
    """A page with the client on it, and what its callbacks were called with."""

    def __init__(self, page: Page, url: str, token: object = None) -> None:
        self.page = page
        eventually(lambda: self._load(url, token))

    def _load(self, url: str, token: object) -> bool:
        """Whether it is loaded: Chromium breaks off when any network interface of the machine comes or goes."""
        try:
            self.page.goto(url)
            self.page.evaluate(OPEN, [url.removesuffix("healthz"), token])
        except Error as error:
            if "ERR_NETWORK_CHANGED" in str(error) or "dynamically imported" in str(error):
                return False
            raise
        return True

    def subscribe(self, *names: str, **options: object) -> "Client":
        for name in names:
            self.page.evaluate(SUBSCRIBE, [name, options])
        return self

    def unsubscribe(self, name: str) -> None:
        self.page.evaluate("name => ends[name]()", name)

    def log(self, kind: str) -> list[Any]:
        return [entry[1:] for entry in self.page.evaluate("log") if entry[0] == kind]

    def data(self, name: str) -> list[Any]:
        return [data for channel, data in self.log("message") if channel == name]

    def live(self) -> "Client":
        eventually(lambda: self.page.evaluate("fanout.state") == "live")
        return self

    def has(self, name: str, data: list[Any], within: float = 30) -> None:
        """Waits for exactly these."""
        eventually(lambda: len(self.data(name)) >= len(data), within)
        assert self.data(name) == data


Connect = Callable[..., Client]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    page.close()
    assert wrong == []


@pytest.fixture
def fake(browser: Browser) -> Iterator[FakeGateway]:
    with fake_gateway() as gateway:
        yield gateway


@pytest.fixture
def server(browser: Browser, tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path).start()
    yield server
    server.stop()


class Real:
    """A gateway at a port of its own, that can be stopped and started, behind a proxy that can be cut."""

    def __init__(self, server: RedisServer) -> None:
        self._server, self._port = server, free_port(0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._proxy = Proxy(self._port)
        self.url = f"http://127.0.0.1:{self._run(self._proxy.start())}/"
        self.start()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def start(self) -> None:
        self.service = Service("gateway", REDIS_URL=self._server.url, HTTP_PORT=self._port)
        self.service.wait_for("started")

    def stop(self) -> None:
        self.service.stop()
        self.service.process.stdout.close()  # type: ignore[union-attr]

    def cut(self) -> None:
        async def cut() -> None:
            self._proxy.cut()

        self._run(cut())

    def close(self) -> None:
        self.stop()
        self._run(self._proxy.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


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
        # Where they begin is known once something has come, or a place in the history was told.
        eventually(lambda: send("a") or client.data("a"))
        client.has("a", sent["a"][-len(client.data("a")) :])
        for round_ in range(6):
            for _ in range(5):
                send("a")
                send("b")
            if round_ % 3 == 2:
                real.stop()
                send("a")
                send("b")
                real.start()
            else:
                real.cut()
            send("b")
        client.has("b", sent["b"])
        client.has("a", sent["a"][-len(client.data("a")) :])
        assert client.data("a")[-1] == sent["a"][-1]
    finally:
        publisher.stop()
        publisher.process.stdout.close()  # type: ignore[union-attr]
