"""The publisher as a program uses it: what it says became of its events, and when it makes who has many of them wait."""

import asyncio

from fanout._publish.batch import Accepted
from fanout._publish.publisher import CHUNK, Publisher
from fanout._publish.send_queue import BUFFER_EVENTS
from fanout.service.event_loop import EventLoop
from fanout.settings import HistorySettings
from support.in_process import settings
from support.redis_server import RedisServer


def publisher_to(port: int) -> Publisher:
    history = HistorySettings(size=1000, ttl=3600.0, fsync=False, plain=False)
    return Publisher(settings(port, "publisher"), history=history)


def test_each_event_is_told_its_place_in_the_history_also_beside_repeated_keys(server: RedisServer) -> None:
    async def publish() -> list[Accepted]:
        async with publisher_to(server.port) as publisher:
            first = await publisher.publish("news", "first", key="a")
            keys = ["b", None, "a", None, "b", None]
            found = [publisher.enqueue("news", "first" if key == "a" else key, key=key) for key in keys]
            return [first, *await asyncio.gather(*found)]

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        accepted = runner.run(publish())
    history = server.client().xrange("fanout:{news}:history")
    assert [fields[b"streamseq"] for _, fields in history] == [b"1", b"2", b"3", b"4", b"5"]
    streamids = [streamid.decode() for streamid, _ in history]
    first, second, third, fourth, fifth = streamids
    assert [one.streamid for one in accepted] == [first, second, third, first, fourth, second, fifth]
    assert [one.id for one in accepted] == ["1", "2", "3", "1", "5", "2", "7"]


async def test_who_puts_very_many_events_waits_while_the_buffer_is_full() -> None:
    publisher = publisher_to(1)
    putting = asyncio.create_task(publisher.put_all("news", (f"{n}" for n in range(2 * BUFFER_EVENTS))))
    while not publisher.full:
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert BUFFER_EVENTS <= publisher.statistics().waiting < BUFFER_EVENTS + CHUNK
    assert not putting.done()
    putting.cancel()
