"""What Prometheus is told, against what happened."""

import signal
import socket
import struct
import time
import urllib.request
from collections.abc import Callable
from urllib.parse import urlparse

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fanout import keys
from fanout.errors import ExitCode
from run.loopback import free_port
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]


class Scrape(dict[str, float]):
    """The samples by name, or by name and the value of their one label: `fanout_writer_state live`."""

    def __init__(self, service: Service) -> None:
        with urllib.request.urlopen(service.wait_for("started")[0]["metrics"], timeout=10) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            text = answer.read().decode()
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        for family in self.families.values():
            for sample in family.samples:
                self[" ".join([sample.name, *sample.labels.values()])] = sample.value


def state(scrape: Scrape, name: str) -> list[str]:
    return [word for word in ("connecting", "catching_up", "live") if scrape[f"{name} {word}"]]


def cut(server: RedisServer) -> None:
    client = server.client()
    for kind in ("pubsub", "normal"):
        client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def test_both_ends_tell_what_they_have_done(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber", INSTANCE="fanout-subscriber-7")
    subscriber.wait_for("live")
    publisher = start("publisher", PUBLISH_RATE=1000, PUBLISH_COUNT=300)
    publisher.wait_for("load_finished")
    there = eventually(lambda: (seen := Scrape(subscriber))["fanout_messages_received_total"] == 300 and seen)
    assert there.families["fanout_info"].samples[0].labels == {
        "service": "subscriber",
        "replica": "fanout-subscriber-7",
    }
    assert state(there, "fanout_subscription_state") == ["live"]
    assert time.time() - there["fanout_last_message_timestamp_seconds"] < 60
    nothing = ("messages_lost", "messages_dropped", "messages_caught_up", "gaps", "duplicates", "handler_failures")
    assert {there[f"fanout_{name}_total"] for name in (*nothing, "subscription_reconnects")} == {0}
    assert there["process_resident_memory_bytes"] > 2**20

    here = Scrape(publisher)
    assert here["fanout_messages_published_total"] == 300
    assert state(here, "fanout_writer_state") == ["live"]
    assert here["fanout_writer_buffer_messages"] == here["fanout_writer_buffer_fill_ratio"] == 0
    assert {here[f"fanout_messages_{name}_total"] for name in ("failed", "replayed", "gone")} == {0}
    assert all(family.documentation for family in (here.families | there.families).values())


def test_the_histogram_of_latencies_counts_a_sample(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    publish = "".join(f"{n}\n" for n in range(30))
    start("publisher", "send", "notifications", stdin=publish.encode()).ended()
    seen = eventually(lambda: (seen := Scrape(subscriber))["fanout_latency_seconds_count"] and seen)
    buckets = [sample for sample in seen.families["fanout_latency_seconds"].samples if "le" in sample.labels]
    counts = [bucket.value for bucket in buckets]
    assert [float(bucket.labels["le"]) for bucket in buckets[::5]] == [0.0001, 0.005, 0.25, 10]
    assert counts == sorted(counts)
    assert 1 <= counts[-1] == seen["fanout_latency_seconds_count"] <= 30
    assert counts[-2] == counts[-1]  # all within 10 s
    assert 0 < seen["fanout_latency_seconds_sum"] < 10 * counts[-1]


def test_what_was_missed_caught_up_and_lost_is_counted(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    subscriber.signal(signal.SIGSTOP)
    cut(server)
    start("publisher", "send", "notifications", stdin=b"x\n" * 20, BATCH_EVENTS=1).ended()
    server.client().xtrim(keys.history("notifications"), maxlen=5, approximate=False)
    subscriber.signal(signal.SIGCONT)
    seen = eventually(lambda: (seen := Scrape(subscriber))["fanout_messages_received_total"] == 5 and seen)
    names = ("messages_lost", "messages_caught_up", "messages_received", "subscription_reconnects")
    assert [seen[f"fanout_{name}_total"] for name in names] == [15, 5, 5, 1]
    assert subscriber.events("messages_lost")[0]["count"] == 15


def test_scrapes_are_answered_while_redis_is_away_and_the_buffer_fills(server: RedisServer, start: Start) -> None:
    subscriber, publisher = start("subscriber"), start("publisher", PUBLISH_RATE=2000)
    subscriber.wait_for("live")
    eventually(lambda: Scrape(publisher)["fanout_messages_published_total"])
    server.kill()
    away = eventually(lambda: (seen := Scrape(publisher))["fanout_writer_buffer_messages"] > 100 and seen)
    assert away["fanout_writer_buffer_fill_ratio"] >= away["fanout_writer_buffer_messages"] / 100_000 / 2
    assert state(away, "fanout_writer_state") == ["connecting"]
    eventually(lambda: state(Scrape(subscriber), "fanout_subscription_state") == ["connecting"])
    server.start()
    back = eventually(lambda: state(seen := Scrape(publisher), "fanout_writer_state") == ["live"] and seen)
    assert back["fanout_writer_reconnects_total"] == 1
    # Redis forgot everything: what it had accepted is sent again.
    eventually(lambda: Scrape(publisher)["fanout_messages_replayed_total"] > 0)


def test_the_memory_of_the_server_is_told_and_its_limit_and_nothing_while_it_is_away(
    server: RedisServer, start: Start
) -> None:
    used, limit = "fanout_redis_memory_used_bytes", "fanout_redis_memory_limit_bytes"
    server.client().config_set("maxmemory", 50_000_000)
    services = [start("subscriber"), start("publisher"), start("gateway")]
    for service in services:
        seen = eventually(lambda service=service: (seen := Scrape(service)).get(limit) and seen)
        assert seen[limit] == 50_000_000
        assert 500_000 < seen[used] < 50_000_000
    server.kill()
    for service in services:
        eventually(lambda service=service: used not in Scrape(service))
    server.start()
    for service in services:
        seen = eventually(lambda service=service: (seen := Scrape(service)).get(used) and seen)
        assert limit not in seen  # the server that came back has none


def test_a_taken_port_ends_in_one_line_that_names_it(server: RedisServer, start: Start) -> None:
    port = free_port(0)
    first = start("subscriber", METRICS_PORT=port)
    assert first.wait_for("started")[0]["metrics"] == f"http://0.0.0.0:{port}/metrics"
    assert Scrape(first)
    second = start("subscriber", METRICS_PORT=port, INSTANCE="second")
    assert second.ended() == ExitCode.BAD_INPUT
    (line,) = second.lines
    why = f"METRICS_PORT is {port}, but must be a port that is free, or off (Address already in use)"
    assert (line["event"], line["reason"]) == ("failed", why)
    sent = start("publisher", "send", "notifications", "hello", METRICS_PORT=port)
    assert sent.ended() == ExitCode.OK  # it serves no metrics


@pytest.mark.parametrize("name", ["publisher", "subscriber"])
def test_metrics_can_be_turned_off(start: Start, name: str) -> None:
    service = start(name, METRICS_PORT="off")
    assert service.wait_for("started")[0]["metrics"] == "off"
    service.wait_for("connected")
    assert service.stop() == ExitCode.OK


def test_a_scraper_that_hangs_or_hangs_up_holds_nothing_up(start: Start) -> None:
    subscriber = start("subscriber", PYTHONWARNINGS="error", PYTHONDEVMODE=1)
    at = urlparse(subscriber.wait_for("started")[0]["metrics"])
    assert at.hostname == "127.0.0.1"
    subscriber.wait_for("live")
    for request in (b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n\r\n"):
        with socket.create_connection((at.hostname, at.port)) as rude:
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            rude.sendall(request)
    with socket.create_connection((at.hostname, at.port)) as idle:
        idle.sendall(b"GET /metr")
        assert Scrape(subscriber)
        began = time.monotonic()
        assert subscriber.stop() == ExitCode.OK
        assert time.monotonic() - began < 2
    assert [line["event"] for line in subscriber.lines if line["event"] in {"NO JSON", "library_log", "crashed"}] == []
