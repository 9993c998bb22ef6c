"""Formats a report for people: tables of who received what, and a verdict in one line."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from fanout.service.visible import escape
from report.result import Cell, Result, Row
from run.table import ms, printed, table

MATRIX_ROWS, MATRIX_WIDTH, NAMED = 50, 160, 10
RED, GREEN = "red", "green"
WRONG = ("missing", "duplicated", "out_of_order", "failed")
LATENCIES = ("p50", "p95", "p99", "max")
HEAD = ("replica", "received", *(word.replace("_", " ") for word in WRONG), "caught up", *LATENCIES, "")
LEGEND = {
    "*": "caught up from history",
    " x": "received that often",
    "!": "out of order",
    "#": "failed: the handler raised",
    "-": "sent before it had subscribed",
}


def show(result: Result, *, colour: bool) -> str:
    """Return the whole report."""
    number = f"{len(result.accepted)} of {result.order.count}"
    parts = [escape(f"Report {result.order.run}: the publisher accepted {number} messages on {result.order.channel}")]
    if result.rows and result.accepted:
        parts += [_table(result, colour=colour), *_matrix(result, colour=colour)]
    last = Text(escape(verdict(result)), GREEN if result.ok else RED)
    return "\n\n".join([*parts, *_remarks(result), printed(last, colour=colour)])


def _table(result: Result, *, colour: bool) -> str:
    lines: list[list[Text]] = []
    for row in result.rows:
        wrong = [f"{len(getattr(row, word)):,}" for word in WRONG]
        latencies = [ms(row.latency_ms[name]) for name in LATENCIES]
        cells = [row.replica, f"{row.received:,}", *wrong, f"{row.caught_up:,}", *latencies, _note(row)]
        lines.append([Text(escape(cell), "" if row.ok else RED) for cell in cells])
    made = table(HEAD, lines, left=(0, len(HEAD) - 1))
    return printed(made, "latency in ms, from the publisher to the log of the replica", colour=colour)


def _note(row: Row) -> str:
    again = f"{len(row.repeated)} received again after it was killed, which is allowed" if row.repeated else ""
    return "; ".join(part for part in (row.note, again) if part)


def _matrix(result: Result, *, colour: bool) -> list[str]:
    """Return a matrix of messages and replicas. If there are too many, only messages with a problem are shown, and only
    replicas with one; nothing if these are still too many.
    """
    numbers = list(result.accepted)
    if few := len(numbers) > MATRIX_ROWS:
        numbers = sorted({n for row in result.rows for n in row.wrong})
    for rows in (result.rows, [row for row in result.rows if not row.ok]):
        head = ["message", "sent (UTC)", *(row.replica for row in rows)]
        lines = _cells(result, rows, numbers[:MATRIX_ROWS])
        made = table(head, lines, left=())
        if rows and numbers and len(printed(made).partition("\n")[0]) <= MATRIX_WIDTH:
            break
    else:
        return []
    cells = [text for line in lines for text in line[2:]]
    legend = [f"{mark.strip()}: {meaning}" for mark, meaning in LEGEND.items() if any(mark in text for text in cells)]
    if few:
        first = f"the first {MATRIX_ROWS} of the " * (len(numbers) > MATRIX_ROWS)
        legend.insert(0, f"{first}messages with a problem: {len(numbers)}")
    return [printed(made, *["; ".join(legend)] * bool(legend), colour=colour)]


def _cells(result: Result, rows: Sequence[Row], numbers: Sequence[int]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for n in numbers:
        sent = f"{datetime.fromtimestamp(result.accepted[n].at, UTC):%H:%M:%S.%f}"[:-3]
        lines.append((str(n), sent, *(cell(row.messages[n]) for row in rows)))
    return lines


def cell(one: Cell) -> str:
    """Return what became of one message at one replica."""
    if not one.times:
        return "-" if one.times is None else "missing"
    received = "received" if one.latency_ms is None else ms(one.latency_ms)
    marks = "*" * one.caught_up + "!" * one.out_of_order + "#" * one.failed
    return received + marks + (f" x{one.times}" if one.times > 1 else "")


def _remarks(result: Result) -> list[str]:
    remarks = [f"{name} did not run: {why}" for name, why in result.absent.items()]
    if result.failed:
        remarks.append(f"publishing was given up: {result.failed}")
    if result.unanswered:
        remarks.append(f"received, although the publisher never answered that they were accepted: {result.unanswered}")
    return ["\n".join(map(escape, remarks))] if remarks else []


def verdict(result: Result) -> str:
    """Return the verdict, one line."""
    if result.ok:
        some = [row.replica for row in result.rows if any(one.times is None for one in row.messages.values())]
        who = f"all {len(result.rows) - len(some)} replicas" if len(result.rows) > 1 else result.rows[0].replica
        since = f"; {', '.join(some)}: all that were sent after it had subscribed" if some else ""
        return f"OK: {result.order.count} messages reached {who}, once and in order{since}."
    wrong: list[str] = []
    if not_accepted := result.order.count - len(result.accepted):
        wrong.append(f"{not_accepted} not accepted")
    for word in WRONG:
        found = {row.replica: len(getattr(row, word)) for row in result.rows if getattr(row, word)}
        names = [f"{name}: {count}" for name, count in list(found.items())[:NAMED]] + ["..."] * (len(found) > NAMED)
        if found:
            wrong.append(f"{sum(found.values())} {word.replace('_', ' ')} ({', '.join(names)})")
    return f"FAILED: {'; '.join(wrong)}"


def as_json(result: Result) -> dict[str, Any]:
    """Return the whole report, for scripts."""
    rows = [asdict(row) | {"ok": row.ok} for row in result.rows]
    accepted = [
        {"n": n, "sent": event.at, "source": event.key[0], "id": str(event.key[1])}
        for n, event in result.accepted.items()
    ]
    return {
        **asdict(result.order),
        "ok": result.ok,
        "accepted": accepted,
        "failed": result.failed or None,
        "unanswered": result.unanswered,
        "replicas": rows,
        "absent": dict(result.absent),
    }
