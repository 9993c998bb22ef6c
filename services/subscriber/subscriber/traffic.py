"""Logs and counts what was received: a line for each message, and a summary of each second of traffic."""

import time
from typing import Any

import msgspec
import structlog

from fanout import Subscription
from fanout.message import Message, ages_ms
from fanout.service import metrics
from fanout.service.logs import Line, lines
from fanout.service.roster import CHANNELS, Replica
from fanout.shown import every, shown, shown_data
from subscriber.delivery import MessageId

SAMPLES = 20
FEW = 10
"""Messages a second up to which no summary is logged."""


class Received(Line, omit_defaults=True, gc=False):
    """The fields of `message_received`, in the order in which they are written."""

    channel: str
    data: Any = msgspec.UNSET
    plain: bool = False
    source: str = ""
    id: str = ""
    streamid: str | None = None
    streamseq: str | None = None
    latency_ms: float | None = None
    catch_up: bool = False


class Traffic:
    """Counts messages and logs them. Latencies are in milliseconds, from an event's time until it is received."""

    def __init__(self, log_messages: float) -> None:
        self._every = every(log_messages)
        self._log, self._lines = structlog.get_logger(), lines()
        self._latencies: list[float] = []
        self._since = time.monotonic()
        self._started = time.time()
        self._counted = 0
        self._p50: float | None = None
        self._p99: float | None = None
        self._last_at: float | None = None
        self._latency = metrics.Latency(
            "fanout_latency_seconds",
            f"From a message's time until it is received, for a sample of at most {SAMPLES} messages of each batch.",
        )
        self.received = 0
        self.failed = 0

    def messages_received(self, batch: list[Message]) -> None:
        """Count and log messages that are about to be given to the handler."""
        first = self.received + 1
        self.received += len(batch)
        now = self._last_at = time.time()
        logged = batch[-first % self._every :: self._every] if self._every else []
        if not logged:
            self._sample(ages_ms(batch[:: len(batch) // SAMPLES + 1], now))
            return
        ages = ages_ms(logged, now)
        self._sample(ages[:: len(ages) // SAMPLES + 1])
        always = self._lines.always("message_received", now) if self._lines else msgspec.Raw()
        as_it_is = shown_data()
        prepared = [
            Received(
                always,
                message.channel,
                data if type(data := message.data) is str and len(data) <= as_it_is else shown(data),
                not message.source,
                message.source,
                message.id,
                message.streamid,
                message.streamseq,
                age,
                message.catch_up,
            )
            for message, age in zip(logged, ages, strict=True)
        ]
        if self._lines:
            self._lines.write(prepared)
            return
        for line in prepared:
            fields = list(msgspec.structs.asdict(line).items())[1:]
            given = {name: value for name, value in fields if name == "data" or value not in {None, False, ""}}
            self._log.info("message_received", **given)

    def _sample(self, ages: list[float | None]) -> None:
        self._latencies.extend([age for age in ages if age is not None])

    def handler_failed(self, which: MessageId, message: Message, error: BaseException) -> None:
        """Count and log that the handler raised; the message still counts as delivered and is not delivered again."""
        self.failed += 1
        self._log.error("handler_failed", **which._asdict(), data=shown(message.data), exc_info=error)

    def summarize(self, subscription: Subscription) -> None:
        """Sum up the messages since the last call; log them as `traffic` if there were many."""
        at = time.monotonic()
        count, seconds = self.received - self._counted, at - self._since
        latencies = sorted(self._latencies)
        self._latency.add(latencies)
        self._latencies, self._counted, self._since = [], self.received, at
        figures: dict[str, Any] = {"received": self.received, "rate": round(count / seconds, 1)}
        if latencies:
            self._p50 = figures["latency_p50_ms"] = round(latencies[len(latencies) // 2], 3)
            self._p99 = figures["latency_p99_ms"] = round(latencies[len(latencies) * 99 // 100], 3)
        if count > FEW * seconds:
            now = subscription.statistics()
            self._log.info("traffic", **figures, duplicates=now.duplicates, gaps=now.gaps, lost=now.lost)

    def metrics(self) -> list[metrics.Source]:
        """Return the metrics for Prometheus."""
        return [
            metrics.counter("fanout_messages_received", "Messages given to the handler.", lambda: self.received),
            metrics.counter("fanout_handler_failures", "Messages on which the handler raised.", lambda: self.failed),
            metrics.gauge(
                "fanout_last_message_timestamp_seconds",
                "When the last batch was received, in seconds since 1970; 0 if none was.",
                lambda: self._last_at or 0,
            ),
            self._latency,
        ]

    def replica(self, subscription: Subscription) -> Replica:
        """Return the subscriber's record for the roster."""
        now = subscription.statistics()
        return Replica(
            service="subscriber",
            instance=subscription.instance,
            state=now.state,
            since=self._started,
            waiting=now.waiting,
            reconnects=now.reconnects,
            received=self.received,
            caught_up=now.recovered,
            duplicates=now.duplicates,
            lost=now.lost,
            failed=self.failed,
            latency_p50_ms=self._p50,
            latency_p99_ms=self._p99,
            last_message_at=self._last_at,
            channels=subscription.positions(CHANNELS),
            patterns=list(subscription.what.patterns[:CHANNELS]),
        )
