import asyncio
import json

import pytest

from fanout.message import Message, received
from fanout.position import Position
from fanout.settings import StartFrom
from gateway import client, frames, since
from gateway.ring import Ring


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
    message = Message(specversion="1.0", type="t", source="/s", id="1", streamid=streamid, streamseq="1")
    assert frames.of_message(message).position is None
    message = Message(specversion="1.0", type="t", source="/s", id="1", streamid="5-1", streamseq="1\n")
    assert frames.of_message(message).position is None


def test_binary_data_is_shown_as_in_the_log_or_as_the_event_has_it() -> None:
    assert json.loads(frames.of_message(received("c", b"\xff\n")).data) == {
        "channel": "c", "plain": True, "data": "b'\\xff\\n'",
    }  # fmt: skip
    event = b'{"specversion":"1.0","type":"t","source":"/s","id":"1","data_base64":"/wA="}'
    found = json.loads(frames.of_message(received("c", event)).data)
    assert (found["data_base64"], "data" in found) == ("/wA=", False)
    nothing = b'{"specversion":"1.0","type":"t","source":"/s","id":"1","data":null}'
    assert json.loads(frames.of_message(received("c", nothing)).data)["data"] is None


def test_what_comes_late_is_marked_once() -> None:
    late = frames.of_message(received("c", b"x")).caught_up()
    assert late.caught_up() == late
    assert json.loads(late.data) == {"channel": "c", "plain": True, "data": "x", "catch_up": True}
    assert frames.gone("c", 1, exact=True).caught_up() == frames.gone("c", 1, exact=True)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_000])
def test_websocket_frames_are_read_as_they_were_written(size: int) -> None:
    wire = frames.websocket_text(b"x" * size)
    extended = {126: 2, 127: 8}.get(wire[1], 0)  # RFC 6455, section 5.2; a mask bit would make it more than 127
    length = int.from_bytes(wire[2 : 2 + extended]) if extended else wire[1]
    assert (wire[0], length, wire[2 + extended :]) == (0x81, size, b"x" * size)


def test_a_ring_forgets_the_oldest_by_bytes_and_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring()

    def add(*numbers: int, limit: int = 10**6) -> None:
        ring.extend([frames.Frame("message", b"x" * 100, Position(f"1-{n}", n)) for n in numbers], limit)

    add(*range(10))
    assert (ring.after("1-3"), ring.after("1-9"), ring.after("2-0")) == (4, 10, None)
    assert [frame.position.streamseq for frame in ring.frames(8, 99) if frame.position] == [8, 9]
    add(10, 11, limit=350)
    assert (ring.start, ring.end, ring.after("1-8"), ring.after("1-9")) == (9, 12, None, 10)
    assert len(ring.frames(0, 99)) == 3
    monkeypatch.setattr("gateway.ring.RING_FRAMES", 2)
    add(12)
    assert (ring.start, ring.after("1-10"), ring.after("1-11")) == (11, None, 12)
    add(11)  # an ID that came twice is where it came last, also when the first goes
    assert (ring.start, ring.after("1-11")) == (12, 14)


def test_frames_are_parted_by_their_bytes() -> None:
    made = [frames.Frame("message", b"x" * size) for size in (50, 50, 1, 200, 10)]
    assert [[len(one.data) for one in piece] for piece in frames.pieces(made, 100)] == [[50, 50], [1], [200], [10]]
    assert list(frames.pieces([], 100)) == []


def test_since_is_an_id_or_what_start_from_may_be() -> None:
    assert since.parse("17-5:9") == Position("17-5", 9)
    assert since.parse("") == since.parse(" now ") == since.NOW
    assert since.parse("earliest") == StartFrom(earliest=True, age=0)
    assert since.parse("10m") == StartFrom(earliest=False, age=600)
    for wrong in ("soon", "17-5", "17:5", "17-5:", "-1s", "17-5:9\n17-5:10", "x" * 10_000):
        with pytest.raises(ValueError, match="must be an event's id") as error:
            since.parse(wrong)
        assert len(str(error.value)) < 300


class Transport(asyncio.Transport):
    """One whose peer reads as much as a test says."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.1", 5)})
        self.written, self.waiting, self.open = b"", 0, True

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written += data
        self.waiting += len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return not self.open

    def abort(self) -> None:
        self.open = False


async def test_everybody_gets_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "HEARTBEAT", 0.01)
    clients, transport = client.Clients(10, 1000, 0), Transport()
    with clients.connected(transport, frames.sse, b": \n\n"):
        beating = asyncio.create_task(clients.keep_alive())
        async with asyncio.timeout(5):
            while transport.written.count(b": \n\n") < 3:
                await asyncio.sleep(0.01)
        beating.cancel()


async def test_a_client_that_reads_nothing_of_its_catch_up_is_cut_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "STALLED", 0.05)
    transport = Transport()
    one = client.Client(transport, 1000, frames.sse, b"")
    transport.waiting = 600
    async with asyncio.timeout(5):
        await one.give([frames.gone("c", 1, exact=True)])  # returns when it is cut
    assert (transport.open, one.cut, transport.written) == (False, True, b"")
