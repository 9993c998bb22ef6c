"""Workers: everything is done, in order, a little at a time."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from fanout._subscribe.workers import Workers


class Spawned:
    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []

    def __call__(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))


async def test_no_more_at_once_than_allowed_and_what_waits_has_no_task() -> None:
    begun: list[int] = []
    go_on, spawned = asyncio.Event(), Spawned()

    async def work(number: int) -> None:
        begun.append(number)
        await go_on.wait()

    workers = Workers(3, work, spawned)
    for number in range(1000):
        workers.add(number)
    await asyncio.sleep(0)
    assert (begun, len(spawned.tasks)) == ([0, 1, 2], 3)
    go_on.set()
    await asyncio.gather(*spawned.tasks)
    assert begun == list(range(1000))


async def test_work_that_fails_makes_room_for_what_comes_next() -> None:
    done: list[int] = []
    spawned = Spawned()

    async def work(number: int) -> None:
        if number < 2:
            raise ValueError
        done.append(number)

    workers = Workers(1, work, spawned)
    for number in range(2):
        workers.add(number)
        await asyncio.wait(spawned.tasks)
    workers.add(2)
    await asyncio.wait(spawned.tasks)
    assert done == [2]
    assert [type(task.exception()) for task in spawned.tasks] == [ValueError, ValueError, type(None)]
