"""A client's connection is written to without waiting, with a bound on what may wait."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway import client, frames
from gateway.budget import Budget
from gateway.client import IN_TRANSPORT, PIECE, Client
from support.transport import Transport


def connected(limit: int = 10**6) -> tuple[Client, Transport, set[Client]]:
    transport, behind = Transport(), set[Client]()
    return Client(transport, limit, frames.sse, b": \n\n", behind), transport, behind


async def test_what_a_client_reads_as_it_comes_is_kept_nowhere() -> None:
    one, transport, behind = connected()
    assert one.write(b"hello ") == one.write(b"you") == 0
    assert (transport.written, behind) == (b"hello you", set())


async def test_what_a_client_does_not_read_waits_here_and_goes_out_in_order_when_it_does() -> None:
    one, transport, behind = connected()
    one.write(b"x" * (IN_TRANSPORT + 1))
    assert (one.write(b"first "), one.write(b"second ")) == (6, 13)
    assert (behind, one.waiting) == ({one}, IN_TRANSPORT + 14)
    assert not one.pump()
    transport.waiting = 0
    assert one.write(b"third") == 0  # what waits goes first
    assert transport.written[IN_TRANSPORT + 1 :] == b"first second third"
    assert not one.pump()


async def test_much_that_waits_goes_out_a_piece_at_a_time() -> None:
    one, transport, _ = connected()
    transport.waiting = IN_TRANSPORT + 1
    for _ in range(5):
        one.write(b"x" * (PIECE // 2))
    sizes = []
    while one.queued:
        transport.waiting, before = 0, len(transport.written)
        assert one.pump()
        sizes.append(len(transport.written) - before)
    assert sizes == [PIECE, PIECE, PIECE // 2]


async def test_a_client_for_which_too_much_waits_is_cut_and_that_is_said() -> None:
    one, transport, _ = connected(limit=IN_TRANSPORT + 100)
    transport.waiting = IN_TRANSPORT + 1
    one.write(b"x" * 99)
    assert not one.cut
    with capture_logs() as log:
        assert one.write(b"x") == 0
    assert (one.cut, transport.open, one.queued) == (True, False, 0)
    assert log == [
        {
            "event": "client_cut", "log_level": "warning", "client": "10.0.0.1", "waiting": IN_TRANSPORT + 101,
            "cause": "it reads too slowly",
        }
    ]  # fmt: skip
    assert one.write(b"more") == 0
    assert not one.pump()


async def test_a_connection_that_closes_is_given_nothing() -> None:
    one, transport, behind = connected()
    transport.open = False
    one.write(b"x")
    transport.waiting = IN_TRANSPORT + 1
    one.write(b"x")
    await one.give([b"x"])
    assert (transport.written, one.queued, behind) == (b"", 0, set())


async def test_what_is_written_meanwhile_waits_behind_what_it_was_held_for() -> None:
    one, transport, _ = connected()
    one.hold(b"begin ")
    one.write(b"live ")
    one.write(b"again")
    assert not one.pump()
    assert transport.written == b""
    one.release()
    assert transport.written == b"begin live again"


@given(
    st.lists(st.one_of(st.integers(1, 3 * IN_TRANSPORT), st.sampled_from(["reads", "reads some", "pump"])), max_size=40)
)
def test_a_client_is_sent_every_byte_once_and_in_order(steps: list[int | str]) -> None:
    async def run() -> None:
        one, transport, _ = connected(limit=10**9)
        given = bytearray()
        for step in steps:
            if isinstance(step, int):
                data = bytes([len(given) % 251]) * step
                given.extend(data)
                assert one.write(data) == one.queued == len(given) - len(transport.written)
            elif step == "pump":
                one.pump()
            else:
                transport.waiting = 0 if step == "reads" else transport.waiting // 2
        while one.queued:
            transport.waiting = 0
            one.pump()
        assert transport.written == bytes(given)

    asyncio.run(run())


async def test_its_catch_up_is_given_as_a_client_reads_it_and_what_is_live_comes_behind() -> None:
    one, transport, _ = connected()
    transport.waiting = 10 * PIECE
    giving = asyncio.create_task(one.give([b"a", b"b"]))
    await asyncio.sleep(0)
    assert transport.written == b""
    transport.waiting = 0
    await asyncio.wait_for(giving, 5)
    assert transport.written == b"ab"
    transport.waiting = IN_TRANSPORT + 1
    one.write(b"c")
    await one.give([b"d"])  # there is room, but something waits already
    transport.waiting = 0
    one.pump()
    assert transport.written == b"abcd"


async def test_a_catch_up_is_encoded_in_pieces() -> None:
    one, _, _ = connected()
    many = [frames.Frame("message", b"x" * (PIECE // 2)) for _ in range(3)]
    assert one.encode(many) == [frames.sse(many[:2]), frames.sse(many[2:])]


async def test_a_client_that_reads_nothing_of_its_catch_up_is_cut_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "STALLED", 0.05)
    one, transport, _ = connected(limit=1000)
    transport.waiting = 600
    async with asyncio.timeout(5):
        await one.give(one.encode([frames.gone("c", 1, exact=True)]))  # returns when it is cut
    assert (transport.open, one.cut, transport.written) == (False, True, b"")


async def test_a_client_that_reads_slowly_is_cut_only_if_others_wait_for_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    budget = Budget(10)
    monkeypatch.setattr(client, "catch_ups", budget)
    monkeypatch.setattr(client, "SLOW", 0.0)
    monkeypatch.setattr(client, "LOOK_EVERY", 0.0)
    one, transport, _ = connected(limit=10**6)
    transport.waiting = 600_000
    async with asyncio.timeout(5), budget.reserve(10):
        waiting = asyncio.create_task(one.room(PIECE))
        for _ in range(50):
            transport.waiting -= 1
            await asyncio.sleep(0)
        assert (waiting.done(), one.cut) == (False, False)

        async def want() -> None:
            async with budget.reserve(1):
                pass

        wanting = asyncio.create_task(want())
        await waiting
    await wanting
    assert (one.cut, transport.open) == (True, False)
