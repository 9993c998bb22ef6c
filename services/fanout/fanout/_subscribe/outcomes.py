"""Counts and logs what catch-ups found."""

from collections.abc import Callable

from fanout._subscribe.catch_up import Outcome
from fanout.log import get_logger


class Outcomes:
    """The sums over all catch-ups.

    Attributes:
        recovered: how many missed events were delivered.
        lost: how many events are gone for good.
        duplicates: how many events had been delivered before.
        on_lost: called with the channel and the outcome of each catch-up that found events gone for good.
    """

    def __init__(self) -> None:
        self._log = get_logger()
        self.recovered = self.lost = self.duplicates = 0
        self.on_lost: Callable[[str, Outcome], None] = lambda *_: None

    def report(self, channel: str, why: str, outcome: Outcome, took: float) -> None:
        """Count what a catch-up found, and log it unless it found nothing. It took `took` seconds."""
        self.recovered += outcome.recovered
        self.duplicates += outcome.duplicates
        self.lost += outcome.lost
        if outcome.lost:
            self._log.error(
                "messages_lost",
                channel=channel,
                count=outcome.lost,
                exact=outcome.exact,
                first_streamseq=outcome.lost_from,
                last_streamseq=outcome.lost_from + outcome.lost - 1,
            )
            self.on_lost(channel, outcome)
        if outcome.recovered or outcome.lost or outcome.duplicates:
            self._log.info(
                "caught_up",
                channel=channel,
                cause=why,
                outcome=outcome.name,
                recovered=outcome.recovered,
                lost=outcome.lost,
                duplicates=outcome.duplicates,
                took_ms=round(took * 1000, 1),
            )
