"""A report for people: who received what, as tables, and in one line how it stands."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from report_result import Cell, Result, Row

MATRIX_ROWS, MATRIX_WIDTH, NAMED = 50, 160, 10
RED, GREEN, DIM = "31", "32", "2"
HEAD = ("replica", "received", "missing", "duplicated", "out of order", "caught up", "p50", "p95", "p99", "max", "")
LEGEND = {
    "*": "caught up from history",
    " x": "came that often",
    "!": "out of order",
    "-": "sent before it had subscribed",
}


class Paint:
    """Colours, or none."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def __call__(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text


def show(result: Result, paint: Paint) -> str:
    """Everything."""
    number = f"{len(result.accepted)} of {result.order.count}"
    parts = [f"Report {result.order.run}: the publisher accepted {number} messages on {result.order.channel}"]
    if result.rows and result.accepted:
        parts += [_table(result, paint), *_matrix(result, paint)]
    parts += [*_remarks(result), verdict(result, paint)]
    return "\n\n".join(parts)


def _table(result: Result, paint: Paint) -> str:
    lines: list[tuple[str, ...]] = [HEAD]
    for row in result.rows:
        wrong = [f"{len(numbers):,}" for numbers in (row.missing, row.duplicated, row.out_of_order)]
        latencies = [ms(row.latency_ms[name]) for name in HEAD[6:10]]
        lines.append((row.replica, f"{row.received:,}", *wrong, f"{row.caught_up:,}", *latencies, _note(row)))
    printed = columns(lines, f"<{'>' * 9}<")
    printed[0] = paint(printed[0], DIM)
    for at, row in enumerate(result.rows, 1):
        printed[at] = printed[at] if row.well else paint(printed[at], RED)
    return "\n".join([*printed, "latency in ms, from the publisher to the log of the replica"])


def _note(row: Row) -> str:
    again = f"{len(row.repeated)} came again after it was killed, which is allowed" if row.repeated else ""
    return "; ".join(part for part in (row.note, again) if part)


def _matrix(result: Result, paint: Paint) -> list[str]:
    """A line a message, a column a replica: of many messages those with which something is wrong, of many replicas
    those with which it is, and nothing where that is too much.
    """
    numbers = list(result.accepted)
    if few := len(numbers) > MATRIX_ROWS:
        numbers = sorted({n for row in result.rows for n in (*row.missing, *row.duplicated, *row.out_of_order)})
    for rows in (result.rows, [row for row in result.rows if not row.well]):
        lines = _cells(result, rows, numbers[:MATRIX_ROWS])
        printed = columns(lines, ">" * len(lines[0]))
        if rows and numbers and len(printed[0]) <= MATRIX_WIDTH:
            break
    else:
        return []
    cells = [text for line in lines[1:] for text in line[2:]]
    legend = [f"{mark.strip()}: {meaning}" for mark, meaning in LEGEND.items() if any(mark in text for text in cells)]
    if few:
        first = f"the first {MATRIX_ROWS} of " * (len(numbers) > MATRIX_ROWS)
        legend.insert(0, f"{first}the messages with which something is wrong, {len(numbers)}")
    return ["\n".join([paint(printed[0], DIM), *printed[1:], *["; ".join(legend)] * bool(legend)])]


def _cells(result: Result, rows: Sequence[Row], numbers: Sequence[int]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = [("message", "sent (UTC)", *(row.replica for row in rows))]
    for n in numbers:
        sent = f"{datetime.fromtimestamp(result.accepted[n].at, UTC):%H:%M:%S.%f}"[:-3]
        lines.append((str(n), sent, *(cell(row.messages[n]) for row in rows)))
    return lines


def cell(one: Cell) -> str:
    """What became of one message at one replica."""
    if not one.times:
        return "-" if one.times is None else "missing"
    came = "came" if one.latency_ms is None else ms(one.latency_ms)
    marks = "*" * one.caught_up + "!" * one.out_of_order + (f" x{one.times}" if one.times > 1 else "")
    return came + marks


def _remarks(result: Result) -> list[str]:
    remarks = [f"{name} did not run: {why}" for name, why in result.absent.items()]
    if result.failed:
        remarks.append(f"not accepted, given up: {result.failed}")
    if result.unanswered:
        remarks.append(f"received, although the publisher did not answer that it is accepted: {result.unanswered}")
    return ["\n".join(remarks)] if remarks else []


def verdict(result: Result, paint: Paint) -> str:
    """One line."""
    if result.well:
        some = [row.replica for row in result.rows if any(one.times is None for one in row.messages.values())]
        who = f"all {len(result.rows) - len(some)} replicas" if len(result.rows) > 1 else result.rows[0].replica
        since = f"; {', '.join(some)}: all that was sent since it had subscribed" if some else ""
        return paint(f"Well: {result.order.count} messages reached {who}, once and in order{since}.", GREEN)
    wrong: list[str] = []
    if not_accepted := result.order.count - len(result.accepted):
        wrong.append(f"{not_accepted} not accepted")
    for word in ("missing", "duplicated", "out_of_order"):
        found = {row.replica: len(getattr(row, word)) for row in result.rows if getattr(row, word)}
        names = [f"{name}: {count}" for name, count in list(found.items())[:NAMED]] + ["..."] * (len(found) > NAMED)
        if found:
            wrong.append(f"{sum(found.values())} {word.replace('_', ' ')} ({', '.join(names)})")
    return paint(f"NOT WELL: {'; '.join(wrong)}", RED)


def columns(lines: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Lines in columns; `sides` says of each whether it is aligned to the left (<) or to the right (>)."""
    forms = [f"{side}{max(map(len, column))}" for side, column in zip(sides, zip(*lines, strict=True), strict=True)]
    return ["  ".join(map(format, line, forms)).rstrip() for line in lines]


def ms(latency: float | None) -> str:
    """Milliseconds, as many digits as there are to care for."""
    if latency is None:
        return ""
    return f"{latency:.1f}" if abs(latency) < 100 else f"{latency:,.0f}"


def as_json(result: Result) -> dict[str, Any]:
    """Everything, for scripts."""
    rows = [asdict(row) | {"well": row.well} for row in result.rows]
    accepted = [
        {"n": n, "sent": event.at, "source": event.key[0], "id": str(event.key[1])}
        for n, event in result.accepted.items()
    ]
    return {
        **asdict(result.order),
        "well": result.well,
        "accepted": accepted,
        "failed": result.failed or None,
        "unanswered": result.unanswered,
        "replicas": rows,
        "absent": dict(result.absent),
    }
