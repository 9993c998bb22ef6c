"""What the abuse run says of itself: it can fail."""

import json
from typing import Any

from abuse.attack import Attack, Row, table
from abuse.bystander import Heard, Window, judge
from chaos.ledger import Accepted

SOURCE = "/notifications/0123456789abcdef"


def line(at: int, event: str, number: object = 1, **more: Any) -> str:
    fields = {"timestamp": f"2026-01-01T00:00:{at:02}Z", "level": "info", "event": event}
    return json.dumps(fields | {"channel": "notifications", "source": SOURCE, "id": str(number)} | more)


def received(*numbers: int, latency: float = 5.0) -> Heard:
    lines = [line(n, "message_received", n, latency_ms=latency) for n in numbers]
    return Heard.read([line(0, "started"), *lines])


def published(*numbers: int) -> Heard:
    return Heard.read(line(n, "message_published", n) for n in numbers)


def test_what_is_accepted_and_does_not_arrive_is_lost() -> None:
    verdict = judge(
        [], {"publisher-1": published(1, 2), "subscriber-1": received(1, 2), "subscriber-2": received(1)}, [], 0
    )
    assert (verdict.accepted, verdict.lost, verdict.well) == (2, 1, False)


def test_what_only_the_apis_client_was_told_counts_too() -> None:
    told = [Accepted(1.0, (SOURCE, 3))]
    verdict = judge(told, {"publisher-1": published(1, 2), "subscriber-1": received(1, 2)}, [], 0)
    assert (verdict.accepted, verdict.lost) == (3, 1)


def test_late_is_not_well_unless_redis_itself_was_stopped() -> None:
    heard = {"publisher-1": published(1, 2), "subscriber-1": received(1, 2, latency=300)}
    assert not judge([], heard, [], 0).well
    at = heard["subscriber-1"].latencies[0][0]
    outage = Window(at, at)
    assert judge([], heard, [outage], 0).p99 == {"subscriber-1": 0.3}
    heard["subscriber-1"].latencies[1] = (at + 1, 0.005)
    assert judge([], heard, [outage], 0).well


def test_forged_events_are_neither_lost_nor_out_of_order() -> None:
    forged = [
        line(3, "message_received", number, latency_ms=1.0) for number in ("9" * 5000, "1000000000000000", "abc", "-1")
    ]
    heard = received(1, 2)
    heard.received += Heard.read(forged).received
    assert judge([], {"publisher-1": published(1, 2), "subscriber-1": heard}, [], 0).well


def test_the_table_says_what_fell_and_why() -> None:
    attack, window = Attack("an attack", lambda _: ""), Window(10.0, 12.0)
    rows = [Row(attack, "5 of them", [], 0.05, window), Row(attack, "", ["gateway-1 was restarted"], 0.05, window)]
    _, held, fell, *_ = table(rows, lambda _: 0.02).splitlines()
    assert held.split() == ["an", "attack", "held", "2.0", "50", "20", "5", "of", "them"]
    assert "FELL" in fell
    assert fell.endswith("gateway-1 was restarted")
