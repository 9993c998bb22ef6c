"""A subscription ends when it is told to, whatever happens to its connections at that moment."""

import asyncio

import pytest

from fanout import Subscription
from fanout.errors import ConnectionLost
from support.redis_server import RedisServer


@pytest.mark.parametrize("turns", range(4))
async def test_a_subscription_that_loses_its_connection_while_it_is_cancelled_ends(
    server: RedisServer, turns: int
) -> None:
    async with Subscription(server.url, "news") as subscription:
        await subscription.live()
        assert subscription.redis
        session = subscription._sessions.session
        session._connection._lose(ConnectionLost("cut"))
        for _ in range(turns):
            await asyncio.sleep(0)
        subscription.task.cancel()
        done, _ = await asyncio.wait([subscription.task], timeout=5)
        assert done
        assert subscription.task.cancelled()


async def test_a_task_that_is_cancelled_before_its_first_step_leaves_no_coroutine(server: RedisServer) -> None:
    async with Subscription(server.url, "news") as subscription:
        await subscription.live()
        session, begun = subscription._sessions.session, []

        async def work() -> None:
            begun.append(True)

        coroutine = work()
        session._spawn(coroutine)
        session._fail(ConnectionLost("cut"))
        subscription.task.cancel()
        await asyncio.wait([subscription.task])
        assert coroutine.cr_frame is None
