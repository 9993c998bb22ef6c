"""A client on a channel: where it comes in."""

from types import SimpleNamespace
from typing import Any

import pytest

from fanout._subscribe.cursor import Position
from fanout.settings import EARLIEST
from gateway import frames
from gateway.client import Client
from gateway.following import Following
from gateway.since import NOW, EventId, Since
from support.transport import Transport

LAST = EventId(Position("5-1", 7), "0123abcd")


class Hub(SimpleNamespace):
    """What `Following` needs of a channel's hub."""

    def __init__(self, *, begun: bool = True, history: bool = True, at: EventId | None = LAST) -> None:
        super().__init__(
            channel="news",
            begun=begun,
            error=None,
            clients={},
            event_id=at,
            shared=SimpleNamespace(history=history),
        )


def come(hub: Any, since: Since) -> tuple[Following, Client, Transport]:
    transport = Transport()
    return Following(hub, since, lambda *_: None), Client(transport, 10**6, frames.sse, b"", set()), transport


@pytest.mark.parametrize("since", [NOW, None])
async def test_a_client_that_begins_now_is_in_at_once_and_is_told_where_it_is(since: Since) -> None:
    hub = Hub()
    following, one, transport = come(hub, since)
    assert following.join(one) == LAST
    assert (set(hub.clients), transport.written) == ({one}, b"id: 5-1:7:0123abcd\n\n")
    following.leave(one)
    following.leave(one)
    assert not hub.clients


async def test_where_nothing_was_ever_published_there_is_nothing_to_come_back_with() -> None:
    hub = Hub(at=None)
    following, one, transport = come(hub, NOW)
    assert following.join(one) is None
    assert (set(hub.clients), transport.written) == ({one}, b"")


@pytest.mark.parametrize("since", [EARLIEST, EventId(Position("4-1", 6))])
async def test_a_client_that_wants_what_came_before_is_not_in_before_it_has_that(since: Since) -> None:
    hub = Hub()
    following, one, transport = come(hub, since)
    assert following.join(one) is None
    assert (set(hub.clients), transport.written) == (set(), b"")


async def test_nobody_is_in_before_the_channel_has_begun() -> None:
    hub = Hub(begun=False)
    following, one, _ = come(hub, NOW)
    assert following.join(one) is None
    assert not hub.clients


@pytest.mark.parametrize("since", [NOW, EARLIEST])
async def test_without_history_everybody_begins_now(since: Since) -> None:
    hub = Hub(begun=False, history=False, at=None)
    following, one, _ = come(hub, since)
    following.join(one)
    assert set(hub.clients) == {one}


@pytest.mark.parametrize(
    ("since", "history", "told"), [(NOW, True, False), (None, True, True), (EARLIEST, False, True)]
)
async def test_who_came_back_and_cannot_be_given_what_it_missed_is_told_that_something_may_be_gone(
    since: Since, history: bool, told: bool
) -> None:
    hub = Hub(history=history, at=None)
    following, one, transport = come(hub, since)
    following.join(one)
    await following.start(one)
    gone = b'event: gone\ndata: {"channel":"news","count":0,"exact":false}\n\n'
    assert transport.written == (gone if told else b"")
