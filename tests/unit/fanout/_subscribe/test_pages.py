"""The bytes of history that are read at once are bounded, over all channels together."""

import asyncio

import pytest

from fanout._subscribe import pages
from fanout._subscribe.pages import Pages
from fanout.settings import Timings


async def test_pages_that_are_read_at_once_stay_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ALL_BYTES", 100)
    room = Pages(2, Timings())
    await room.wait(40)
    assert not room.take(11)
    waiting = asyncio.ensure_future(room.wait(30))
    await asyncio.sleep(0)
    assert not waiting.done()
    room.give_back(40)
    await asyncio.wait_for(waiting, 1)
    assert room.take(20)
    assert not room.take(1)


def test_a_page_of_the_largest_events_is_bounded() -> None:
    assert Pages(64 * 1024, Timings()).largest * 64 * 1024 <= pages.LARGEST_BYTES
    assert Pages(200, Timings()).largest == Timings().largest_page
    assert Pages(2**30, Timings()).largest == Timings().first_page


async def test_a_page_that_is_larger_than_all_that_may_be_is_read_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ALL_BYTES", 100)
    room = Pages(10**9, Timings())
    assert room.take(5)
    assert not room.take(1)
    room.give_back(5)
    assert room.take(1)


async def test_all_who_wait_for_room_get_it_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ALL_BYTES", 10**9)
    room = Pages(10**8, Timings())
    await room.wait(10)
    waiting = [asyncio.ensure_future(room.wait(4)) for _ in range(3)]
    await asyncio.sleep(0)
    room.give_back(10)
    await asyncio.wait(waiting[:2], timeout=1)
    await asyncio.sleep(0)
    assert [one.done() for one in waiting] == [True, True, False]
    room.give_back(4)
    await asyncio.wait_for(waiting[2], 1)
