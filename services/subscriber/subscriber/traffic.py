"""What was received: a line a message, and one that sums up each second of traffic."""

import time
from typing import Any

from fanout.logs import every, get_logger, shown
from fanout.message import Message
from fanout.subscription import Subscription

SAMPLES = 20


class Traffic:
    """Counts messages and logs them. Latencies are milliseconds from an event's time to here."""

    def __init__(self, log_messages: float) -> None:
        self._every = every(log_messages)
        self._log = get_logger()
        self._latencies: list[float] = []
        self._since = time.monotonic()
        self._counted = 0
        self.received = 0
        self.failed = 0

    def count(self, batch: list[Message]) -> None:
        """A batch is about to be delivered. Latency is taken from a sample of it."""
        now = time.time()
        for message in batch[:: len(batch) // SAMPLES + 1]:
            if (age := message.age_ms(now)) is not None:
                self._latencies.append(age)

    def message_received(self, message: Message) -> None:
        """The message goes to the handler."""
        self.received += 1
        if not self._every or self.received % self._every:
            return
        if message.plain:
            self._log.info("message_received", channel=message.channel, plain=True, data=shown(message.data))
            return
        age = message.age_ms(time.time())
        fields: dict[str, Any] = {"channel": message.channel, "source": message.source, "id": message.id}
        if message.streamid:
            fields |= {"streamid": message.streamid, "streamseq": message.streamseq}
        if age is not None:
            fields["latency_ms"] = round(age, 3)
        if message.catch_up:
            fields["catch_up"] = True
        self._log.info("message_received", **fields, data=shown(message.data))

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
        self._latencies, self._counted, self._since = [], self.received, now
        if count:
            figures: dict[str, Any] = {"received": self.received, "rate": round(count / seconds, 1)}
            if latencies:
                figures["latency_p50_ms"] = round(latencies[len(latencies) // 2], 3)
                figures["latency_p99_ms"] = round(latencies[len(latencies) * 99 // 100], 3)
            figures |= {"duplicates": subscription.live.duplicates, "gaps": subscription.live.gaps}
            self._log.info("traffic", **figures, lost=subscription.lost)
