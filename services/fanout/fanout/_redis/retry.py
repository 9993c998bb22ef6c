"""The one retry policy for connecting to Redis: exponential backoff with full jitter, without end, and logged."""

import asyncio
import random
import re
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
from fanout.log import get_logger
from fanout.settings import Settings

T = TypeVar("T")

GROWTH = 1.05
"""The factor from one wait's limit to the next: so small that waits are still short after two seconds of outage."""
FIRST_WITHIN = 0.1
LOG_EVERY = 1.0
"""Seconds between two log lines about failed attempts of one outage."""
SLOWER = 1.2

# Errors that may pass: the server starts up, is out of memory, became a replica in a failover, or runs a script.
_TRANSIENT = (BusyLoadingError, ClusterError, MasterDownError, NoScriptError, OutOfMemoryError, ReadOnlyError)
_TRANSIENT_CODES = ("BUSY", "MISCONF", "NOREPLICAS", "max number of clients")
_LOGIN = ("WRONGPASS", "NOAUTH", "invalid password", "invalid username")
_DENIED = re.compile(r"^NOPERM|no permission|ACL failure|executing the script can't", re.IGNORECASE)
_COMMAND = re.compile(r"permissions? to run|can't run|access database")


def outage(error: BaseException, *, first: bool = True) -> bool:
    """Return whether trying again may help. A failed look-up counts, since Docker's DNS forgets stopped containers.

    At the `first` connection of a process, an unknown error from Redis counts as permanent.
    """
    if isinstance(error, RefusedByRedis) or refusal(error) or login_refused(error):
        return False
    if first and isinstance(error, ResponseError) and not _is_transient(error):
        return False
    return isinstance(error, OSError | TimeoutError | ConnectionLost | RedisError)


def refusal(error: BaseException) -> bool:
    """Return whether Redis refuses for good: it does not permit a command that we need."""
    if login_refused(error):
        return False
    if isinstance(error, AuthorizationError | NoPermissionError):
        return True
    return isinstance(error, RedisError) and bool(_DENIED.search(str(error)))


def of_channel(error: BaseException) -> bool:
    """Return whether an error concerns only the channel of the command: its name or its keys are refused."""
    if not isinstance(error, ResponseError) or _is_transient(error) or login_refused(error):
        return False
    return not refusal(error) or bool(_DENIED.search(str(error)) and not _COMMAND.search(str(error)))


def _is_transient(error: ResponseError) -> bool:
    return isinstance(error, _TRANSIENT) or str(error).startswith(_TRANSIENT_CODES)


def login_refused(error: BaseException) -> bool:
    """Return whether Redis refuses the login. If it accepted one before, the password is being changed: an outage."""
    return isinstance(error, AuthenticationError) or (
        isinstance(error, RedisError) and any(word in str(error) for word in _LOGIN)
    )


async def with_backoff(
    connect: Callable[[float], Awaitable[T]], settings: Settings, on_attempt: Callable[[], None], *, again: bool
) -> T:
    """Call `connect(within)` until it succeeds, and return its result.

    Args:
        connect: gets the seconds in which the server must accept the connection. They are few at first and grow with
            each timeout: the kernel resends a lost SYN only after a second, and a new attempt is sooner than that.
        settings: the limits of the waits: they grow from BACKOFF_FIRST to BACKOFF_CAP, and each wait is a random part
            of its limit ("full jitter": M. Brooker, Exponential Backoff and Jitter, AWS Architecture Blog, 2015).
        on_attempt: called at each attempt, for the heartbeat.
        again: whether a connection was lost. Then the first attempt also waits up to BACKOFF_FIRST, so that the clients
            of a server that drops them do not all come back at once.

    A refused password is permanent only if Redis has never accepted this process: else it is being changed, and each
    attempt reads it again.

    Raises:
        RefusedByRedis: Redis refuses, and would refuse again.
    """
    log = get_logger()
    began = time.monotonic()

    logged_at = -LOG_EVERY

    def before_sleep(state: tenacity.RetryCallState) -> None:
        nonlocal logged_at
        on_attempt()
        if time.monotonic() - logged_at < LOG_EVERY:
            return
        logged_at = time.monotonic()
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
        except TimeoutError:  # the network may be too slow for this limit
            within = min(within * SLOWER, settings.dead_after / 2)
            raise

    def may_help(error: BaseException) -> bool:
        return outage(error, first=not again) or (settings.redis.accepted and login_refused(error))

    policy = tenacity.AsyncRetrying(
        wait=tenacity.wait_random_exponential(
            multiplier=settings.backoff_first, max=settings.backoff_cap, exp_base=GROWTH
        ),
        retry=tenacity.retry_if_exception(may_help),
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
    on_attempt()
    return result


def cause(error: BaseException | None) -> str:
    """Return an error as one line of text."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
