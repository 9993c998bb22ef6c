"""Metrics for Prometheus, on a separate port: counts that other parts keep anyway, read at each scrape.

A metric here is a function that returns its samples; it is called in the event loop.
"""

import asyncio
import os
import socket
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fanout._publish.publisher import Publisher
from fanout._redis.commands import Commands
from fanout._subscribe.subscription import Subscription
from fanout.errors import SettingError
from fanout.service.scrapes import Scrapes
from fanout.service.server_memory import Watch
from fanout.service.settings import ServiceSettings

Source = Callable[[], Metric]

_serving: set[asyncio.Task[None]] = set()  # the event loop holds tasks only weakly
STATES = ("connecting", "catching_up", "live")
BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
"""Upper bounds of a latency, in milliseconds."""


def counter(name: str, text: str, read: Callable[[], float]) -> Source:
    """Make a metric that only grows; `name` is without its `_total`, `text` is the help text."""
    return lambda: CounterMetricFamily(name, text, value=read())


def gauge(name: str, text: str, read: Callable[[], float | None]) -> Source:
    """Make a metric that goes up and down; it has no sample while `read` returns None."""
    return lambda: GaugeMetricFamily(name, text, value=read())


def state(name: str, text: str, read: Callable[[], str]) -> Source:
    """Make a metric with a sample for each of STATES: 1 for the current one, 0 for the others."""

    def source() -> Metric:
        family, now = GaugeMetricFamily(name, text, labels=["state"]), read()
        for one in STATES:
            family.add_metric([one], one == now)
        return family

    return source


class Latency:
    """A histogram of latencies."""

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text
        self._counted: tuple[list[int], int, float] = ([0] * len(BUCKETS), 0, 0.0)

    def add(self, latencies: Sequence[float]) -> None:
        """Count latencies, which must be in milliseconds and in ascending order."""
        within, count, total = self._counted
        more = [n + bisect_right(latencies, bound) for n, bound in zip(within, BUCKETS, strict=True)]
        self._counted = more, count + len(latencies), total + sum(latencies)

    def __call__(self) -> Metric:
        """Return the histogram of all latencies so far, in seconds."""
        within, count, total = self._counted
        buckets = [(str(bound / 1000), float(n)) for bound, n in zip(BUCKETS, within, strict=True)]
        return HistogramMetricFamily(
            self._name, self._text, buckets=[*buckets, ("+Inf", float(count))], sum_value=total / 1000
        )


def of_publisher(publisher: Publisher) -> list[Source]:
    """Return the metrics of a publisher."""
    now = publisher.statistics
    return [
        counter("fanout_messages_published", "Messages that Redis has accepted.", lambda: now().accepted),
        counter("fanout_messages_failed", "Messages that Redis will never accept.", lambda: now().failed),
        counter("fanout_messages_replayed", "Messages sent again because Redis had lost them.", lambda: now().replayed),
        counter("fanout_messages_gone", "Lost by Redis and too old to be sent again.", lambda: now().gone),
        counter("fanout_writer_reconnects", "Reconnections to Redis.", lambda: max(0, now().reconnects)),
        state("fanout_writer_state", "State of the publisher's connection: one of them is 1.", lambda: now().state),
        gauge("fanout_writer_buffer_messages", "Messages that wait for Redis to accept them.", lambda: now().waiting),
        gauge("fanout_writer_buffer_fill_ratio", "How full the buffer is; 1 is full.", lambda: now().fill),
        *_of_server(lambda: publisher.redis),
    ]


def of_subscription(subscription: Subscription) -> list[Source]:
    """Return the metrics of a subscription. Messages given to a handler are counted where it is called."""
    now = subscription.statistics
    return [
        counter("fanout_messages_caught_up", "Messages missed and read from history.", lambda: now().recovered),
        counter("fanout_messages_lost", "Messages missed and no longer in history.", lambda: now().lost),
        counter("fanout_messages_dropped", "Not in history, dropped from a full queue.", lambda: now().dropped),
        counter("fanout_duplicates", "Messages that arrived again and were dropped.", lambda: now().duplicates),
        counter("fanout_gaps", "Messages that did not follow the previous one.", lambda: now().gaps),
        counter("fanout_subscription_reconnects", "Reconnections to Redis.", lambda: max(0, now().reconnects)),
        state("fanout_subscription_state", "State of the subscription: one of them is 1.", lambda: now().state),
        gauge("fanout_subscription_queue_messages", "Messages that wait for the handler.", lambda: now().waiting),
        gauge("fanout_subscription_queue_fill_ratio", "How full the queue is; 1 is full.", lambda: now().fill),
        *_of_server(lambda: subscription.redis),
    ]


def _of_server(redis: Callable[[], Commands | None]) -> list[Source]:
    watch = Watch(redis)
    return [
        gauge(
            "fanout_redis_memory_used_bytes",
            "Memory that the Redis server uses; absent while it is unreachable.",
            lambda: watch.memory and watch.memory.used,
        ),
        gauge(
            "fanout_redis_memory_limit_bytes",
            "maxmemory of the Redis server, above which it accepts no events; absent if unlimited.",
            lambda: (watch.memory and watch.memory.limit) or None,
        ),
    ]


def serve(settings: ServiceSettings, service: str, sources: Iterable[Source]) -> str:
    """Serve metrics at METRICS_PORT as long as the event loop runs; return their address, or `off`.

    Raises:
        SettingError: the port is in use.
    """
    port = settings.metrics_port
    if port is None:
        return "off"
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    names = {"service": service, "replica": settings.instance}
    registry.register(
        _Sources([lambda: InfoMetricFamily("fanout", "This replica's service and name.", names), *sources])
    )
    host = "0.0.0.0" if port else "127.0.0.1"  # noqa: S104 # a chosen port is for a Prometheus on another host
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise SettingError("METRICS_PORT", port, f"a port that is free, or off ({why})") from None
    task = asyncio.create_task(Scrapes(registry).run(listener))
    _serving.add(task)
    task.add_done_callback(_serving.discard)
    return f"http://{host}:{listener.getsockname()[1]}/metrics"


class _Sources(Collector):
    def __init__(self, sources: list[Source]) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        return (source() for source in self._sources)
