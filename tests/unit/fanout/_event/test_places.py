"""An event's place in its channel's history, as anybody may have written it: it fits, or the event has none."""

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fanout._event.decode import DecodeError, decode, received
from fanout.message import Message

PLACE = {"streamid": "1767225600000-482910377", "streamseq": "91", "streamprev": "1767225599000-77120934"}
NONE = (None, None, None, None)


def wire(**attributes: Any) -> bytes:
    event = {"specversion": "1.0", "type": "t", "source": "/c/a", "id": "1", "data": "hello"}
    return msgspec.json.encode(event | attributes)


def place(message: Message) -> tuple[Any, ...]:
    return message.streamid, message.streamseq, message.streamprev, message.streamname


def test_a_place_that_fits_arrives() -> None:
    [message] = decode([wire(**PLACE, streamname="0123456789abcdef")])
    assert place(message) == (*PLACE.values(), "0123456789abcdef")


@pytest.mark.parametrize(
    "wrong",
    [
        {"streamid": "evil"},
        {"streamid": "1-2-3"},
        {"streamid": "-1"},
        {"streamid": "1-"},
        {"streamid": "1"},
        {"streamid": ""},
        {"streamid": "1-2\n"},
        {"streamid": "1-2\n3-4"},
        {"streamid": "١-٢"},
        {"streamid": "9" * 20 + "-1"},
        {"streamid": "1-" + "9" * 5000},
        {"streamid": 5},
        {"streamid": True},
        {"streamid": {"a": [1]}},
        {"streamid": None},
        {"streamprev": "evil"},
        {"streamprev": None},
        {"streamprev": "1-" + "9" * 20},
        {"streamseq": "abc"},
        {"streamseq": "0"},
        {"streamseq": "-1"},
        {"streamseq": ""},
        {"streamseq": "1.5"},
        {"streamseq": 1.5},
        {"streamseq": "²"},
        {"streamseq": "9" * 19},
        {"streamseq": 10**30},
        {"streamseq": None},
        {"streamname": ""},
        {"streamname": "x" * 65},
        {"streamname": "a\x1b[2J"},
        {"streamname": "a\u202eb"},
        {"streamname": ["a"]},
    ],
)
def test_an_event_with_a_place_that_does_not_fit_is_an_event_without_one(wrong: dict[str, Any]) -> None:
    forged = wire(**(PLACE | wrong))
    [message] = decode([forged])
    assert (place(message), message.id, message.data) == (NONE, "1", "hello")
    for around in ([wire(**PLACE)], [wire(), wire(**PLACE)], [wire(id="2")]):
        among = decode([*around, forged, *around])
        assert place(among[len(around)]) == NONE
        assert [m.streamid for m in among[: len(around)]] == [m.streamid for m in decode(around)]


@pytest.mark.parametrize(("name", "value"), [("streamseq", 91), ("id", 7), ("id", 10**30), ("subject", 5)])
def test_a_number_is_taken_for_its_text_as_gateways_write_it(name: str, value: int) -> None:
    [message] = decode([wire(**(PLACE | {name: value}))])
    assert getattr(message, name) == str(value)
    assert message.streamid == PLACE["streamid"]


@pytest.mark.parametrize("wrong", [{"specversion": 1}, {"id": 1.5}, {"id": ""}, {"type": None}, {"source": True}])
def test_an_event_without_what_every_event_has_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        decode([wire(**wrong)])
    assert received("c", wire(**wrong))[0].plain


ids = st.sampled_from(["1-1", "1-2", "12-3", "1-23", "2-", "-2", "x", "1-2-3", "", "1" * 20 + "-1", None])
seqs = st.sampled_from(["1", "2", "10", "0", "x", "", "9" * 19, None])
names = st.sampled_from([None, None, "a", "b", ""])


@given(st.lists(st.tuples(ids, seqs, ids, names), min_size=1, max_size=6))
@example([("1-1", "1", None, None), ("1-1", "1", "1-1", None)])
def test_a_run_is_judged_as_each_of_its_events_would_be(places: list[tuple[Any, ...]]) -> None:
    attributes = ("streamid", "streamseq", "streamprev", "streamname")
    wires = [wire(**dict(zip(attributes, values, strict=True))) for values in places]
    one_by_one = list(itertools.chain.from_iterable(decode([single]) for single in wires))
    assert [place(m) for m in decode(wires)] == [place(m) for m in one_by_one]


@given(st.lists(st.integers(1, 10**19 - 1), min_size=2, max_size=6))
def test_a_run_that_follows_keeps_its_places(numbers: list[int]) -> None:
    streamids = [f"{number}-{number % 1000}" for number in numbers]
    wires = [
        wire(streamid=streamid, streamprev=before, streamseq=str(n))
        for n, (before, streamid) in enumerate(itertools.pairwise(streamids), start=1)
    ]
    assert [m.streamid for m in decode(wires)] == streamids[1:]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["1-1", "1", "1.0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ATTRIBUTES = [
    "specversion",
    "id",
    "source",
    "type",
    "data",
    "data_base64",
    "time",
    "streamid",
    "streamseq",
    "streamprev",
]


@given(
    st.lists(
        st.dictionaries(st.sampled_from([*ATTRIBUTES, "streamname", "subject", "odd"]), json_values, max_size=8).map(
            lambda found: {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"} | found
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_json_comes_is_an_event_or_a_plain_message(found: list[dict[str, Any]]) -> None:
    wires = [json.dumps(event).encode() for event in found]
    try:
        decoded = decode(wires)
    except DecodeError:
        decoded = []
    assert len(decoded) in {0, len(wires)}
    assert all(received("c", wire)[0].channel == "c" for wire in wires)
