"""What catch-ups found is counted, and said unless it is nothing."""

from structlog.testing import capture_logs

from fanout._subscribe.catch_up import Outcome
from fanout._subscribe.outcomes import Outcomes


def test_catch_ups_are_summed_up_and_losses_are_told_at_once() -> None:
    found = [Outcome(recovered=3, duplicates=1), Outcome(), Outcome(lost=2, lost_from=10, exact=False, recovered=4)]
    told: list[tuple[str, Outcome]] = []
    with capture_logs() as log:
        outcomes = Outcomes()
        outcomes.on_lost = lambda *found: told.append(found)
        for outcome in found:
            outcomes.report("news", "gap", outcome, 0.25)
    assert (outcomes.recovered, outcomes.duplicates, outcomes.lost) == (7, 1, 2)
    assert told == [("news", found[2])]
    assert [line["event"] for line in log] == ["caught_up", "messages_lost", "caught_up"]
    assert log[1] == {
        "event": "messages_lost", "log_level": "error", "channel": "news", "count": 2, "exact": False,
        "first_streamseq": 10, "last_streamseq": 11,
    }  # fmt: skip
    assert (log[0]["outcome"], log[0]["cause"], log[0]["took_ms"]) == ("recovered", "gap", 250)


def test_an_outcome_has_a_name() -> None:
    assert Outcome().name == "nothing"
    assert Outcome(recovered=1).name == "recovered"
    assert Outcome(recovered=1, lost=1).name == "partial"
    assert Outcome(lost=1, duplicates=1).name == "lost"
