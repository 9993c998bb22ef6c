"""Which errors pass, which stay, and which say no to one channel only; and how often it is tried again."""

import asyncio
import random
import socket
from typing import Any, NamedTuple

import pytest
import redis.exceptions
from redis.asyncio.connection import DefaultParser
from structlog.testing import capture_logs

from fanout._redis.retry import cause, of_channel, outage, refusal, with_backoff
from fanout.environment import Environment
from fanout.errors import ConnectionLost, NameTaken, RefusedByRedis, SettingError, UnsupportedLibrary
from fanout.settings import Settings, read_settings


class Kind(NamedTuple):
    """What is made of an error: at a process's first connection, and later; and what is said no to."""

    outage_first: bool
    outage_later: bool
    refusal: bool
    of_channel: bool


PASSES = Kind(True, True, refusal=False, of_channel=False)
"""The server, or the way to it, is not as it should be for a while."""
STAYS = Kind(False, False, refusal=True, of_channel=False)
"""We may not do what we must."""
CHANNEL = Kind(False, False, refusal=True, of_channel=True)
"""We may not do it on this channel, or with its keys."""
LOGIN = Kind(False, False, refusal=False, of_channel=False)
"""A wrong password; it is an outage where one was right before."""
UNKNOWN = Kind(False, True, refusal=False, of_channel=True)
"""An answer that nobody foresaw: to a command about a channel it concerns that channel."""
NO_ANSWER = Kind(True, True, refusal=False, of_channel=False)
NOT_OURS = Kind(False, False, refusal=False, of_channel=False)

SCRIPT = "script: 5c1a6f3b, on @user_script:57."
ANSWERS: dict[str, tuple[Kind, str]] = {
    "starting": (PASSES, "LOADING Redis is loading the dataset in memory"),
    "full": (PASSES, "OOM command not allowed when used memory > 'maxmemory'."),
    "full, in a script": (PASSES, f"OOM command not allowed when used memory > 'maxmemory'. {SCRIPT}"),
    "a replica": (PASSES, "READONLY You can't write against a read only replica."),
    "a replica, in a script": (PASSES, f"READONLY You can't write against a read only replica. {SCRIPT}"),
    "a replica without its primary": (
        PASSES,
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    ),
    "a script runs": (
        PASSES,
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    ),
    "cannot save": (
        PASSES,
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    ),
    "cannot append": (PASSES, "MISCONF Errors writing to the AOF file: No space left on device"),
    "too few replicas": (PASSES, "NOREPLICAS Not enough good replicas to write."),
    "script flushed": (PASSES, "NOSCRIPT No matching script. Please use EVAL."),
    "a cluster without a quorum": (PASSES, "CLUSTERDOWN The cluster is down"),
    "too many clients": (NO_ANSWER, "ERR max number of clients reached"),
    "wrong password": (LOGIN, "WRONGPASS invalid username-password pair or user is disabled."),
    "no password": (LOGIN, "NOAUTH Authentication required."),
    "no password, as HELLO says it": (
        LOGIN,
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH ...",
    ),
    "wrong password, as old servers say it": (LOGIN, "ERR invalid password"),
    "password without need": (LOGIN, "ERR Client sent AUTH, but no password is set"),
    "a command": (STAYS, "NOPERM User limited has no permissions to run the 'evalsha' command"),
    "a command, as Redis 6 says it": (STAYS, "NOPERM this user has no permissions to run the 'ping' command"),
    "a command, in a script": (
        STAYS,
        f"ERR ACL failure in script: User limited has no permissions to run the 'xadd' command {SCRIPT}",
    ),
    "a command, in a script of Redis 7.0": (
        STAYS,
        f"ERR The user executing the script can't run this command or subcommand {SCRIPT}",
    ),
    "a database": (STAYS, "NOPERM User limited has no permissions to access database 1"),
    "a key": (CHANNEL, "NOPERM No permissions to access a key"),
    "a key, by name": (CHANNEL, "NOPERM User limited has no permissions to access the 'fanout:{c}:history' key"),
    "a key, as Redis 6 says it": (
        CHANNEL,
        "NOPERM this user has no permissions to access one of the keys used as arguments",
    ),
    "a key, in a script": (CHANNEL, f"ERR ACL failure in script: No permissions to access a key {SCRIPT}"),
    "a key, in a script of Redis 7.0": (
        CHANNEL,
        f"ERR The user executing the script can't access at least one of the keys mentioned in the command {SCRIPT}",
    ),
    "a channel": (CHANNEL, "NOPERM No permissions to access a channel"),
    "a channel, as our script says it": (CHANNEL, "NOPERM no permission to publish on the channel"),
    "a key of another type": (UNKNOWN, "WRONGTYPE Operation against a key holding the wrong kind of value"),
    "an unforeseen answer": (UNKNOWN, "ERR value is not an integer or out of range"),
    "protected mode": (UNKNOWN, "DENIED Redis is running in protected mode because protected mode is enabled"),
}


def answer(text: str) -> BaseException:
    """The error that redis-py makes of a server's answer."""
    error = DefaultParser.parse_error(text)
    assert isinstance(error, redis.RedisError)
    return error


def kind(error: BaseException) -> Kind:
    return Kind(outage(error, first=True), outage(error, first=False), refusal(error), of_channel(error))


@pytest.mark.parametrize(("expected", "text"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_of_the_server_passes_stays_or_is_of_one_channel(expected: Kind, text: str) -> None:
    assert kind(answer(text)) == expected


@pytest.mark.parametrize(
    ("expected", "error"),
    [
        (NO_ANSWER, ConnectionRefusedError(111, "Connection refused")),
        (NO_ANSWER, ConnectionResetError(104, "Connection reset by peer")),
        (NO_ANSWER, socket.gaierror(-2, "Name or service not known")),
        (NO_ANSWER, FileNotFoundError(2, "No such file or directory")),  # a Unix socket
        (NO_ANSWER, TimeoutError()),
        (NO_ANSWER, ConnectionLost("no sign of life")),
        (NO_ANSWER, redis.exceptions.ConnectionError("Connection closed by server.")),
        (NO_ANSWER, redis.exceptions.TimeoutError("Timeout reading from socket")),
        (NO_ANSWER, redis.exceptions.InvalidResponse("Protocol Error: b'HTTP/1.1'")),
        (STAYS, redis.exceptions.AuthorizationError("not authorized")),
        (NOT_OURS, RefusedByRedis("the server is too old")),
        (NOT_OURS, NameTaken("two of one name")),
        (NOT_OURS, UnsupportedLibrary("redis-py is too old")),
        (NOT_OURS, SettingError("REDIS_URL", "x", "redis://")),
        (NOT_OURS, ValueError("a bug")),
        (NOT_OURS, asyncio.CancelledError()),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, BaseException) else "",
)
def test_what_is_no_answer_is_an_outage_or_none_of_our_business(expected: Kind, error: BaseException) -> None:
    assert kind(error) == expected


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("one\n  two\tthree"), "one two three"),
        (TimeoutError(), "TimeoutError"),
        (ConnectionLost("  \n"), "ConnectionLost"),
    ],
)
def test_a_cause_is_one_line_and_never_empty(error: Exception, text: str) -> None:
    assert cause(error) == text


FULL = answer("OOM command not allowed when used memory > 'maxmemory'.")
WRONG_PASSWORD = answer("WRONGPASS invalid username-password pair or user is disabled.")


class Server:
    """One that fails in these ways, and then lets a client in."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.within: list[float] = []

    async def connect(self, within: float) -> str:
        self.within.append(within)
        if self.failures:
            raise self.failures.pop(0)
        return "connected"


def settings(**more: str) -> Settings:
    return read_settings(Environment({"INSTANCE": "x", "BACKOFF_FIRST": "0.1", "BACKOFF_CAP": "0.3"} | more))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each wait would have been, of those that may be longest; nobody waits."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)
    return found


async def reach(server: Server, *, again: bool = False, chosen: Settings | None = None) -> str:
    return await with_backoff(server.connect, chosen or settings(), lambda: None, again=again)


async def test_the_waits_grow_slowly_from_the_first_to_the_cap(waits: list[float]) -> None:
    assert await reach(Server(*[ConnectionRefusedError()] * 40)) == "connected"
    assert waits[:3] == pytest.approx([0.1, 0.105, 0.11025])
    assert waits == sorted(waits)
    assert waits[-10:] == [0.3] * 10
    assert len(waits) == 40


async def test_a_wait_is_any_part_of_the_longest_that_it_may_be(
    waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(random, "uniform", lambda low, _high: asked.append(low) or low)
    await reach(Server(ConnectionRefusedError()), again=True)
    assert (asked, waits) == ([0, 0], [0, 0])


async def test_only_after_a_connection_was_lost_the_first_attempt_waits_too(waits: list[float]) -> None:
    await reach(Server())
    assert waits == []
    await reach(Server(), again=True)
    assert waits == [0.1]


async def test_an_attempt_that_took_too_long_is_given_longer_up_to_half_of_dead_after(waits: list[float]) -> None:
    server = Server(TimeoutError(), ConnectionRefusedError(), *[TimeoutError()] * 30)
    await reach(server, chosen=settings(DEAD_AFTER="4"))
    assert server.within[:4] == pytest.approx([0.1, 0.12, 0.12, 0.144])  # refused at once: that says nothing of it
    assert server.within[-1] == 2


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (answer(ANSWERS["a command"][1]), False),
        (answer(ANSWERS["a command"][1]), True),
        (answer(ANSWERS["protected mode"][1]), False),
        (WRONG_PASSWORD, False),
        (WRONG_PASSWORD, True),
    ],
)
async def test_an_answer_that_stays_ends_it_at_the_first_attempt(
    waits: list[float], error: Exception, again: bool
) -> None:
    server = Server(error)
    with pytest.raises(RefusedByRedis) as raised:
        await reach(server, again=again)
    assert str(raised.value) == f"Redis refuses: {error}"
    assert raised.value.__suppress_context__
    assert len(server.within) == 1


@pytest.mark.parametrize(("error", "again"), [(FULL, False), (answer("ERR who knows"), True)])
async def test_an_answer_that_passes_is_an_outage(waits: list[float], error: Exception, again: bool) -> None:
    assert await reach(Server(error, error), again=again) == "connected"


async def test_a_password_that_was_right_once_is_being_changed(waits: list[float]) -> None:
    chosen = settings()
    chosen.redis.accepted = True
    assert await reach(Server(WRONG_PASSWORD, WRONG_PASSWORD), chosen=chosen) == "connected"


async def test_an_error_of_ours_is_raised_as_it_is(waits: list[float]) -> None:
    for error in (RefusedByRedis("too old"), ValueError("a bug")):
        with pytest.raises(type(error)) as raised:
            await reach(Server(error))
        assert raised.value is error


async def test_attempts_are_logged_once_a_second_and_the_heart_beats_at_each(
    waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, beats = [0.0], [0]
    monkeypatch.setattr("fanout._redis.retry.time.monotonic", lambda: now[0])

    def turn() -> None:
        beats[0] += 1
        now[0] += 0.25

    server = Server(*[ConnectionRefusedError(111, "Connection\nrefused")] * 9)
    with capture_logs() as log:
        await with_backoff(server.connect, settings(), turn, again=False)
    failed: list[Any] = [line for line in log if line["event"] == "connect_failed"]
    assert [line["attempt"] for line in failed] == [1, 5, 9]
    assert (failed[0]["wait_s"], failed[0]["cause"], failed[0]["log_level"]) == (
        0.1,
        "[Errno 111] Connection refused",
        "warning",
    )
    assert (log[-1]["event"], log[-1]["attempts"]) == ("connected", 10)
    assert beats == [10]
