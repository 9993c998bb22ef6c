"""What became of events: told to who waits, counted, and logged."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from fanout._event.encode import Event, encode
from fanout._publish.batch import Accepted, Pending
from fanout._publish.producer import Producer
from fanout._publish.replay_ring import ReplayRing
from fanout._publish.send_queue import reject
from fanout._publish.tally import Tally
from fanout.errors import ChannelRefused, KeyReused, NotAccepted

LATER = RuntimeError("told twice")


@pytest.fixture
def log() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def producer(channel: str = "news") -> Producer:
    return Producer(channel, "p", f"/{channel}/p", ReplayRing(10**6))


def event(seq: int, data: str = "", future: asyncio.Future[Accepted] | None = None) -> Pending:
    wire = encode(Event("1.0", "notification", "/news/p", str(seq), "2026-01-01T00:00:00Z", None, data), 65536)
    return Pending(seq, wire, None, future)


def waited_for(count: int, first: int = 1) -> tuple[list[Pending], list[asyncio.Future[Accepted]]]:
    futures = [asyncio.get_running_loop().create_future() for _ in range(count)]
    return [event(first + n, future=future) for n, future in enumerate(futures)], futures


def placed(event: Pending) -> Accepted:
    return Accepted("/news/p", str(event.seq), f"5-{event.seq}")


async def test_who_waits_is_told_what_an_event_was_accepted_as() -> None:
    tally, one = Tally(0), producer()
    events, futures = waited_for(3)
    tally.accept(one, events, placed)
    assert [await future for future in futures] == [("/news/p", str(n), f"5-{n}") for n in (1, 2, 3)]
    assert (tally.accepted, set(tally.grown), one.accepted) == (3, {"news"}, 3)


async def test_who_has_stopped_waiting_ends_nothing_for_the_others() -> None:
    tally = Tally(0)
    events, futures = waited_for(3)
    futures[1].cancel()
    tally.accept(producer(), events, placed)
    assert [future.cancelled() for future in futures] == [False, True, False]
    assert futures[2].result().id == "3"


async def test_what_was_sent_again_after_a_rollback_was_accepted_once(log: list[Any]) -> None:
    tally, one = Tally(1.0), producer()
    tally.accept(one, [event(n) for n in (1, 2, 3)], placed)
    tally.accept(one, [event(n) for n in (2, 3)], placed)
    tally.accept(one, [event(n) for n in (3, 4)], placed)
    assert (tally.accepted, one.accepted) == (4, 4)
    assert [line["id"] for line in log] == ["1", "2", "3", "4"]


def test_nothing_accepted_makes_no_channel_active() -> None:
    tally = Tally(0)
    tally.accept(producer(), [], placed)
    assert (tally.accepted, set(tally.grown)) == (0, set())


def test_an_accepted_event_is_logged_with_its_place_and_data(log: list[Any]) -> None:
    one = producer()
    Tally(1.0).accept(one, [event(1, "hello")], placed)
    Tally(1.0).accept(one, [event(2, "x" * 3000)], one.accepted_as)
    assert log[0] == {
        "event": "message_published", "log_level": "info", "channel": "news", "source": "/news/p", "id": "1",
        "streamid": "5-1", "data": "hello",
    }  # fmt: skip
    assert "streamid" not in log[1]
    assert log[1]["data"] == "x" * 1000


@given(st.lists(st.integers(1, 7), max_size=12), st.sampled_from([1.0, 0.5, 1 / 3, 1 / 10]))
def test_how_events_are_cut_into_batches_does_not_change_which_are_logged(sizes: list[int], part: float) -> None:
    def logged(cut: list[int]) -> list[str]:
        tally, one, seq = Tally(part), producer(), 0
        with capture_logs() as lines:
            for size in cut:
                tally.accept(one, [event(seq + n) for n in range(1, size + 1)], placed)
                seq += size
        return [line["id"] for line in lines]

    one_by_one = logged([1] * sum(sizes))
    assert logged(sizes) == one_by_one
    assert len(one_by_one) == sum(sizes) // round(1 / part)


async def test_an_event_without_history_that_was_under_way_is_in_doubt_and_said_so(log: list[Any]) -> None:
    tally = Tally(0)
    [one], [future] = waited_for(1, first=7)
    tally.fail(producer(), one, "Connection reset")
    with pytest.raises(NotAccepted, match="Connection reset"):
        await future
    assert tally.failed == 1
    assert [(line["event"], line["id"], line["cause"]) for line in log] == [("publish_failed", "7", "Connection reset")]


async def test_a_key_that_was_used_for_other_data_is_told_with_what_that_became(log: list[Any]) -> None:
    [one], [future] = waited_for(1)
    Tally(1.0).reuse(one, Accepted("/news/other", "12", "5-1"))
    with pytest.raises(KeyReused, match="which became /news/other 12"):
        await future
    assert log == []


async def test_a_channel_is_said_to_be_refused_once_and_everybody_who_waits_is_told(log: list[Any]) -> None:
    tally, one = Tally(0), producer()
    events, futures = waited_for(2)
    tally.refuse(one, events, "no permission")
    tally.refuse(one, [event(3), event(4)], "no permission")  # nobody waits for these: only the count tells
    for future in futures:
        with pytest.raises(ChannelRefused, match="Redis refuses the channel news: no permission"):
            await future
    assert [(line["event"], line["channel"], line["reason"]) for line in log] == [
        ("channel_refused", "news", "no permission")
    ]
    assert (tally.failed, tally.gone, tally.refused) == (2, 0, {"news": "no permission"})


def test_what_was_accepted_before_and_is_refused_when_sent_again_is_gone(log: list[Any]) -> None:
    tally, one = Tally(0), producer()
    one.accepted = 3
    tally.refuse(one, [event(n) for n in range(2, 6)], "no permission")
    assert (tally.gone, tally.failed) == (2, 2)
    assert [(line["event"], line.get("count")) for line in log] == [("channel_refused", None), ("events_gone", 2)]


def test_of_very_many_refused_channels_a_bounded_number_is_remembered(
    log: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout._publish.tally.REFUSED", 3)
    tally = Tally(0)
    for name in ("a", "b", "c", "a", "d", "a"):
        tally.refuse(producer(name), [event(1)], "no")
        assert len(tally.refused) <= 3
    assert [line["channel"] for line in log] == ["a", "b", "c", "d", "a"]


def test_what_redis_lost_is_counted_and_said_unless_it_is_nothing(log: list[Any]) -> None:
    tally, one = Tally(0), producer()
    for count in (0, 5, 0, 2):
        tally.replay(one, count)
        tally.lose(one, count)
    assert (tally.replayed, tally.gone) == (7, 7)
    assert [(line["event"], line["count"]) for line in log] == [
        ("replaying", 5), ("events_gone", 5), ("replaying", 2), ("events_gone", 2),
    ]  # fmt: skip


async def test_nobody_is_told_twice() -> None:
    [one, other], futures = waited_for(2)
    Tally(0).accept(producer(), [one], placed)
    reject(one, LATER)
    futures[1].cancel()
    reject(other, LATER)
    reject(event(3), LATER)
    assert futures[0].result().id == "1"
    assert futures[1].cancelled()
