"""Which channels may be opened, and which is closed for another."""

import tracemalloc

import pytest

from fanout._event.encode import TEXT
from fanout._publish.replay_ring import RING_AGE
from fanout._publish.send_queue import CLOSE_AFTER, SendQueue
from fanout.environment import Environment
from fanout.errors import ChannelNotAllowed, SettingError, TooManyChannels
from fanout.settings import HistorySettings
from publisher.settings import read


def buffer(most: int = 3, *allowed: str) -> SendQueue:
    history = HistorySettings(
        size=1000, ttl=60.0, fsync=False, plain=False, max_channels=most, channels_allowed=allowed or ("*",)
    )
    return SendQueue(65536, history)


def publish(some: SendQueue, channel: str, now: float = 0.0) -> None:
    """Has an event accepted."""
    some.extend(channel, ["x"], TEXT)
    taken = some.take(100, 10**6, 4)
    assert taken
    taken.producer.accept(taken)
    some.done(taken.events)
    some.ring.keep(taken, now)
    taken.producer.accepted = taken.last_seq


async def test_one_more_channel_than_allowed_is_opened_only_when_another_is_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fanout._publish.send_queue.LOOK_AGAIN", 0.0)
    some = buffer()
    some.extend("busy", ["waits"], TEXT)
    some.take(100, 10**6, 4)
    for name in ("b", "c"):
        publish(some, name, now=5.0)
    with pytest.raises(TooManyChannels, match="3 channels are open, and MAX_CHANNELS allows no more"):
        some.extend("d", ["x"], TEXT)
    publish(some, "b", now=5.0 + CLOSE_AFTER)
    before = some.producers["c"]
    publish(some, "d", now=5.0 + CLOSE_AFTER)
    assert set(some.producers) == {"busy", "b", "d"}
    assert list(some.closed) == [("c", before.name)]
    assert some.producers["d"].name != before.name
    assert not before.accepted_batches
    with pytest.raises(TooManyChannels):
        some.extend("e", ["x"], TEXT)


async def test_the_ring_of_very_many_channels_does_not_lift_the_limit() -> None:
    some = buffer(20)
    for n in range(200):
        try:
            publish(some, f"c{n}")
        except TooManyChannels:
            continue
    assert len(some.producers) == 20


async def test_a_publishers_own_channel_stays_open_however_many_others_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fanout._publish.send_queue.LOOK_AGAIN", 0.0)
    some = buffer(1)
    some.open("own")
    for n in range(5):
        some.ring.forget(now=n * (CLOSE_AFTER + 1))
        publish(some, f"c{n}", now=n * (CLOSE_AFTER + 1))
    assert set(some.producers) == {"own", "c4"}
    publish(some, "own")


async def test_a_channel_that_never_had_an_event_leaves_nothing_to_expire() -> None:
    some = buffer(1)
    with pytest.raises(ValueError, match="MAX_EVENT"):
        some.extend("a", ["x" * 70_000], TEXT)
    publish(some, "b")
    assert not some.closed


async def test_only_channels_that_are_allowed_are_opened() -> None:
    some = buffer(10, "news", "user.*", "t[12]")
    for name in ("news", "user.1", "user.", "t2"):
        some.extend(name, ["x"], TEXT)
    for name in ("News", "news2", "user", "t3"):
        with pytest.raises(ChannelNotAllowed, match=f"CHANNELS_ALLOWED does not include the channel {name}"):
            some.extend(name, ["x"], TEXT)


def test_the_publishers_own_channel_must_be_allowed() -> None:
    assert read(Environment({"CHANNELS_ALLOWED": "news.*", "CHANNEL": "news.a", "INSTANCE": "p"})).channel == "news.a"
    with pytest.raises(SettingError, match="CHANNEL is 'notifications', but must be one of CHANNELS_ALLOWED"):
        read(Environment({"CHANNELS_ALLOWED": "news.*", "INSTANCE": "p"}))


async def test_a_channel_that_is_idle_takes_little_memory() -> None:
    some, count = buffer(1000), 1000
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for n in range(count):
            publish(some, f"c{n}")
        some.ring.forget(now=RING_AGE + 1)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(some.producers) == count
    assert (after - before) / count < 600
