"""Messages between the socket and the handler: bounded, in order, and counted until they are handled."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout._subscribe import inbox as module
from fanout._subscribe.inbox import Inbox
from fanout.message import Message


def messages(*names: object) -> list[Message]:
    return [Message(channel="news", source="/news/p", id=str(name)) for name in names]


def ids(some: list[Message]) -> list[str]:
    return [message.id for message in some]


def unhandled(inbox: Inbox) -> list[str]:
    return [place.id for place in inbox.unhandled()]


async def following(batches: AsyncIterator[list[Message]]) -> list[str]:
    return ids(await asyncio.wait_for(anext(batches), 1))


async def test_what_came_in_small_parts_is_handed_out_in_larger_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    inbox = Inbox(100)
    for part in ((1, 2), (3,), (4, 5), (6, 7), (8, 9, 10, 11, 12), (13,)):
        inbox.extend(messages(*part), 10)
    batches = inbox.batches()
    assert [await following(batches) for _ in range(5)] == [
        ["1", "2", "3"], ["4", "5"], ["6", "7"], ["8", "9", "10", "11", "12"], ["13"],
    ]  # fmt: skip


@given(st.lists(st.integers(0, 5), max_size=20), st.integers(1, 8))
def test_every_message_comes_once_and_in_order_however_they_came(sizes: list[int], most: int) -> None:
    async def run(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(module, "BATCH", most)
        inbox, made = Inbox(1000), 0
        for size in sizes:
            inbox.extend(messages(*range(made, made + size)), size)
            made += size
        assert inbox.waiting == made
        seen: list[str] = []
        batches = inbox.batches()
        while len(seen) < made:
            batch = await following(batches)
            assert batch
            seen += batch
        assert seen == [str(n) for n in range(made)]
        assert (inbox.waiting, inbox.fill) == (0, 0)

    with pytest.MonkeyPatch.context() as patch:
        asyncio.run(run(patch))


async def test_whoever_can_wait_does_until_there_is_space() -> None:
    inbox = Inbox(3)
    await asyncio.wait_for(inbox.room(), 1)
    inbox.extend(messages(1, 2), 10)
    assert inbox.space == 1
    await asyncio.wait_for(inbox.room(), 1)
    inbox.extend(messages(3, 4), 10)  # it takes what comes
    assert (inbox.space, inbox.waiting, inbox.fill) == (-1, 4, 4 / 3)
    waiting = asyncio.create_task(inbox.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await following(inbox.batches())
    await asyncio.wait_for(waiting, 1)


async def test_there_is_no_space_for_more_bytes_than_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INBOX_BYTES", 100)
    inbox = Inbox(1000)
    inbox.extend(messages(1), 99)
    assert inbox.space == 999
    inbox.extend(messages(2), 1)
    assert (inbox.space, inbox.fill) == (0, 1)
    waiting = asyncio.create_task(inbox.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await following(inbox.batches())
    await asyncio.wait_for(waiting, 1)


async def test_what_no_handler_has_returned_from_is_unhandled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    inbox = Inbox(100)
    inbox.extend(messages(1, 2, 3), 10)
    inbox.extend(messages(4, 5), 10)
    assert unhandled(inbox) == ["1", "2", "3", "4", "5"]
    batches = inbox.batches()
    await following(batches)
    assert unhandled(inbox) == ["1", "2", "3", "4", "5"]
    inbox.handled = 2
    assert unhandled(inbox) == ["3", "4", "5"]
    await following(batches)  # who asks for the next has handled the last
    assert unhandled(inbox) == ["4", "5"]
    waiting = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0)
    assert unhandled(inbox) == []
    waiting.cancel()


async def test_a_handler_that_waits_for_messages_gets_what_comes_and_its_end() -> None:
    inbox = Inbox(100)
    seen: list[str] = []

    async def handle() -> None:
        async for batch in inbox.batches():
            seen.extend(ids(batch))

    handling = asyncio.create_task(handle())
    await asyncio.sleep(0)
    inbox.extend([], 0)
    await asyncio.sleep(0)
    assert not handling.done()
    inbox.extend(messages(1), 10)
    while not seen:
        await asyncio.sleep(0)
    inbox.close()
    await asyncio.wait_for(handling, 1)
    assert seen == ["1"]


async def test_what_waits_when_it_is_closed_is_not_handed_out_and_stays_unhandled() -> None:
    inbox = Inbox(100)
    inbox.extend(messages(1, 2), 10)
    inbox.close()
    assert [batch async for batch in inbox.batches()] == []
    inbox.extend(messages(3), 10)
    assert unhandled(inbox) == ["1", "2", "3"]


async def test_who_takes_messages_at_once_leaves_none_to_wait_until_the_end() -> None:
    inbox = Inbox(100)
    seen: list[str] = []
    inbox.direct = lambda some: seen.extend(ids(some))
    inbox.extend(messages(1, 2), 10)
    assert (seen, inbox.waiting, unhandled(inbox)) == (["1", "2"], 0, [])
    inbox.close()
    inbox.extend(messages(3), 10)
    assert (seen, unhandled(inbox)) == (["1", "2"], ["3"])
