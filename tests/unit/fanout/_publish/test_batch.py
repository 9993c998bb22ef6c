"""How a batch is cut into messages."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout._publish.batch import Batch, Pending, Request
from fanout._publish.producer import Producer
from fanout._publish.replay_ring import ReplayRing


def batch(sizes: list[int], *, keyed: frozenset[int] = frozenset()) -> Batch:
    producer = Producer("news", "0" * 16, "/news/" + "0" * 16, ReplayRing(10**9))
    events = [
        Pending(
            seq, json.dumps({"n": seq, "x": "." * size}).encode(), Request("k", "0", 60) if seq in keyed else None, None
        )
        for seq, size in enumerate(sizes, 1)
    ]
    return Batch(producer, events)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60), st.integers(1, 20), st.integers(10, 2000))
def test_the_messages_are_the_events_in_order_within_their_bounds(sizes: list[int], most: int, room: int) -> None:
    one = batch(sizes)
    messages = one.cut(most, room)
    parts = [json.loads(text) for _, text in messages]
    numbers = [event["n"] for part in parts for event in (part if isinstance(part, list) else [part])]
    assert numbers == list(range(1, len(sizes) + 1))
    assert [count for count, _ in messages] == [len(part) if isinstance(part, list) else 1 for part in parts]
    assert all(count <= most and (count == 1 or len(text) <= room) for count, text in messages)
    assert all(isinstance(part, dict) for part in parts if not isinstance(part, list) or len(part) == 1)
    where = [index for index, (count, _) in enumerate(messages) for _ in range(count)]
    assert [one.message_of(index) for index in range(len(sizes))] == where


def test_no_more_messages_than_needed() -> None:
    assert [count for count, _ in batch([0] * 600).cut(256, 10**6)] == [256, 256, 88]


@pytest.mark.parametrize("keyed", [frozenset({1}), frozenset({2}), frozenset({1, 2, 3})])
def test_with_an_idempotency_key_among_them_each_event_is_a_message(keyed: frozenset[int]) -> None:
    assert [count for count, _ in batch([0] * 3, keyed=keyed).cut(256, 10**6)] == [1, 1, 1]
