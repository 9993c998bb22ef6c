"""The user's source in the publisher: what it yields is published, and whatever it does ends nothing else."""

import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanout.errors import ExitCode
from support.gateways import url
from support.own_code import own_code
from support.posting import post
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
KINDS = pytest.mark.parametrize("kind", ["def", "async def"])
SAY = """
import asyncio, os, pathlib, sys, time
def say(event): print('{"event":"%s"}' % event, flush=True)
"""


@pytest.fixture
def publish(tmp_path: Path, start: Start) -> Callable[..., Service]:
    """Starts a publisher whose source `mine:events` is this code."""

    def begin(code: str, **settings: object) -> Service:
        given = {
            "SOURCE": "mine:events",
            "PYTHONPATH": own_code(tmp_path, SAY + code, "publisher"),
            "PUBLISH_INTERVAL": "0.05",
        } | settings
        return start("publisher", **given)

    return begin


def wait(kind: str, condition: str) -> str:
    pause = "time.sleep(0.01)" if kind == "def" else "await asyncio.sleep(0.01)"
    return f"while not {condition}: {pause}"


def published(publisher: Service) -> list[tuple[str, Any]]:
    return [(line["channel"], line["data"]) for line in publisher.events("message_published")]


def answers(publisher: Service) -> None:
    assert post(f"{url(publisher)}/channels/api/messages", "hello")[0] == 202


YIELDS = """    yield "text"
    yield {"a": [1]}
    yield ["a", "list"]
    yield "orders", 42
    yield None
"""
FORMS = {
    "def": f"def events():\n{YIELDS}",
    "async def": f"async def events():\n{YIELDS}",
    "class": "class events:\n  def __iter__(self):\n" + YIELDS.replace("    ", "      "),
    "async class": "class events:\n  async def __aiter__(self):\n" + YIELDS.replace("    ", "      "),
    "a list": "def events(): return ['text', {'a': [1]}, ['a', 'list'], ('orders', 42), None]",
}


@pytest.mark.parametrize("form", FORMS)
def test_what_a_source_yields_is_published_in_place_of_the_greeting(publish: Callable[..., Service], form: str) -> None:
    publisher = publish(FORMS[form])
    assert publisher.wait_for("source_finished")[0]["count"] == 5
    n = "notifications"
    assert published(publisher) == [
        (n, "text"), (n, {"a": [1]}), (n, ["a", "list"]), ("orders", 42), (n, None),
    ]  # fmt: skip
    answers(publisher)
    assert publisher.stop() == ExitCode.OK
    assert publisher.lines[-1]["accepted"] == 6


@KINDS
def test_a_source_goes_on_when_redis_has_accepted_its_message(
    publish: Callable[..., Service], server: RedisServer, tmp_path: Path, kind: str
) -> None:
    go = tmp_path / "go"
    publisher = publish(f"""
{kind} events():
    {wait(kind, f"pathlib.Path({str(go)!r}).exists()")}
    say("made")
    yield "one"
    say("done")
""")
    publisher.wait_for("connected")
    server.signal(signal.SIGSTOP)
    go.touch()
    publisher.wait_for("made")
    assert not publisher.events("done")
    server.signal(signal.SIGCONT)
    publisher.wait_for("done")
    assert published(publisher) == [("notifications", "one")]


RAISES = {
    "ValueError": "raise ValueError('mine')",
    "sys.exit()": "sys.exit()",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "StopIteration": "raise StopIteration",
    "CancelledError": "raise asyncio.CancelledError",
    "cancel": "asyncio.current_task().cancel(); await asyncio.sleep(60)",
    "GeneratorExit": "raise GeneratorExit",
}


@pytest.mark.parametrize(
    ("kind", "what"),
    [(kind, what) for kind in ("def", "async def") for what in RAISES if (kind, what) != ("def", "cancel")],
)
def test_whatever_a_source_raises_is_logged_and_it_is_started_again(
    publish: Callable[..., Service], kind: str, what: str
) -> None:
    publisher = publish(f"""
lives = 0
{kind} events():
    global lives
    lives += 1
    yield lives
    if lives == 1: {RAISES[what]}
""")
    (failed,) = publisher.wait_for("source_failed")
    assert failed["again_in_s"] == 1
    assert "mine.py" in failed["exception"] or what == "cancel"
    answers(publisher)
    with urllib.request.urlopen(publisher.events("started")[0]["metrics"], timeout=5) as answer:
        assert b"fanout_source_failures_total 1.0" in answer.read()
    publisher.wait_for("source_finished")
    assert [data for channel, data in published(publisher) if channel == "notifications"] == [1, 2]
    assert publisher.stop() == ExitCode.OK
    assert len(publisher.events("source_failed")) == 1


def test_a_source_that_always_raises_is_started_again_after_ever_longer_waits(publish: Callable[..., Service]) -> None:
    publisher = publish("class events:\n  def __init__(self): 1 / 0")
    assert [line["again_in_s"] for line in publisher.wait_for("source_failed", 3)] == [1, 2, 4]
    assert publisher.stop() == ExitCode.OK


@KINDS
def test_sigterm_closes_a_source(publish: Callable[..., Service], kind: str) -> None:
    tidy = "await asyncio.sleep(0.01)" if kind == "async def" else "time.sleep(0.01)"
    publisher = publish(f"""
{kind} events():
    try:
        while True:
            yield "one"
            say("done")
            {tidy}
    finally:
        {tidy}
        say("closed")
""")
    publisher.wait_for("done", 3)
    assert publisher.stop() == ExitCode.OK
    assert publisher.events("closed")
    assert not publisher.events("source_failed") + publisher.events("source_not_closed")


def test_what_a_blocking_source_yields_after_sigterm_is_published(
    publish: Callable[..., Service], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    publisher = publish(f"""
def events():
    say("waits")
    {wait("def", f"pathlib.Path({str(go)!r}).exists()")}
    try: yield "late"
    finally: say("closed")
""")
    publisher.wait_for("waits")
    publisher.signal()
    publisher.wait_for("stopping")
    go.touch()
    assert publisher.ended() == ExitCode.OK
    assert published(publisher) == [("notifications", "late")]
    assert publisher.events("closed")


@KINDS
def test_sigterm_closes_a_source_whose_message_waits_for_redis(
    publish: Callable[..., Service], server: RedisServer, kind: str
) -> None:
    server.kill()
    publisher = publish(f"""
{kind} events():
    say("made")
    try: yield "one"
    finally: say("closed")
""", SHUTDOWN_GRACE=0.4)  # fmt: skip
    publisher.wait_for("made")
    assert publisher.stop() == ExitCode.UNDELIVERED
    assert publisher.events("closed")


def test_a_source_that_blocks_for_ever_holds_up_the_end_for_half_of_the_grace(publish: Callable[..., Service]) -> None:
    publisher = publish("def events():\n  yield 'one'\n  time.sleep(600)", SHUTDOWN_GRACE=2)
    publisher.wait_for("message_published")
    assert publisher.stop() == ExitCode.OK
    assert publisher.events("source_not_closed")[0]["waited_s"] == 1


@KINDS
def test_what_cannot_be_published_is_logged_and_the_next_follows(publish: Callable[..., Service], kind: str) -> None:
    publisher = publish(f"""
{kind} events():
    for item in [object(), float("nan"), ("a",), (1, 2), ("no,pe", 1), ("__secret", 1), "x" * 70000, "last"]: yield item
""", CHANNELS_ALLOWED="n*,a")  # fmt: skip
    publisher.wait_for("source_finished")
    refused = publisher.events("message_refused")
    assert len(refused) == 7
    assert "a tuple must be (channel, data)" in refused[2]["cause"]
    assert published(publisher) == [("notifications", "last")]
    answers_not = post(f"{url(publisher)}/channels/other/messages", "hello")[0]
    assert answers_not == 403


MISTAKES = {
    "no function": ("events = 5", "a function that yields messages"),
    "returns nothing": ("def events(): pass", "a function that yields messages (it returns NoneType)"),
    "returns text": ("def events(): return 'text'", "a function that yields messages (it returns str)"),
    "awaits": ("async def events(): return []", "a function that yields messages (it returns coroutine)"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_yields_nothing_ends_with_one_clear_line(publish: Callable[..., Service], mistake: str) -> None:
    code, expected = MISTAKES[mistake]
    publisher = publish(code)
    assert publisher.ended() == ExitCode.BAD_INPUT
    assert publisher.lines[-1]["reason"] == f"SOURCE is 'mine:events', but must be {expected}"
    assert not [line for line in publisher.lines if "exception" in line]


def test_a_source_beside_a_load_is_refused(publish: Callable[..., Service]) -> None:
    publisher = publish("def events(): yield 1", PUBLISH_RATE=10)
    assert publisher.ended() == ExitCode.BAD_INPUT
    assert "must be 0 while SOURCE is set" in publisher.lines[-1]["reason"]


def test_send_needs_no_source(publish: Callable[..., Service], start: Start) -> None:
    assert start("publisher", "send", "notifications", "hello", SOURCE="nowhere:events").ended() == ExitCode.OK


def test_the_example_runs(start: Start) -> None:
    publisher = start("publisher", SOURCE="sources.example:events")
    eventually(lambda: published(publisher)[:1] == [("notifications", {"number": 1})])
    assert publisher.stop() == ExitCode.OK
