"""The state and counts of a publisher and of a subscription, for logs, metrics, the roster and programs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PublisherStatistics:
    """The state of a publisher, and what became of its events so far.

    Attributes:
        state: `live` or `connecting`.
        producer: the random name under which it publishes.
        waiting: events that Redis has not accepted yet.
        fill: how full the queue is with them, from 0 to 1.
        accepted: events that Redis has accepted.
        failed: events that Redis will never accept.
        replayed: events that Redis lost and were sent again.
        gone: events that Redis lost and were too old to be sent again.
        unconfirmed: accepted events that Redis may have lost again when the publisher ended.
        reconnects: how often it has reconnected; -1 before the first connection.
    """

    state: str
    producer: str
    waiting: int
    fill: float
    accepted: int
    failed: int
    replayed: int
    gone: int
    unconfirmed: int
    reconnects: int


@dataclass(frozen=True, slots=True)
class SubscriptionStatistics:
    """The state of a subscription, and what became of its messages so far.

    Attributes:
        state: `connecting`, `catching_up` or `live`.
        waiting: messages that have not been handled yet.
        fill: how full the inbox is with them, from 0 to 1.
        recovered: messages that were missed and then read from the history.
        lost: messages that were missed and are no longer in the history.
        duplicates: messages that arrived again and were dropped.
        gaps: messages that did not follow the previous one.
        dropped: messages without history that were dropped because the inbox was full.
        reconnects: how often it has reconnected; -1 before the first connection.
    """

    state: str
    waiting: int
    fill: float
    recovered: int
    lost: int
    duplicates: int
    gaps: int
    dropped: int
    reconnects: int
