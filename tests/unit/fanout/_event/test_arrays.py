"""Several events in one message: a JSON array, whose last event bears the place of all."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout._event.decode import received
from fanout._subscribe.history import entries
from fanout.message import source_of

PLACE = {"streamid": "5-7", "streamseq": "12", "streamprev": "5-1", "streamname": "ab"}
SOURCE = source_of("c", "0" * 16)


def event(n: int, **more: object) -> dict[str, Any]:
    return {"specversion": "1.0", "type": "t", "source": SOURCE, "id": str(n), "data": f"d{n}"} | more


def array(*events: object) -> bytes:
    return json.dumps(events).encode()


def places(wire: bytes) -> list[tuple[str | None, str | None, str | None, str | None, int]]:
    return [(m.streamid, m.streamseq, m.streamprev, m.streamname, m.nth) for m in received("c", wire)]


@pytest.mark.parametrize("more", [{}, {"tenant": "t"}], ids=["as most are", "with extensions"])
def test_each_event_has_its_own_count_and_the_place_of_the_last(more: dict[str, str]) -> None:
    wire = array(event(1, **more), event(2, **more), event(3, **(more | PLACE)))
    assert places(wire) == [("5-7", str(seq), "5-1", "ab", nth) for nth, seq in enumerate((10, 11, 12))]
    assert [(m.channel, m.id, m.data, m.plain) for m in received("c", wire)] == [
        ("c", str(n), f"d{n}", False) for n in (1, 2, 3)
    ]


def test_somebodys_array_of_events_without_a_place_is_events() -> None:
    wire = array(event(1), event(2))
    assert places(wire) == [(None,) * 4 + (0,)] * 2


@pytest.mark.parametrize(
    "events",
    [
        [event(1), event(2, **(PLACE | {"streamseq": "1"}))],
        [event(1), event(2, **(PLACE | {"streamid": "evil"}))],
        [event(1), event(2, **{name: value for name, value in PLACE.items() if name != "streamprev"})],
        [event(1, **PLACE), event(2, **PLACE)],
        [event(1, **PLACE), event(2)],
    ],
)
def test_a_place_that_cannot_be_is_none(events: list[dict[str, Any]]) -> None:
    assert {place[:4] for place in places(array(*events))} == {(None,) * 4}


@pytest.mark.parametrize(
    "wire",
    [
        b"[]",
        b"[",
        b"[1]",
        array(event(1), {"specversion": "1.0"}),
        array([event(1)]),
        array(event(1))[:-1],
        b"[" * 10**5,
    ],
)
def test_an_array_that_is_not_all_events_is_one_plain_message(wire: bytes) -> None:
    [message] = received("c", wire)
    assert (message.plain, message.data, message.channel) == (True, wire.decode(), "c")


def test_one_event_nested_too_deep_makes_the_message_plain() -> None:
    deep = json.loads("[" * 250 + "]" * 250)
    [message] = received("c", array(event(1), event(2, data=deep)))
    assert message.plain
    many = [event(n, data={"a": [n]}) for n in range(300)]
    assert len(received("c", array(*many))) == 300


json_values = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3), lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
), max_leaves=5)  # fmt: skip


@given(st.lists(json_values, min_size=1, max_size=5))
def test_an_array_is_read_as_its_events_one_by_one(data: list[Any]) -> None:
    events = [event(n, data=value) for n, value in enumerate(data)]
    alone = [received("c", json.dumps(one).encode())[0] for one in events]
    together = received("c", array(*events))
    assert [(m.id, m.data, m.origin) for m in together] == [(m.id, m.data, m.origin) for m in alone]


def test_where_source_and_id_are_somebodys_own_the_origin_is_our_producer() -> None:
    [message] = received("c", array(event(1, source="/shop", id="order-7", fanoutproducer="0" * 16, fanoutseq="3")))
    assert (message.source, message.id, message.origin) == ("/shop", "order-7", (SOURCE, "3"))
    assert not message.extensions


DEEP = json.loads("[" * 250 + "]" * 250)


@pytest.mark.parametrize("wrong", [event(2, data=DEEP), event(2, type=True), {"specversion": "1.0"}, 5])
def test_what_is_no_event_beside_others_with_a_place_is_a_plain_message_and_they_are_events(wrong: object) -> None:
    found = received("c", array(event(1), wrong, event(3, **PLACE)))
    assert [(m.plain, m.streamseq) for m in found] == [(False, "10"), (True, "11"), (False, "12")]
    assert [m.data for m in found] == ["d1", json.dumps(wrong), "d3"]


@pytest.mark.parametrize("wire", [array(*[event(1)] * 2000), b"[" + b"1," * 2**20 + b"1]"])
def test_an_array_larger_than_any_publisher_sends_is_one_plain_message(wire: bytes) -> None:
    assert [m.plain for m in received("c", wire)] == [True]


@pytest.mark.parametrize("producer", ["x" * 10**6, "0" * 17, "", "A" * 16])
def test_a_producer_that_is_none_of_ours_is_not_an_origin(producer: str) -> None:
    [message] = received("c", json.dumps(event(1, fanoutproducer=producer, fanoutseq="3")).encode())
    assert message.origin == (SOURCE, "1")


def test_an_entry_has_no_more_events_than_it_counts() -> None:
    [entry] = entries([(b"1-1", [b"events", array(*map(event, range(9)))[:-2], b"streamseq", b"6"])])
    assert (len(entry.messages("c")), entry.before("c")) == (6, 0)
