"""Metrics for Prometheus: what other parts count anyway, read at the moment of a scrape, on a port of its own.

A metric here is a function that gives its samples; it is called in the thread of a scrape, while the event loop runs.
So it may read numbers, but must not go through a collection that the loop changes.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fanout.errors import SettingError
from fanout.settings import Settings
from fanout.subscription import Subscription
from fanout.writer import Writer

Source = Callable[[], Metric]

STATES = ("connecting", "catching_up", "live")
BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
"""Upper bounds of a latency, in milliseconds."""


def counter(name: str, says: str, read: Callable[[], float]) -> Source:
    """A number that only grows; `name` is without its `_total`."""
    return lambda: CounterMetricFamily(name, says, value=read())


def gauge(name: str, says: str, read: Callable[[], float]) -> Source:
    """A number that goes up and down."""
    return lambda: GaugeMetricFamily(name, says, value=read())


def state(name: str, says: str, read: Callable[[], str]) -> Source:
    """One of STATES: a sample for each, 1 for the one that holds and 0 for the others."""

    def source() -> Metric:
        family, now = GaugeMetricFamily(name, says, labels=["state"]), read()
        for one in STATES:
            family.add_metric([one], one == now)
        return family

    return source


class Latency:
    """A histogram of latencies."""

    def __init__(self, name: str, says: str) -> None:
        self._name, self._says = name, says
        self._counted: tuple[list[int], int, float] = ([0] * len(BUCKETS), 0, 0.0)

    def add(self, latencies: Sequence[float]) -> None:
        """Counts some more, in milliseconds and in ascending order."""
        within, count, total = self._counted
        more = [n + bisect_right(latencies, bound) for n, bound in zip(within, BUCKETS, strict=True)]
        self._counted = more, count + len(latencies), total + sum(latencies)  # at once: a scrape may come in between

    def __call__(self) -> Metric:
        within, count, total = self._counted
        buckets = [(str(bound / 1000), float(n)) for bound, n in zip(BUCKETS, within, strict=True)]
        return HistogramMetricFamily(
            self._name, self._says, buckets=[*buckets, ("+Inf", float(count))], sum_value=total / 1000
        )


def of_writer(writer: Writer) -> list[Source]:
    """The metrics of what is published."""
    sent = writer.sender
    return [
        counter("fanout_messages_published", "Messages that Redis has accepted.", lambda: sent.accepted),
        counter("fanout_messages_failed", "Messages not accepted, and not sent again.", lambda: sent.failed),
        counter("fanout_messages_replayed", "Messages sent again: Redis had lost them.", lambda: sent.replayed),
        counter("fanout_messages_gone", "Messages that Redis lost, too old to be sent again.", lambda: sent.gone),
        counter("fanout_writer_reconnects", "Times that Redis was reached again.", lambda: max(0, sent.reconnects)),
        state("fanout_writer_state", "What the writer's connection is: one of these is 1.", lambda: sent.state),
        gauge("fanout_writer_buffer_messages", "Messages that wait for Redis.", lambda: writer.waiting),
        gauge("fanout_writer_buffer_fill_ratio", "How full the buffer is; 1 is full.", lambda: writer.fill),
    ]


def of_subscription(subscription: Subscription) -> list[Source]:
    """The metrics of what is subscribed to. What the handler gets is counted by who calls it."""
    own, live, queue = subscription, subscription.live, subscription.inbox
    return [
        counter("fanout_messages_caught_up", "Messages that were read from history.", lambda: own.recovered),
        counter("fanout_messages_lost", "Messages missed and gone from history too.", lambda: own.lost),
        counter("fanout_messages_dropped", "Messages without history for a full queue.", lambda: live.dropped),
        counter("fanout_duplicates", "Messages that came again, and were let go.", lambda: live.duplicates),
        counter("fanout_gaps", "Messages that did not follow the one before.", lambda: live.gaps),
        counter("fanout_subscription_reconnects", "Times it reached Redis again.", lambda: max(0, own.reconnects)),
        state("fanout_subscription_state", "What the subscription is: one of these is 1.", lambda: own.state),
        gauge("fanout_subscription_queue_messages", "Messages that wait for the handler.", lambda: queue.waiting),
        gauge("fanout_subscription_queue_fill_ratio", "How full the queue is; 1 is full.", lambda: queue.fill),
    ]


def serve(settings: Settings, service: str, sources: Iterable[Source]) -> str:
    """Serves metrics at METRICS_PORT for the rest of the process's life; returns their address, or `off`.

    This takes a daemon thread, which does not hold up the end of the process.

    Raises:
        SettingError: the port is taken.
    """
    port = settings.metrics_port
    if port is None:
        return "off"
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    names = {"service": service, "replica": settings.instance}
    registry.register(_Sources([lambda: InfoMetricFamily("fanout", "Which replica this is.", names), *sources]))
    host = "0.0.0.0" if port else "127.0.0.1"  # noqa: S104 # a port of one's choice is for a Prometheus elsewhere
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise SettingError("METRICS_PORT", port, f"a port that is free, or off ({error.strerror})") from None
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that hung up is no news
    return f"http://{host}:{server.server_port}/metrics"


class _Sources(Collector):
    def __init__(self, sources: list[Source]) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        return (source() for source in self._sources)
