"""All clients: how many there may be, signs of life for them, and their end."""

import asyncio

import pytest

from fanout.service.http_body import Refused
from gateway import clients, frames
from gateway.client import IN_TRANSPORT
from gateway.clients import Clients
from support.transport import Transport


async def test_there_are_as_many_places_as_there_may_be_clients() -> None:
    known = Clients(2, 1000, 0)
    with (
        known.admit(),
        known.admit(),
        pytest.raises(Refused, match="too many clients") as raised,
        known.admit(),
    ):
        pass
    assert raised.value.status == 503
    with known.admit(), known.admit():  # both were given back
        pass


async def test_a_gateway_that_ends_takes_nobody() -> None:
    known = Clients(2, 1000, 0)
    known.close()
    with pytest.raises(Refused, match="the gateway is stopping"), known.admit():
        pass


async def test_a_client_is_known_as_long_as_it_is_connected_and_one_that_was_cut_is_counted() -> None:
    known = Clients(10, 1000, 0)
    with known.connected(Transport(), frames.sse), known.connected(Transport(), frames.sse) as second:
        assert (len(known), known.cut) == (2, 0)
        second.abort("test")
    assert (len(known), known.cut) == (0, 1)


async def test_a_client_that_is_gone_before_it_was_connected_is_no_client() -> None:
    known = Clients(10, 1000, 0)
    with pytest.raises(ConnectionResetError), known.connected(None, frames.sse):
        pass
    assert len(known) == 0


async def follow(known: Clients, *, cut: bool = False) -> str:
    with known.connected(Transport(), frames.sse) as one:
        if cut:
            one.abort("test")
        await asyncio.Event().wait()
    task = asyncio.current_task()
    return "said goodbye" if task and not task.cancelling() else "was cancelled"


async def test_at_the_end_everybody_says_goodbye() -> None:
    known = Clients(10, 1000, 0)
    following = [asyncio.create_task(follow(known)) for _ in range(3)]
    await asyncio.sleep(0)
    assert len(known) == 3
    known.close()
    assert await asyncio.wait_for(asyncio.gather(*following), 5) == ["said goodbye"] * 3
    assert len(known) == 0


async def test_a_client_whose_request_is_cancelled_does_not_say_goodbye() -> None:
    known = Clients(10, 1000, 0)
    cancelled, cut = asyncio.create_task(follow(known)), asyncio.create_task(follow(known, cut=True))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled], timeout=5)
    known.close()
    await asyncio.wait([cut], timeout=5)
    assert (cancelled.cancelled(), cut.cancelled(), len(known)) == (True, True, 0)


async def test_everybody_gets_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "HEARTBEAT", 0.01)
    known, transport, other = Clients(10, 1000, 0), Transport(), Transport()
    with known.connected(transport, frames.sse, b": \n\n"), known.connected(other, frames.sse):
        beating = asyncio.create_task(known.keep_alive())
        async with asyncio.timeout(5):
            while transport.written.count(b": \n\n") < 3:
                await asyncio.sleep(0.01)
        beating.cancel()
    assert other.written == b""  # its protocol has signs of life of its own


async def test_who_reads_slowly_gets_what_waits_as_soon_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "LOOK_EVERY", 0.0)
    known, transport = Clients(10, 10**6, 0), Transport()
    with known.connected(transport, frames.sse) as one:
        transport.waiting = IN_TRANSPORT + 1
        one.write(b"first ")
        one.write(b"second")
        pumping = asyncio.create_task(known.pump())
        for _ in range(10):
            await asyncio.sleep(0)
        assert transport.written == b""
        transport.waiting = 0
        async with asyncio.timeout(5):
            while transport.written != b"first second":
                await asyncio.sleep(0.01)
        transport.waiting = IN_TRANSPORT + 1
        one.write(b" third")  # it fell behind again
        transport.waiting = 0
        async with asyncio.timeout(5):
            while not transport.written.endswith(b" third"):
                await asyncio.sleep(0.01)
        pumping.cancel()
