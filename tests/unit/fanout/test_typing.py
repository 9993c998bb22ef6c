"""The types of the library's public face, as mypy --strict tells them to its users."""

import subprocess
import sys
from pathlib import Path

from support.library import LIBRARY

ROOT = Path(__file__).resolve().parents[3]

RIGHT = """
import asyncio
from collections.abc import Iterator
from typing import Any, assert_type

import fanout.blocking
from fanout import Accepted, Message, Publisher, PublisherStatistics, StartFrom, Subscription, SubscriptionStatistics
from fanout.testing import redis_server


async def publish() -> None:
    async with Publisher("redis://localhost", history_size=0, shutdown_grace="1s") as publisher:
        assert_type(publisher, Publisher)
        accepted = await publisher.publish("orders", {"id": 42}, timeout=2, key="a", datacontenttype="application/json")
        assert_type(accepted, Accepted)
        assert_type(accepted.id, str)
        assert_type(accepted.streamid, str | None)
        assert_type(publisher.enqueue("orders", b""), asyncio.Future[Accepted])
        assert_type(await publisher.publish_all("orders", range(3)), int)
        assert_type(publisher.statistics(), PublisherStatistics)
    assert_type(Publisher.from_environment({}), Publisher)


async def subscribe() -> None:
    start = StartFrom(earliest=False, age=600)
    async with Subscription("redis://localhost", ["a", "b"], name="billing", start_from=start) as messages:
        assert_type(messages, Subscription)
        assert_type(await messages.live(), None)
        async for message in messages:
            assert_type(message, Message)
            assert_type(message.data, Any)
            assert_type(message.channel, str)
            assert_type(message.streamid, str | None)
        assert_type(await anext(messages), Message)
        assert_type(messages.statistics(), SubscriptionStatistics)
    assert_type(Subscription.from_environment(name="billing"), Subscription)


def block() -> None:
    with fanout.blocking.Publisher("redis://localhost", durability="fsync") as publisher:
        assert_type(publisher, fanout.blocking.Publisher)
        assert_type(publisher.publish("orders", "text", timeout=1.5), Accepted)
        assert_type(publisher.publish_all("orders", ["a"]), int)
        assert_type(publisher.close(), None)
    with redis_server() as url:
        assert_type(url, str)
"""

WRONG = """
from fanout import Publisher, Subscription
from fanout.blocking import Publisher as Blocking


async def wrong(publisher: Publisher, blocking: Blocking) -> None:
    await publisher.publish("orders", 1, timeuot=2)
    await publisher.publish("orders", 1, timeout="2")
    blocking.publish("orders", 1, kye="a")
    Subscription("redis://localhost", 42)
    Publisher(6379)
"""


def mypy(tmp_path: Path, program: str) -> list[str]:
    file = tmp_path / "program.py"
    file.write_text(program)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--no-error-summary",
        "--follow-imports=silent",
        "--cache-dir",
    ]
    ran = subprocess.run(
        [*command, str(ROOT / ".mypy_cache/typing"), str(file)],
        env={"MYPYPATH": str(LIBRARY)}, check=False, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    return [line.removeprefix("program.py:") for line in (ran.stdout + ran.stderr).splitlines()]


def test_every_public_thing_has_the_type_that_its_user_expects(tmp_path: Path) -> None:
    assert mypy(tmp_path, RIGHT) == []


def test_a_mistake_in_an_argument_is_an_error(tmp_path: Path) -> None:
    found = mypy(tmp_path, WRONG)
    assert [line.partition(":")[0] for line in found if ": error:" in line] == ["7", "8", "9", "10", "11"]
