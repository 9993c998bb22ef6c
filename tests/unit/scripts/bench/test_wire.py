"""scripts/bench: the events that a subscriber is fed, and how often its output is read."""

import json

import hiredis
import pytest

from bench.child import FULL, POLL, pause
from bench.wire import BATCH_BYTES, BATCH_EVENTS, EVENT_BYTES, LARGE_BYTES, Events

ROOM = 2**20


def payloads(commands: bytes) -> list[str]:
    reader = hiredis.Reader(encoding="utf-8")
    reader.feed(commands)
    found = []
    while (command := reader.gets()) is not False:
        assert command[:2] == ["PUBLISH", "notifications"]
        found.append(command[2])
    return found


@pytest.mark.parametrize("size", [EVENT_BYTES, LARGE_BYTES])
def test_one_event_a_message(size: int) -> None:
    events = Events(size)
    found = payloads(events.published(3) + events.published(2))
    assert {len(payload) for payload in found} == {size}
    ids = [int(json.loads(payload)["id"]) for payload in found]
    assert ids == list(range(ids[0], ids[0] + 5))


@pytest.mark.parametrize(("size", "most"), [(EVENT_BYTES, 256), (LARGE_BYTES, 8)])
def test_arrays_as_large_as_a_publisher_makes_them(size: int, most: int) -> None:
    found = payloads(Events(size, BATCH_EVENTS).published(2 * most + 2))
    arrays = [json.loads(payload) for payload in found]
    assert [len(array) for array in arrays] == [most, most, 2]
    assert all(len(payload) <= BATCH_BYTES for payload in found)
    ids = [int(event["id"]) for array in arrays for event in array]
    assert ids == list(range(ids[0], ids[0] + 2 * most + 2))


def test_a_last_event_that_is_alone_stands_in_no_array() -> None:
    alone = payloads(Events(EVENT_BYTES, 4).published(9))[-1]
    assert isinstance(json.loads(alone), dict)


def test_a_pipe_that_stays_nearly_empty_is_read_now_and_then() -> None:
    assert pause(0, POLL, ROOM) == POLL
    assert pause(1000, POLL, ROOM) == POLL


def test_a_pipe_is_read_before_it_is_full() -> None:
    rate = 100e6
    assert pause(int(rate * 0.002), 0.002, ROOM) == pytest.approx(ROOM * FULL / rate)


def test_a_pipe_that_was_fuller_is_read_again_at_once() -> None:
    assert pause(ROOM // 2, POLL, ROOM) == 0
