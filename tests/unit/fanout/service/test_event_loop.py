import asyncio
import socket
import threading

import pytest

from fanout.service import event_loop
from fanout.service.event_loop import EventLoop


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> "Names":
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.look_up)
    return names


class Names:
    """A name server that answers when it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.may = threading.Event()

    def look_up(self, *_: object, **__: object) -> list[object]:
        self.asked += 1
        self.may.wait(10)
        raise socket.gaierror("no such name")


def test_many_who_want_a_name_share_one_look_up(names: Names) -> None:
    async def many() -> None:
        asking = [asyncio.create_task(connect()) for _ in range(1000)]
        await asyncio.sleep(0.1)
        names.may.set()
        assert {type(one) for one in await asyncio.gather(*asking, return_exceptions=True)} == {socket.gaierror}
        assert names.asked == 1
        with pytest.raises(socket.gaierror):
            await connect()
        assert names.asked == 2

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(many())


def test_a_look_up_that_hangs_holds_up_no_retry_and_there_are_never_many(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_loop, "HANGS_AFTER", 0.05)

    async def again_and_again() -> None:
        for _ in range(20):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connect(), 0.1)
        assert names.asked == event_loop.LOOK_UPS
        names.may.set()

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(again_and_again())


async def connect() -> object:
    return await asyncio.get_running_loop().create_connection(asyncio.Protocol, "redis", 6379)
