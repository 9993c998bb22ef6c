"""What Redis keeps, for how long, and what is said of what it no longer has."""

from collections.abc import Callable
from pathlib import Path

from fanout.errors import ExitCode
from support.entries import retained
from support.own_code import own_code
from support.redis_server import RedisServer
from support.sending import send
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]

HISTORY = "fanout:{notifications}:history"


def test_what_is_trimmed_is_reported_with_its_exact_count_and_range(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    send(start, "seen")
    subscriber.wait_for("message_received")
    subscriber.stop()
    send(start, *(f"m{n}" for n in range(10)), BATCH_EVENTS=1)
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
    assert 500 <= len(retained(server.client(), "notifications")) <= 1100


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


def test_of_an_entry_that_was_handled_in_part_only_the_rest_is_lost(
    tmp_path: Path, server: RedisServer, start: Start
) -> None:
    code = own_code(
        tmp_path,
        """
import time
def handle(message):
    if message.data == "m43":
        time.sleep(60)
""",
    )
    subscriber = start("subscriber", INSTANCE="s", HANDLER="mine:handle", PYTHONPATH=code, SHUTDOWN_GRACE="0.2")
    subscriber.wait_for("live")
    send(start, *(f"m{n}" for n in range(50)))
    subscriber.wait_for("message_received", 44)
    subscriber.stop()
    server.client().xtrim(HISTORY, maxlen=0, approximate=False)
    again = start("subscriber", INSTANCE="s")
    again.wait_for("live")
    send(start, "next")
    eventually(lambda: again.data() == ["next"])
    lost = again.wait_for("messages_lost")[0]
    assert (lost["count"], lost["exact"], lost["first_streamseq"], lost["last_streamseq"]) == (7, True, 44, 50)
