"""Messages as bytes for clients."""

import itertools
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout._event.decode import received
from fanout._subscribe.cursor import Position
from fanout.message import Message
from gateway import frames


def test_an_event_is_one_line_of_json_whatever_it_has() -> None:
    data = "a\r\n\ndata: b\u2028\x00\x85"
    message = Message(
        specversion="1.0", type="t", source="/s", id="1\nid: 2", data=data, streamid="5-1", streamseq="7", channel="c\r"
    )
    text = frames.sse([frames.of_message(message)])
    head, line = text.removesuffix(b"\n\n").rsplit(b"\n", 1)
    assert head == b"id: 5-1:7\nevent: message"
    assert b"\r" not in text
    found = json.loads(line.removeprefix(b"data: "))
    assert (found["data"], found["id"], found["channel"]) == (data, "1\nid: 2", "c\r")


@pytest.mark.parametrize("streamid", ["5-1\nevent: gone", "5", "5-1 ", "٥-1", "-"])
def test_an_id_that_somebody_made_up_is_none(streamid: str) -> None:
    event = {"specversion": "1.0", "type": "t", "source": "/s", "id": "1", "streamseq": "1", "streamprev": "1-1"}
    assert frames.of_message(received("c", json.dumps(event | {"streamid": streamid}).encode())[0]).position is None
    event |= {"streamid": "5-1", "streamseq": "1\n"}
    assert frames.of_message(received("c", json.dumps(event).encode())[0]).position is None


def test_bytes_are_given_as_base64() -> None:
    assert json.loads(frames.of_message(received("c", b"\xff\n")[0]).data) == {
        "channel": "c", "plain": True, "data_base64": "/wo=",
    }  # fmt: skip
    event = b'{"specversion":"1.0","type":"t","source":"/s","id":"1","data_base64":"/wA="}'
    found = json.loads(frames.of_message(received("c", event)[0]).data)
    assert (found["data_base64"], "data" in found) == ("/wA=", False)
    nothing = b'{"specversion":"1.0","type":"t","source":"/s","id":"1","data":null}'
    assert json.loads(frames.of_message(received("c", nothing)[0]).data)["data"] is None


def test_all_attributes_of_an_event_are_given_but_none_that_says_what_is_not_its_to_say() -> None:
    attributes = {
        "specversion": "1.0", "type": "t", "source": "/s", "id": "1", "subject": "a", "dataschema": "https://x/y",
        "datacontenttype": "application/json", "time": "2026-01-01T00:00:00Z", "traceparent": "00-1-1-01",
        "data": {"a": 1}, "tenant": "blue", "priority": 5, "urgent": True,
    }  # fmt: skip
    forged = {"channel": "other", "catch_up": False, "plain": True, "event_id": "1-1:1", "nothing": None}
    message = received("c", json.dumps(attributes | forged).encode())[0]
    assert (message.subject, message.dataschema) == ("a", "https://x/y")
    assert message.extensions == {name: value for name, value in forged.items() if value is not None} | {
        "tenant": "blue", "priority": 5, "urgent": True,
    }  # fmt: skip
    assert json.loads(frames.of_message(message).data) == attributes | {"channel": "c"}
    assert json.loads(frames.of_message(message).caught_up().data) == attributes | {"channel": "c", "catch_up": True}
    message.catch_up = True
    assert frames.of_message(message).caught_up() == frames.of_message(message)


def test_what_comes_late_is_marked_once() -> None:
    late = frames.of_message(received("c", b"x")[0]).caught_up()
    assert late.caught_up() == late
    assert json.loads(late.data) == {"channel": "c", "plain": True, "data": "x", "catch_up": True}
    assert frames.gone("c", 1, exact=True).caught_up() == frames.gone("c", 1, exact=True)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_000])
def test_websocket_frames_are_read_as_they_were_written(size: int) -> None:
    wire = frames.websocket_text(b"x" * size)
    extended = {126: 2, 127: 8}.get(wire[1], 0)  # RFC 6455, section 5.2; a mask bit would make it more than 127
    length = int.from_bytes(wire[2 : 2 + extended]) if extended else wire[1]
    assert (wire[0], length, wire[2 + extended :]) == (0x81, size, b"x" * size)


def test_frames_are_parted_by_their_bytes() -> None:
    made = [frames.Frame("message", b"x" * size) for size in (50, 50, 1, 200, 10)]
    assert [[len(one.data) for one in piece] for piece in frames.pieces(made, 100)] == [[50, 50], [1], [200], [10]]
    assert list(frames.pieces([], 100)) == []


AT = Position("5-1", 7)
ONE = frames.Frame("message", b'{"channel":"c"}', AT, "/s", "1")


def test_server_sent_events_have_an_id_where_there_is_a_place_to_come_back_to() -> None:
    assert frames.sse([ONE, frames.gone("c", 2, exact=True), ONE.marked("0123abcd")]) == (
        b'id: 5-1:7\nevent: message\ndata: {"channel":"c"}\n\n'
        b'event: gone\ndata: {"channel":"c","count":2,"exact":true}\n\n'
        b'id: 5-1:7:0123abcd\nevent: message\ndata: {"channel":"c"}\n\n'
    )


def test_a_place_alone_is_an_event_that_a_browser_does_not_show() -> None:
    assert frames.sse([frames.Frame("", b"", AT)]) == b"id: 5-1:7\n\n"
    assert frames.websocket([frames.Frame("", b"", AT)]) == b""


def test_a_chunk_says_how_long_it_is() -> None:
    body = frames.sse([ONE] * 10)
    assert frames.sse_chunk([ONE] * 10) == b"%x\r\n" % len(body) + body + b"\r\n"


def test_a_websocket_frame_is_an_object_with_one_message_and_its_id() -> None:
    first, second = frames.websocket([ONE, frames.gone("c", 2, exact=False)]).split(b"\x81")[1:]
    assert json.loads(first[1:]) == {"message": {"channel": "c"}, "event_id": "5-1:7"}
    assert json.loads(second[1:]) == {"gone": {"channel": "c", "count": 2, "exact": False}}


def test_what_comes_out_of_its_order_has_no_place_to_come_back_to() -> None:
    late = ONE.late()
    assert (late.position, late.event_id, json.loads(late.data)["catch_up"]) == (None, b"", True)
    assert (ONE.event_id, ONE.position) == (b"5-1:7", AT)


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(0, 100))
def test_parted_frames_are_all_there_in_order_and_no_part_could_have_had_one_more(sizes: list[int], most: int) -> None:
    made = [frames.Frame("message", b"x" * size) for size in sizes]
    parts = list(frames.pieces(iter(made), most))
    assert [frame for part in parts for frame in part] == made
    assert all(len(part) == 1 or sum(len(frame.data) for frame in part) <= most for part in parts)
    for part, following in itertools.pairwise(parts):
        assert sum(len(frame.data) for frame in [*part, following[0]]) > most


def test_no_more_frames_are_made_than_a_part_needs() -> None:
    taken: list[int] = []

    def endless() -> Iterator[frames.Frame]:
        while True:
            taken.append(1)
            yield frames.Frame("message", b"x" * 10)

    assert len(next(frames.pieces(endless(), 100))) == 10
    assert len(taken) == 11
