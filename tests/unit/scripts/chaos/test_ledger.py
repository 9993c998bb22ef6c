"""The ledger, from log lines to findings."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from chaos.ledger import Ledger, Log, Window

SOURCE, OTHER = "/notifications/a", "/notifications/b"


def line(at: float, event: str, **fields: Any) -> str:
    timestamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return json.dumps({"timestamp": timestamp, "level": "info", "event": event} | fields)


def published(*ids: int, source: str = SOURCE, at: float = 0) -> list[str]:
    return [line(at + n, "message_published", channel="notifications", source=source, id=str(n)) for n in ids]


def life(*ids: int, source: str = SOURCE, at: float = 0.5, **fields: Any) -> list[str]:
    """One life of a subscriber: from its start, what it received."""
    return [
        line(at, "started"),
        *(line(at + n, "message_received", source=source, id=str(n), latency_ms=1.0, **fields) for n in ids),
    ]


def ledger(accepted: list[str], **received: list[str]) -> Ledger:
    return Ledger({"p1": Log(accepted).accepted}, {name: Log(lines).received for name, lines in received.items()})


def keys(findings: list[Any]) -> list[tuple[str, int]]:
    return [(finding.subscriber, finding.key[1]) for finding in findings]


def test_all_is_well() -> None:
    found = ledger(published(1, 2, 3), s1=life(1, 2, 3), s2=life(1, 2, 3))
    assert not (found.lost or found.duplicates or found.repeated or found.disorder or found.unconfirmed)


def test_what_one_subscriber_misses_is_lost_there_only() -> None:
    found = ledger(published(1, 2, 3), s1=life(1, 2, 3), s2=life(1, 3), s3=[line(0, "started")])
    assert keys(found.lost) == [("s2", 2), ("s3", 1), ("s3", 2), ("s3", 3)]
    assert found.lost[0].at == 2, "lost when it was published"


def test_twice_in_one_life_is_a_duplicate_each_time() -> None:
    found = ledger(published(1, 2), s1=life(1, 2, 1, 1, 2))
    assert keys(found.duplicates) == [("s1", 1), ("s1", 1), ("s1", 2)]
    assert not found.disorder
    assert not found.repeated


def test_what_comes_again_in_the_next_life_is_repeated() -> None:
    found = ledger(published(1, 2, 3, 4), s1=life(1, 2, 3) + life(2, 3, 4, at=9))
    assert keys(found.repeated) == [("s1", 2), ("s1", 3)]
    assert not (found.lost or found.duplicates or found.disorder)


def test_twice_in_the_next_life_is_a_duplicate_all_the_same() -> None:
    found = ledger(published(1, 2), s1=life(1, 2) + life(2, 2, at=9))
    assert keys(found.repeated) == keys(found.duplicates) == [("s1", 2)]


def test_what_two_lives_share_out_is_not_lost() -> None:
    assert not ledger(published(1, 2, 3, 4), s1=life(1, 2) + life(3, 4, at=9)).lost


def test_order_counts_within_a_source_and_a_life() -> None:
    found = ledger(published(1, 2, 3, 4), s1=life(1, 3, 2, 4), s2=life(1, 2, 4) + life(3, at=9))
    assert keys(found.disorder) == [("s1", 2)]
    assert not found.duplicates


def test_sources_are_told_apart() -> None:
    accepted = published(1, 2) + published(1, 2, source=OTHER)
    found = ledger(accepted, s1=life(1, 2) + life(1, source=OTHER)[1:])
    assert [(finding.key, finding.subscriber) for finding in found.lost] == [((OTHER, 2), "s1")]
    assert not (found.duplicates or found.disorder)


def test_what_no_publisher_was_told_of_counts_apart() -> None:
    found = ledger(published(1), s1=life(1, 2), s2=life(1, 2))
    assert found.unconfirmed == 1
    assert not found.lost


def test_plain_messages_and_torn_lines_are_no_events() -> None:
    plain = line(1, "message_received", channel="notifications", plain=True, data="x")
    log = Log([line(0, "started"), plain, '{"timestamp":"2026-', "Killed", "[1]"])
    assert not log.received
    assert log.notes == {"unreadable": 3}


def test_what_is_no_info_is_noted_by_its_cause_and_so_are_reported_losses() -> None:
    cut = line(1, "connection_lost", level="warning", cause="cut")
    log = Log([cut, cut, line(2, "dropped", level="warning"), line(3, "messages_lost", level="error", count=40)])
    assert log.notes == {"connection_lost (cut)": 2, "dropped": 1, "messages_lost": 1, "messages reported lost": 40}


def test_a_log_without_its_beginning_is_refused() -> None:
    with pytest.raises(ValueError, match="rotated"):
        Log(life(1, 2)[1:])


def test_findings_stand_at_the_fault_in_whose_window_they_fall() -> None:
    received = life(*range(1, 10)) + life(19, 20, 20, 20, at=0.6, catch_up=True)[1:]
    found = ledger(published(*range(1, 21)), s1=received)
    rows = found.rows([Window("one", "k", 11, 11), Window("two", "k", 15.5, 16)], margin=1)
    assert [(row.fault, row.lost, row.duplicates, row.caught_up) for row in rows] == [
        ("(before the first fault)", 0, 0, 0),
        ("one", 5, 0, 0),
        ("two", 4, 2, 4),
    ]


def test_recovery_lasts_until_the_last_subscriber_has_what_was_accepted_since() -> None:
    """Message n is accepted at n, and here at n + 0.5 and n + 4."""
    found = ledger(published(*range(1, 20)), s1=life(*range(1, 20)), s2=life(*range(1, 20), at=4))
    assert found.recovered(Window("one", "k", 8, 9.8)) == pytest.approx(4.2)
    assert found.recovered(Window("one", "k", 8, 30)) is None
    assert found.recovered(Window("one", "k", 8, None)) is None


def test_recovery_of_a_publisher_asks_for_its_own_messages() -> None:
    accepted = {"p1": Log(published(1, 2, 3)).accepted, "p2": Log(published(5, source=OTHER)).accepted}
    received = {"s1": Log(life(1, 2, 3) + life(5, source=OTHER)[1:]).received}
    found = Ledger(accepted, received)
    assert found.recovered(Window("one", "k", 1, 1.5)) == pytest.approx(1)
    assert found.recovered(Window("one", "k", 1, 1.5, "p2")) == pytest.approx(4)
