"""What was received: a line a message, and one that sums up each second of traffic."""

import time
from typing import Any

import msgspec

from fanout import metrics
from fanout.logs import SHOWN_DATA, Line, every, get_logger, lines, shown
from fanout.message import Message, ages_ms
from fanout.presence import CHANNELS, Replica
from fanout.subscription import Subscription

SAMPLES = 20


class Received(Line, omit_defaults=True, gc=False):
    """The fields of `message_received`, in the order in which they are written."""

    channel: str
    plain: bool = False
    source: str = ""
    id: str = ""
    streamid: str | None = None
    streamseq: str | None = None
    latency_ms: float | None = None
    catch_up: bool = False
    data: Any = msgspec.UNSET


class Traffic:
    """Counts messages and logs them. Latencies are milliseconds from an event's time to here."""

    def __init__(self, log_messages: float) -> None:
        self._every = every(log_messages)
        self._log, self._lines = get_logger(), lines()
        self._latencies: list[float] = []
        self._since = time.monotonic()
        self._started = time.time()
        self._counted = 0
        self._p50: float | None = None
        self._p99: float | None = None
        self._last_at: float | None = None
        self._latency = metrics.Latency(
            "fanout_latency_seconds",
            f"From a message's time until it is received, of a sample: at most {SAMPLES} of each batch.",
        )
        self.received = 0
        self.failed = 0

    def messages_received(self, batch: list[Message]) -> None:
        """These messages go to the handler."""
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
        prepared = [
            Received(
                always,
                message.channel,
                not message.source,
                message.source,
                message.id,
                message.streamid,
                message.streamseq,
                age,
                message.catch_up,
                data if type(data := message.data) is str and len(data) <= SHOWN_DATA else shown(data),
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

    def handler_failed(self, message: Message, error: Exception) -> None:
        """The handler raised: the message counts as delivered, and does not come again."""
        self.failed += 1
        self._log.error(
            "handler_failed",
            channel=message.channel,
            source=message.source,
            id=message.id,
            data=shown(message.data),
            exc_info=error,
        )

    def summarize(self, subscription: Subscription) -> None:
        """Logs the `traffic` line, if there was any since the last."""
        now = time.monotonic()
        count, seconds = self.received - self._counted, now - self._since
        latencies = sorted(self._latencies)
        self._latency.add(latencies)
        self._latencies, self._counted, self._since = [], self.received, now
        if count:
            figures: dict[str, Any] = {"received": self.received, "rate": round(count / seconds, 1)}
            if latencies:
                self._p50 = figures["latency_p50_ms"] = round(latencies[len(latencies) // 2], 3)
                self._p99 = figures["latency_p99_ms"] = round(latencies[len(latencies) * 99 // 100], 3)
            figures |= {"duplicates": subscription.live.duplicates, "gaps": subscription.live.gaps}
            self._log.info("traffic", **figures, lost=subscription.lost)

    def metrics(self) -> list[metrics.Source]:
        """What Prometheus is told."""
        return [
            metrics.counter("fanout_messages_received", "Messages given to the handler.", lambda: self.received),
            metrics.counter("fanout_handler_failures", "Messages on which the handler raised.", lambda: self.failed),
            metrics.gauge(
                "fanout_last_message_timestamp_seconds",
                "When the last batch was received, in seconds since 1970; 0 is never.",
                lambda: self._last_at or 0,
            ),
            self._latency,
        ]

    def replica(self, subscription: Subscription) -> Replica:
        """What the presence record says."""
        return Replica(
            service="subscriber",
            instance=subscription.instance,
            state=subscription.state,
            since=self._started,
            waiting=subscription.inbox.waiting,
            reconnects=subscription.reconnects,
            received=self.received,
            caught_up=subscription.recovered,
            duplicates=subscription.live.duplicates,
            lost=subscription.lost,
            failed=self.failed,
            latency_p50_ms=self._p50,
            latency_p99_ms=self._p99,
            last_message_at=self._last_at,
            channels=subscription.positions(CHANNELS),
            patterns=list(subscription.what.patterns),
        )
