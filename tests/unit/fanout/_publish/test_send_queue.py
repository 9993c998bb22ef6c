"""The publisher's buffer: events get their numbers, and wait in turn."""

import asyncio
import json
from typing import Any

import pytest

from fanout._event.encode import JSON, TEXT
from fanout._publish.batch import Accepted, Batch
from fanout._publish.send_queue import SendQueue
from fanout.errors import EventTooLarge
from fanout.settings import HistorySettings

ALL = (10**6, 10**9, 4)


def queue(**history: Any) -> SendQueue:
    return SendQueue(65536, HistorySettings(**history))


def taken(batch: Batch | None) -> tuple[str, list[int]] | None:
    return batch and (batch.producer.channel, [event.seq for event in batch.events])


def wires(batch: Batch | None) -> list[dict[str, Any]]:
    assert batch
    return [json.loads(event.wire) for event in batch.events]


def future() -> asyncio.Future[Accepted]:
    return asyncio.get_running_loop().create_future()


async def test_events_are_numbered_by_channel_under_one_producer() -> None:
    some = queue()
    some.extend("a", ["one", "two"], TEXT)
    some.extend("b/c", [{"n": 1}], JSON, traceparent="00-1-2-01")
    some.extend("a", ["three"], None)
    name = some.producer_name
    of_a, of_b = wires(some.take(*ALL)), wires(some.take(*ALL))
    assert [(one["source"], one["id"], one["data"]) for one in of_a] == [
        (f"/a/{name}", "1", "one"), (f"/a/{name}", "2", "two"), (f"/a/{name}", "3", "three"),
    ]  # fmt: skip
    assert [(one["source"], one["id"], one["data"], one["traceparent"]) for one in of_b] == [
        (f"/b%2Fc/{name}", "1", {"n": 1}, "00-1-2-01")
    ]
    assert {one["datacontenttype"] for one in of_a} == {"text/plain"}
    assert queue().producer_name != name


async def test_channels_are_served_in_turn() -> None:
    some = queue()
    for channel in ("a", "b", "c"):
        some.extend(channel, ["x"] * 5, TEXT)
    assert [taken(some.take(2, 10**9, 4)) for _ in range(10)] == [
        ("a", [1, 2]), ("b", [1, 2]), ("c", [1, 2]), ("a", [3, 4]), ("b", [3, 4]), ("c", [3, 4]),
        ("a", [5]), ("b", [5]), ("c", [5]), None,
    ]  # fmt: skip


async def test_a_batch_is_bounded_in_bytes_but_has_one_event_at_least() -> None:
    some = queue()
    some.extend("a", ["x" * 1000] * 4, TEXT)
    assert taken(some.take(100, 2500, 4)) == ("a", [1, 2])
    assert taken(some.take(100, 1, 4)) == ("a", [3])
    assert taken(some.take(100, 10**6, 4)) == ("a", [4])


async def test_plain_text_has_no_envelope() -> None:
    some = queue(size=0, plain=True)
    some.extend("a", ["hello", b"\xff", {"n": 1}], None)
    batch = some.take(*ALL)
    assert batch
    assert [event.wire for event in batch.events] == [b"hello", b"\xff", b'{"n":1}']


async def test_events_within_a_moment_have_one_time_and_a_clock_that_steps_back_is_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1_800_000_000.0]
    monkeypatch.setattr("fanout._publish.send_queue.time.time", lambda: now[0])
    some = queue()
    for seconds in (0, 10e-6, 30e-6, -3600):
        now[0] = 1_800_000_000.0 + seconds
        some.extend("a", ["x"], TEXT)
    assert [one["time"][11:] for one in wires(some.take(*ALL))] == [
        "08:00:00.000000Z", "08:00:00.000000Z", "08:00:00.000030Z", "07:00:00.000000Z",
    ]  # fmt: skip


async def test_the_events_before_one_that_cannot_be_published_are_added_and_numbers_go_on() -> None:
    some = queue()
    with pytest.raises(EventTooLarge, match="MAX_EVENT"):
        some.extend("a", ["one", "two", "x" * 70_000, "never"], TEXT)
    assert some.waiting == 2
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        some.extend("a", ["\ud800"], TEXT)
    some.extend("a", ["three"], TEXT)
    assert [(one["id"], one["data"]) for one in wires(some.take(*ALL))] == [("1", "one"), ("2", "two"), ("3", "three")]


@pytest.mark.parametrize("channel", ["", "a,b", "a{b", "a\n", "x" * 256])
async def test_a_channel_that_cannot_be_leaves_nothing_behind(channel: str) -> None:
    some = queue()
    with pytest.raises(ValueError, match="a channel name is 1 to 255 bytes"):
        some.extend(channel, ["x"], TEXT)
    assert (some.waiting, some.producers, some.take(*ALL)) == (0, {}, None)


async def test_an_event_that_was_not_sent_can_be_taken_out_and_is_not_counted_any_more() -> None:
    some, first, second = queue(), future(), future()
    some.extend("a", ["one"], TEXT, future=first)
    some.extend("a", ["two"], TEXT, future=second)
    assert not some.withdraw("b", first)
    assert not some.withdraw("a", future())
    assert some.withdraw("a", first)
    assert not some.withdraw("a", first)
    assert some.waiting == 1
    assert taken(some.take(*ALL)) == ("a", [2])
    assert not some.withdraw("a", second)
    assert some.waiting == 1


async def test_a_channel_of_which_everything_was_taken_out_is_passed_over() -> None:
    some, only = queue(), future()
    some.extend("a", ["x"], TEXT, future=only)
    some.extend("b", ["y"], TEXT)
    some.withdraw("a", only)
    assert taken(some.take(*ALL)) == ("b", [1])
    assert some.take(*ALL) is None
    some.extend("a", ["z"], TEXT)
    assert taken(some.take(*ALL)) == ("a", [2])


async def test_what_waits_again_after_a_rewind_is_served_once_a_channel() -> None:
    some = queue()
    for channel in ("a", "b", "c"):
        some.extend(channel, ["x"] * 2, TEXT)
    batches = [some.take(1, 10**9, 4), some.take(1, 10**9, 4)]
    for batch in batches:
        assert batch
        batch.producer.give_back(batch)
    some.rewound()
    assert sorted(str(taken(some.take(*ALL))) for _ in range(3)) == [f"('{name}', [1, 2])" for name in "abc"]
    assert some.take(*ALL) is None


async def test_an_event_that_is_published_again_is_a_new_one_with_the_same_content() -> None:
    some = queue()
    some.extend("a", [{"n": 1.50, "t": "\u2028é"}], JSON, traceparent="00-1-2-01", key="k")
    batch = some.take(*ALL)
    assert batch
    some.done(batch.events)
    [before] = batch.events
    some.publish_again("a", before)
    again = some.take(*ALL)
    assert again
    [event] = again.events
    old, new = json.loads(before.wire), json.loads(event.wire)
    assert (event.seq, new["id"], event.future, event.request) == (2, "2", None, before.request)
    assert new == old | {"id": "2"}
    assert some.waiting == 1
    some.publish_again("b", before)
    assert wires(some.take(*ALL))[0]["source"] == f"/b/{some.producer_name}"


async def test_a_key_tells_the_same_event_from_another() -> None:
    some = queue()
    given = [
        ("a", "k", "x", TEXT), ("a", "k", "x", TEXT), ("a", "k", "y", TEXT), ("a", "k", "x", "text/html"),
        ("a", "other", "x", TEXT), ("b", "k", "x", TEXT), ("a", "k", b"x", TEXT),
    ]  # fmt: skip
    for channel, key, data, kind in given:
        some.extend(channel, [data], kind, key=key)
    requests = []
    while batch := some.take(1, 10**9, 99):
        requests += [(batch.producer.channel, event.seq, event.request) for event in batch.events]
    one, same, changed, typed, renamed, as_bytes = [request for channel, _, request in requests if channel == "a"]
    [elsewhere] = [request for channel, _, request in requests if channel == "b"]
    assert one
    assert one == same == as_bytes
    assert len({one.name, renamed.name, elsewhere.name}) == 3
    assert (changed.name, typed.name) == (one.name, one.name)
    assert len({one.hash, changed.hash, typed.hash}) == 3


def test_of_one_channel_no_more_batches_travel_than_may_and_others_are_not_held_up() -> None:
    some = queue()
    for name in ("a", "b"):
        some.extend(name, ["x"] * 5, None)
    assert [taken(some.take(1, 10**6, 2)) for _ in range(4)] == [("a", [1]), ("b", [1]), ("a", [2]), ("b", [2])]
    assert some.take(1, 10**6, 2) is None
    batch = some.take(1, 10**6, 3)
    assert taken(batch) == ("a", [3])
    assert some.take(1, 10**6, 2) is None
