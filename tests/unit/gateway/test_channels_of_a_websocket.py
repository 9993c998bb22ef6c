"""The channels of one WebSocket: each is let go of once, whatever ends it."""

import asyncio
from types import SimpleNamespace
from typing import Any

from gateway.websocket import _Channels


class Hubs:
    channels_per_client = 100

    def __init__(self) -> None:
        self.open_ones: list[Any] = []
        self.released: list[str] = []

    def open(self, channel: str) -> Any:
        async def ready() -> None:
            await asyncio.Event().wait()

        shared = SimpleNamespace(history=False)
        self.open_ones.append(SimpleNamespace(channel=channel, clients={}, error=None, shared=shared, ready=ready))
        return self.open_ones[-1]

    def release(self, hub: Any) -> None:
        self.released.append(hub.channel)


class Permission:
    """Permits everything, until it is told to permit nothing."""

    nothing = False

    def refusal(self, _channel: str) -> str:
        return "not permitted" if self.nothing else ""

    async def renew(self, _token: str) -> Any:
        self.nothing = True
        return SimpleNamespace(subject="ann", expires=1, may_subscribe=lambda _: False)


def channels() -> tuple[_Channels, Hubs, list[bytes]]:
    said: list[bytes] = []
    hubs: Any = Hubs()
    client: Any = SimpleNamespace(write=said.append, form=lambda _: b"")
    permission: Any = Permission()
    return _Channels(client, hubs, SimpleNamespace(), permission), hubs, said


async def test_an_end_while_another_is_under_way_lets_go_of_each_channel_once() -> None:
    one, hubs, _ = channels()
    for name in ("a", "b", "c"):
        await one.execute(f'{{"subscribe": "{name}"}}')
    await asyncio.sleep(0)
    await asyncio.gather(one.close(), one.close(), one.execute('{"unsubscribe": "b"}'))
    assert sorted(hubs.released) == ["a", "b", "c"]


async def test_a_renewal_while_the_connection_ends_lets_go_of_each_channel_once() -> None:
    one, hubs, said = channels()
    for name in ("a", "b", "c"):
        await one.execute(f'{{"subscribe": "{name}"}}')
    await asyncio.sleep(0)
    await asyncio.gather(one.execute('{"token": "x"}'), one.close())
    assert sorted(hubs.released) == ["a", "b", "c"]
    assert b"ann" in b"".join(said)
