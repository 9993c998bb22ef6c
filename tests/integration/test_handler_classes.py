"""A class as the handler: what it sets up, where it is called, and how it ends."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from fanout.errors import ExitCode
from support.own_code import own_code
from support.sending import send
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
KINDS = pytest.mark.parametrize("kind", ["def", "async def"])
SAY = """
import asyncio, json, os, pathlib, sqlite3, sys, threading, time
def say(event, **fields): print(json.dumps({"event": event, "thread": threading.get_ident(), **fields}), flush=True)
"""


@pytest.fixture
def subscribe(tmp_path: Path, start: Start) -> Callable[..., Service]:
    """Starts a subscriber whose handler `mine:Mine` is this code."""

    def begin(code: str, **settings: object) -> Service:
        return start(
            "subscriber", **({"HANDLER": "mine:Mine", "PYTHONPATH": own_code(tmp_path, SAY + code)} | settings)
        )

    return begin


CLASS = """
class Mine:
    {0} {1}(self):
        say("begun")
        self.database = sqlite3.connect(":memory:")
        self.database.execute("CREATE TABLE seen (data)")
    {0} handle(self, message):
        self.database.execute("INSERT INTO seen VALUES (?)", [message.data])
        say("handled")
    {0} {2}(self, *given):
        say("ended", given=given, seen=[row[0] for row in self.database.execute("SELECT data FROM seen")])
"""
NAMES = {
    ("def", "setup", "teardown"): [],
    ("async def", "setup", "teardown"): [],
    ("def", "__enter__", "__exit__"): [None] * 3,
    ("async def", "__aenter__", "__aexit__"): [None] * 3,
}


@pytest.mark.parametrize("names", NAMES, ids=" ".join)
def test_a_class_is_set_up_once_called_in_one_thread_and_torn_down(
    subscribe: Callable[..., Service], start: Start, names: tuple[str, str, str]
) -> None:
    subscriber = subscribe(CLASS.format(*names))
    subscriber.wait_for("live")
    send(start, "one", "two")
    subscriber.wait_for("handled", 2)
    assert subscriber.stop() == ExitCode.OK
    said = [line for line in subscriber.lines if "thread" in line]
    assert [line["event"] for line in said] == ["begun", "handled", "handled", "ended"]
    assert len({line["thread"] for line in said}) == 1
    assert (said[-1]["seen"], said[-1]["given"]) == (["one", "two"], NAMES[names])
    assert subscriber.lines[-1]["handler_failures"] == 0


def test_a_class_needs_no_more_than_handle(subscribe: Callable[..., Service], start: Start) -> None:
    subscriber = subscribe("class Mine:\n  def handle(self, message): say(message.data)")
    subscriber.wait_for("live")
    send(start, "one")
    subscriber.wait_for("one")
    assert subscriber.stop() == ExitCode.OK


def test_an_async_class_may_set_up_without_waiting(subscribe: Callable[..., Service], start: Start) -> None:
    subscriber = subscribe("""
class Mine:
    def setup(self): say("begun")
    async def handle(self, message): say("handled")
    def teardown(self): say("ended")
""")
    subscriber.wait_for("live")
    send(start, "one")
    subscriber.wait_for("handled")
    assert subscriber.stop() == ExitCode.OK
    assert [line["event"] for line in subscriber.lines if "thread" in line] == ["begun", "handled", "ended"]


FAILS = {
    "raises": "raise ValueError('no database')",
    "ends": "sys.exit(3)",
    "stops": "raise StopIteration",
    "exits": "raise GeneratorExit",
    "is cancelled": "raise asyncio.CancelledError",
}


@KINDS
@pytest.mark.parametrize("how", FAILS)
def test_a_setup_that_fails_ends_with_one_clear_line(subscribe: Callable[..., Service], kind: str, how: str) -> None:
    subscriber = subscribe(f"""
class Mine:
    {kind} setup(self): {FAILS[how]}
    {kind} handle(self, message): pass
    {kind} teardown(self): say("ended")
""")
    assert subscriber.ended() == ExitCode.BAD_INPUT
    reason = subscriber.lines[-1]["reason"]
    assert reason.startswith("HANDLER is 'mine:Mine', but must be a handler whose setup succeeds (")
    if how == "raises":
        assert "(ValueError: no database, " in reason
        assert reason.endswith("/mine.py line 6)")
    assert not [line for line in subscriber.lines if "exception" in line or line["event"] in ("NO JSON", "ended")]


@KINDS
def test_a_teardown_that_raises_is_logged(subscribe: Callable[..., Service], kind: str) -> None:
    subscriber = subscribe(f"""
class Mine:
    {kind} handle(self, message): pass
    {kind} teardown(self): raise SystemExit(3)
""")
    subscriber.wait_for("live")
    assert subscriber.stop() == ExitCode.OK
    assert "SystemExit" in subscriber.events("teardown_failed")[0]["exception"]


@KINDS
def test_teardown_waits_for_the_message_in_hand(
    subscribe: Callable[..., Service], start: Start, tmp_path: Path, kind: str
) -> None:
    pause = "time.sleep(0.01)" if kind == "def" else "await asyncio.sleep(0.01)"
    subscriber = subscribe(f"""
class Mine:
    {kind} handle(self, message):
        say("begun")
        while not pathlib.Path({str(tmp_path / "go")!r}).exists(): {pause}
        say("handled")
    {kind} teardown(self): say("ended")
""")
    subscriber.wait_for("live")
    send(start, "one", "two")
    subscriber.wait_for("begun")
    subscriber.signal()
    subscriber.wait_for("stopping")
    (tmp_path / "go").touch()
    assert subscriber.ended() == ExitCode.OK
    assert [line["event"] for line in subscriber.lines if "thread" in line] == ["begun", "handled", "ended"]


@KINDS
@pytest.mark.parametrize("where", ["handle", "teardown"])
def test_what_blocks_for_ever_holds_up_the_end_for_the_grace_alone(
    subscribe: Callable[..., Service], start: Start, kind: str, where: str
) -> None:
    block = "time.sleep(600)" if kind == "def" else "await asyncio.sleep(600)"
    subscriber = subscribe(
        f"""
class Mine:
    {kind} handle(self, message):
        say("begun")
        if {where == "handle"}: {block}
    {kind} teardown(self): {block}
""",
        SHUTDOWN_GRACE=0.5,
    )
    subscriber.wait_for("live")
    send(start, "one")
    subscriber.wait_for("begun")
    assert subscriber.stop() == ExitCode.OK


def test_teardown_also_where_another_takes_the_name(subscribe: Callable[..., Service], start: Start) -> None:
    code = "class Mine:\n  def handle(self, message): pass\n  def teardown(self): say('ended')"
    first = subscribe(code, INSTANCE="same")
    first.wait_for("live")
    start("subscriber", INSTANCE="same").wait_for("live")
    send(start, "one")
    assert first.ended() == ExitCode.NAME_TAKEN
    assert first.events("ended")


MISTAKES = {
    "no handle": ("class Mine: pass", "module:function; 'Mine' has no method handle(message)"),
    "no function": ("Mine = 5", "module:function; 'Mine' is not a function"),
    "async setup": (
        "class Mine:\n  async def setup(self): pass\n  def handle(self, message): pass",
        "a class whose handle is async, as its setup is, or neither",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_is_no_handler_ends_with_one_clear_line(subscribe: Callable[..., Service], mistake: str) -> None:
    code, expected = MISTAKES[mistake]
    subscriber = subscribe(code)
    assert subscriber.ended() == ExitCode.BAD_INPUT
    assert expected in subscriber.lines[-1]["reason"]


def test_the_archive_keeps_all_messages_in_sqlite(start: Start, tmp_path: Path) -> None:
    subscriber = start("subscriber", HANDLER="handlers.archive:Archive", DATA_DIR=tmp_path, INSTANCE="s")
    subscriber.wait_for("live")
    send(start, "one", "two")
    eventually(lambda: len(subscriber.data()) == 2)
    assert subscriber.stop() == ExitCode.OK
    assert subscriber.lines[-1]["handler_failures"] == 0
    with sqlite3.connect(tmp_path / "s.db") as database:
        rows = database.execute("SELECT channel, id, data FROM messages").fetchall()
    database.close()
    assert rows == [("notifications", "1", json.dumps("one")), ("notifications", "2", json.dumps("two"))]
