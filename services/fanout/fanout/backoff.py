"""The one policy for reaching Redis: full-jitter exponential backoff, without end, every attempt in the log."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from fanout.errors import ConnectionLost, RefusedByRedis
from fanout.logs import get_logger
from fanout.settings import Settings

T = TypeVar("T")

GROWTH = 1.05
"""How much longer each wait may be than the last: so slow that after two seconds of outage it is still a short one."""
FIRST_WITHIN = 0.1
SLOWER = 1.2

# Answers that a later attempt may get otherwise: starting up, out of memory, a replica after a failover, a script runs.
_PASSING = (BusyLoadingError, ClusterError, MasterDownError, NoScriptError, OutOfMemoryError, ReadOnlyError)
_PASSING_CODES = ("BUSY", "MISCONF", "NOREPLICAS", "max number of clients")
_FINAL = ("WRONGPASS", "NOAUTH", "NOPERM", "invalid password", "invalid username")


def outage(error: BaseException) -> bool:
    """Whether trying again may help. Failed look-ups are outages too: Docker's DNS forgets a stopped container."""
    if isinstance(error, RefusedByRedis) or refusal(error):
        return False
    return isinstance(error, OSError | TimeoutError | ConnectionLost | RedisError)


def refusal(error: BaseException) -> bool:
    """Whether Redis has said no for good."""
    if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
        return True
    text = str(error)
    if isinstance(error, RedisError) and any(word in text for word in _FINAL):
        return True
    return isinstance(error, ResponseError) and not isinstance(error, _PASSING) and not text.startswith(_PASSING_CODES)


async def with_backoff(
    connect: Callable[[float], Awaitable[T]], settings: Settings, turn: Callable[[], None], *, again: bool
) -> T:
    """The result of the first `connect(within)` that succeeds. `turn` is called at every attempt, for the heartbeat.

    `within` is how many seconds the server may take to accept a connection. It is short until that proves too short:
    what was sent to a server that was down is not sent again for a second, and a new attempt is sooner there.

    `again` says that a connection was lost: then the first attempt waits up to BACKOFF_FIRST too, so that a server that
    drops its clients is not met by all of them at once, and again and again.

    The waits grow from BACKOFF_FIRST to BACKOFF_CAP, each a random part of that
    ("full jitter": M. Brooker, Exponential Backoff and Jitter, AWS Architecture Blog, 2015).

    Raises:
        RefusedByRedis: Redis answered no, and would answer no again.
    """
    log = get_logger()
    began = time.monotonic()

    def before_sleep(state: tenacity.RetryCallState) -> None:
        turn()
        error = state.outcome.exception() if state.outcome else None
        wait = round(state.upcoming_sleep, 3)
        log.warning("connect_failed", attempt=state.attempt_number, wait_s=wait, cause=cause(error))

    if again:
        await asyncio.sleep(random.uniform(0, settings.backoff_first))

    within = min(FIRST_WITHIN, settings.dead_after / 2)

    async def attempt() -> T:
        nonlocal within
        try:
            return await connect(within)
        except TimeoutError:  # the network may be that slow
            within = min(within * SLOWER, settings.dead_after / 2)
            raise

    policy = tenacity.AsyncRetrying(
        wait=tenacity.wait_random_exponential(
            multiplier=settings.backoff_first, max=settings.backoff_cap, exp_base=GROWTH
        ),
        retry=tenacity.retry_if_exception(outage),
        before_sleep=before_sleep,
        sleep=asyncio.sleep,
        reraise=True,
    )
    try:
        result: T = await policy(attempt)
    except RedisError as error:
        raise RefusedByRedis(f"Redis refuses: {error}") from None
    attempts = policy.statistics.get("attempt_number", 1)
    log.info("connected", attempts=attempts, took_ms=round((time.monotonic() - began) * 1000, 1))
    turn()
    return result


def cause(error: BaseException | None) -> str:
    """An error as one line of text."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
