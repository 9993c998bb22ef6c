"""Each program of services/fanout/examples does what it says."""

import asyncio
import importlib.util
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from fanout import Message, Subscription
from support import entries, library
from support.http_client import ask
from support.issuer import Issuer, private_pem
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

EXAMPLES = library.LIBRARY / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def published(server: RedisServer) -> list[object]:
    count = len(entries.retained(server.client(), "orders"))
    async with Subscription(server.url, "orders", start_from="earliest") as messages:
        return [(await anext(messages)).data for _ in range(count)]


@pytest.fixture(autouse=True)
def _address(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("REDIS_URL", server.url)
    yield


def publish(server: RedisServer, lines: str) -> str:
    return library.run(str(EXAMPLES / "publish.py"), "orders", stdin=lines, REDIS_URL=server.url).stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_publish_sends_subscribe_prints_and_goes_on_after_it(server: RedisServer, number: int) -> None:
    env = {"PYTHONPATH": str(library.LIBRARY), "REDIS_URL": server.url, "INSTANCE": "billing"}
    for first, second in (("a", "b"), ("c", "d")):
        if first == "c":
            publish(server, "c\nd\n")  # while nobody listens
        subscribe = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "subscribe.py"), "orders"],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert subscribe.stdout
        if first == "a":
            eventually(lambda: server.client().exists("fanout:{orders}:position:billing"))
            assert publish(server, "a\nb\n") == "published 2 events on orders\n"
        assert [subscribe.stdout.readline().split()[2] for _ in range(2)] == [first, second]
        subscribe.send_signal(number)
        rest, said = subscribe.communicate(timeout=30)
        assert (rest, library.errors(said)) == ("", "")
        assert subscribe.returncode == 0


@pytest.mark.parametrize("name", ["publish", "subscribe"])
def test_a_script_that_redis_refuses_ends_with_one_line(server: RedisServer, name: str) -> None:
    ran = library.run(str(EXAMPLES / f"{name}.py"), stdin="a\n", REDIS_URL=server.url.replace("//", "//:wrong@"))
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"{name}: Redis refuses: ")
    assert ran.stderr.count("\n") == 1


async def test_the_fastapi_app_publishes_within_its_lifespan(server: RedisServer) -> None:
    app = example("fastapi_app").app
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app")
    key = {"Idempotency-Key": "a"}
    async with app.router.lifespan_context(app), client:
        first = await client.post("/orders", json={"id": 42}, headers=key)
        again = await client.post("/orders", json={"id": 42}, headers=key)
        other = await client.post("/orders", json={"id": 43}, headers=key)
        assert (await client.post("/orders", json=[])).status_code == 422
    assert first.status_code == 202
    assert first.json()["id"] == "1"
    assert again.json() == first.json()
    assert other.status_code == 422
    assert await published(server) == [{"id": 42}]


async def test_the_app_that_issues_tokens_is_taken_at_its_word_by_a_gateway(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[..., Service]
) -> None:
    issuer = Issuer(tmp_path)
    (tmp_path / "private.pem").write_bytes(private_pem(issuer.key))
    monkeypatch.setenv("PRIVATE_KEY", str(tmp_path / "private.pem"))
    gateway = start("gateway", **issuer.settings)
    gateway.wait_for("connected")
    transport = httpx.ASGITransport(app=example("issue_tokens").app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        assert (await client.get("/token")).status_code == 401
        token = (await client.get("/token", headers={"X-Session": "ann"})).json()["token"]
        answer = await client.get("/authorize", headers={"X-Session": "ann"})
        assert answer.status_code == 204
    for bearer in (f"Bearer {token}", answer.headers["Authorization"]):
        status = [
            ask(gateway, "GET", f"/channels/user:{who}/events", Authorization=bearer).status for who in ("ann", "bob")
        ]
        assert status == [200, 403]
        assert ask(gateway, "POST", "/channels/chat/messages", b"x", Authorization=bearer).status == 202


def test_the_gateways_readme_shows_the_app_as_it_is() -> None:
    text = (library.LIBRARY.parent / "gateway/README.md").read_text()
    [shown] = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert shown in (EXAMPLES / "issue_tokens.py").read_text()


def test_the_flask_view_publishes_and_says_when_redis_is_away(server: RedisServer) -> None:
    view = example("flask_view")
    with view.publisher:
        client = view.app.test_client()
        answer = client.post("/orders", json={"id": 42})
        assert (answer.status_code, answer.json["id"]) == (202, "1")
        server.kill()
        late = client.post("/orders", json={"id": 43})
        assert (late.status_code, late.headers["Retry-After"]) == (503, "1")
        server.start()
        assert client.post("/orders", json={"id": 44}).status_code == 202
    assert asyncio.run(published(server)) == [{"id": 42}, {"id": 44}]


def test_the_handler_writes_an_order_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_FILE", str(tmp_path / "orders.jsonl"))
    handle = example("handler").handle
    for number in ("1", "2", "1"):
        handle(Message(source="/orders/a", id=number, data={"id": int(number)}))
    lines = [json.loads(line) for line in (tmp_path / "orders.jsonl").read_text().splitlines()]
    assert lines == [{"event": "/orders/a 1", "data": {"id": 1}}, {"event": "/orders/a 2", "data": {"id": 2}}]


def test_the_handler_is_one_that_the_subscriber_takes(server: RedisServer, tmp_path: Path) -> None:
    orders = tmp_path / "orders.jsonl"
    publish(server, "a\n")
    subscriber = subprocess.Popen(
        [sys.executable, "-m", "subscriber"],
        env={
            "PYTHONPATH": f"{library.LIBRARY}:{library.LIBRARY.parent / 'subscriber'}:{EXAMPLES}",
            "REDIS_URL": server.url, "CHANNELS": "orders", "START_FROM": "earliest", "INSTANCE": "s",
            "HANDLER": "handler:handle", "ORDERS_FILE": str(orders),
        },
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        line = eventually(lambda: orders.exists() and orders.read_text())
    finally:
        subscriber.terminate()
        subscriber.wait(timeout=30)
    assert json.loads(line)["data"] == "a"
