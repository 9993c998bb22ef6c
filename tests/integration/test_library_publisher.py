"""fanout.Publisher, as somebody's program uses it."""

import asyncio
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

import fanout
from fanout import Accepted, FanoutError, NotAccepted, Publisher, RefusedByRedis, SettingError, Subscription
from fanout.environment import Environment
from fanout.settings import read_history, read_settings
from support import entries, library
from support.redis_server import RedisServer

WRONG = "redis://:wrong@127.0.0.1:{}/0"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, "--requirepass", "right").start()
    yield server
    server.stop()


def history_of(server: RedisServer, channel: str) -> int:
    return entries.streamseq(server.client(), channel)


def test_every_public_name_is_there_and_no_other() -> None:
    assert all(hasattr(fanout, name) for name in fanout.__all__)
    assert fanout.__all__ == sorted(fanout.__all__)
    assert {"Publisher", "Subscription", "Message", "Accepted", "StartFrom", "Settings", "__version__"} < {
        *fanout.__all__
    }


def test_all_errors_have_one_root() -> None:
    errors = [
        one for name in fanout.__all__ if isinstance(one := getattr(fanout, name), type) and issubclass(one, Exception)
    ]
    assert len(errors) >= 11
    assert all(issubclass(error, FanoutError) for error in errors)


def test_the_program_of_the_readme_runs_as_it_stands_and_prints_nothing_else(server: RedisServer) -> None:
    ran = library.run("-c", library.readme_program(server.url))
    assert (ran.stdout, library.errors(ran.stderr)) == (library.PRINTS, "")


async def test_it_publishes_by_address_and_options(server: RedisServer) -> None:
    async with Publisher(server.url, history_size=0, instance="shop") as publisher:
        accepted = await publisher.publish("orders", {"id": 42})
        names = {client["name"] for client in server.client().client_list()}
    assert isinstance(accepted, Accepted)
    assert accepted.id == "1"
    assert "shop" in names
    assert not server.client().exists("fanout:{orders}:history")


async def test_it_publishes_with_the_settings_of_the_environment(server: RedisServer) -> None:
    async with Publisher.from_environment({"REDIS_URL": server.url, "HISTORY_SIZE": "0"}) as publisher:
        assert (await publisher.publish("orders", 1)).streamid is None


async def test_it_publishes_with_settings_that_were_read_before(server: RedisServer) -> None:
    env = Environment({"REDIS_URL": server.url})
    async with Publisher(read_settings(env), history=read_history(env)) as publisher:
        assert (await publisher.publish("orders", 1)).streamid


async def test_text_bytes_and_json_arrive_as_what_they_were(server: RedisServer) -> None:
    sent = ["text", b"\xff\x00", {"id": 42, "tags": ["a"]}, 3.5, None, True, date(2026, 1, 1), "<p>"]
    async with Publisher(server.url) as publisher:
        for data in sent[:-1]:
            await publisher.publish("orders", data)
        await publisher.publish("orders", sent[-1], datacontenttype="text/html")
    async with Subscription(server.url, "orders", start_from="earliest") as messages:
        got = [await anext(messages) for _ in sent]
    assert [message.data for message in got] == [*sent[:-2], "2026-01-01", "<p>"]
    json = "application/json"
    types = ["text/plain", "application/octet-stream", json, json, json, json, json, "text/html"]
    assert [message.datacontenttype for message in got] == types


async def test_a_wrong_password_is_raised_out_of_publish_at_once(guarded: RedisServer) -> None:
    async with asyncio.timeout(1):
        with pytest.raises(RefusedByRedis, match="^Redis refuses: .*password"):
            async with Publisher(WRONG.format(guarded.port)) as publisher:
                with pytest.raises(RefusedByRedis):
                    await publisher.publish("orders", 1)
                with pytest.raises(RefusedByRedis):
                    publisher.enqueue("orders", 1)
                with pytest.raises(RefusedByRedis):
                    await publisher.room()
                with pytest.raises(RefusedByRedis):
                    await publisher.publish_all("orders", [1, 2])
                await publisher.flush()


async def test_a_wrong_password_is_raised_out_of_the_block_where_nothing_waited(server: RedisServer) -> None:
    async with asyncio.timeout(1):
        with pytest.raises(RefusedByRedis):
            async with Publisher(WRONG.format(server.port)) as publisher:
                await asyncio.wait([publisher.task])


@pytest.mark.parametrize("sent_before", [0, 1], ids=["never connected", "connection lost"])
async def test_what_timed_out_is_never_sent(server: RedisServer, sent_before: int) -> None:
    if not sent_before:
        server.kill()
    async with Publisher(server.url) as publisher:
        if sent_before:
            await publisher.publish("orders", "before")
            server.kill()
            while publisher.statistics().state == "live":
                await asyncio.sleep(0)
        with pytest.raises(TimeoutError, match="not accepted the event within 0.2 s: it will not be sent"):
            await publisher.publish("orders", "late", timeout=0.2)
        server.start()
        await publisher.publish("orders", "after")
    async with Subscription(server.url, "orders", start_from="earliest") as messages:
        got = [(await anext(messages)).data for _ in range(history_of(server, "orders"))]
    assert got == ["before", "after"][1 - sent_before :]


async def test_what_was_under_way_when_the_time_was_over_may_be_published(server: RedisServer) -> None:
    async with Publisher(server.url, dead_after=60) as publisher:
        await publisher.publish("orders", 1)
        server.client().client_pause(400, all=True)
        with pytest.raises(NotAccepted, match="may be published or not"):
            await publisher.publish("orders", 2, timeout=0.1)


async def test_a_full_queue_times_out_too(server: RedisServer) -> None:
    server.kill()
    async with Publisher(server.url) as publisher:
        await publisher.put_all("orders", range(100_000))
        assert publisher.full
        with pytest.raises(TimeoutError, match="the queue was full for 0.1 s: the event is not sent"):
            await publisher.publish("orders", "late", timeout=0.1)
        server.start()
        await publisher.flush()


async def test_an_idempotency_key_publishes_once(server: RedisServer) -> None:
    async with Publisher(server.url) as publisher:
        first = await publisher.publish("orders", {"id": 1}, key="a")
        assert await publisher.publish("orders", {"id": 1}, key="a") == first
        with pytest.raises(fanout.KeyReused):
            await publisher.publish("orders", {"id": 2}, key="a")
    assert history_of(server, "orders") == 1


def test_an_option_that_does_not_exist_is_named() -> None:
    with pytest.raises(TypeError, match="unknown option 'histroy_size'; the options are backoff_cap, "):
        Publisher("redis://localhost", histroy_size=0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"history_size": -1}, "HISTORY_SIZE is '-1', but must be a whole number from 0 to "),
        ({"durability": "disk"}, "DURABILITY is 'disk', but must be one of memory, fsync"),
        ({"shutdown_grace": "soon"}, "SHUTDOWN_GRACE is 'soon', but must be a duration "),
        ({"redis_url": "http://localhost"}, "REDIS_URL has another scheme, but must be redis://"),
    ],
)
def test_an_option_that_is_not_allowed_is_named_with_what_is(options: dict[str, object], says: str) -> None:
    with pytest.raises(SettingError) as caught:
        Publisher(**options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(says)


async def test_outside_its_block_it_says_how_it_is_used() -> None:
    publisher = Publisher()
    for use in (publisher.enqueue, publisher.publish, publisher.publish_all):
        with pytest.raises(RuntimeError, match="async with Publisher"):
            await use("orders", [1])  # type: ignore[operator]
    with pytest.raises(RuntimeError, match="async with Publisher"):
        await publisher.publish("orders", 1, timeout=1)


FORKS = """
import asyncio, os, sys
from fanout import Publisher, Subscription
publisher = Publisher(sys.argv[1])
messages = Subscription(sys.argv[1], "orders")
child = os.fork()
async def main():
    async with publisher:
        await publisher.publish("orders", 1)
asyncio.run(main())
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    try:
        asyncio.run(messages.__aenter__())
    except RuntimeError as error:
        print(error, flush=True)
"""


async def test_processes_that_forked_before_they_entered_the_block_are_two_publishers(server: RedisServer) -> None:
    ran = library.run("-c", FORKS, server.url)
    assert ran.stdout == "a subscription is used in the process that made it: make it after the fork\n"
    assert (ran.returncode, library.errors(ran.stderr)) == (0, "")
    assert history_of(server, "orders") == 2


async def test_after_its_block_nothing_is_accepted(server: RedisServer) -> None:
    async with Publisher(server.url) as publisher:
        pass
    with pytest.raises(NotAccepted, match="the publisher has ended"):
        await publisher.publish("orders", 1)


async def test_statistics_count_what_became_of_events(server: RedisServer) -> None:
    async with Publisher(server.url) as publisher:
        assert publisher.statistics().state == "connecting"
        await publisher.publish_all("orders", range(10))
        now = publisher.statistics()
    assert (now.state, now.accepted, now.waiting, now.failed, now.reconnects) == ("live", 10, 0, 0, 0)
