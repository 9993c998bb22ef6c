"""What Fanout is meant to reach, beside what was measured: ratios of medians of one run, and a few figures as such."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.names import (
    BATCH_1,
    C_PUBLISH,
    CONSOLE,
    EVALSHA,
    FORGETS,
    LONG,
    MULTI,
    NO_HISTORY,
    NO_LINES,
    NODE,
    OURS,
    PIPELINE,
    REDIS_PY,
    STREAMS,
    XREAD,
)
from bench.table import Table, number

Rows = Callable[[str], bool]
"""Says of the name of a row whether it is one of those that are compared with."""
HISTORIES = (MULTI, XREAD, STREAMS)


@dataclass(frozen=True)
class Goal:
    """A figure of a table, and what is asked of it: at `least` or at `most` so much.

    It is the figure of the row `ours` itself or, with `theirs`, how many times as much it is as the best of those rows.
    """

    text: str
    table: str
    figure: str
    theirs: Rows | None = None
    least: float | None = None
    most: float | None = None
    ours: str = OURS
    unit: str = "×"

    @property
    def asked(self) -> str:
        """The bound as people write it."""
        return f"≥ {self.least:,g}{self.unit}" if self.least is not None else f"≤ {self.most:,g}{self.unit}"

    def measured(self, table: Table) -> float | None:
        """What the table says; None if a contender is missing."""
        ours = _median(table, self.ours, self.figure)
        if ours is None or self.theirs is None:
            return ours
        others = [_median(table, name, self.figure) for name in table.cells if self.theirs(name)]
        found = [median for median in others if median]
        if not found:
            return None
        return ours / (max(found) if self.least is not None else min(found))

    def met(self, value: float) -> bool:
        """Whether that is enough."""
        return value >= self.least if self.least is not None else self.most is not None and value <= self.most


def is_(name: str) -> Rows:
    """That row alone."""
    return lambda row: row == name


def logs(row: str) -> bool:
    """A peer that writes its log lines."""
    return not row.startswith(OURS) and not row.endswith(NO_LINES)


def forgets(row: str) -> bool:
    """One of them that keeps no history."""
    return logs(row) and row.endswith(FORGETS)


def remembers(row: str) -> bool:
    """One of them that keeps one."""
    return row in HISTORIES


def _latency() -> list[Goal]:
    found = []
    for ours, how in ((OURS, "history"), (NO_HISTORY, "HISTORY_SIZE=0")):
        found += [
            Goal(f"latency 10,000/s, {how}, {point} / best peer", "latency-10000", point, logs, most=1, ours=ours)
            for point in ("p50", "p99")
        ]
    return [
        *found,
        Goal("latency 1,000/s, p50 / best peer without history", "latency-1000", "p50", forgets, most=1.2),
        Goal("latency 1,000/s, p50 / best peer with history", "latency-1000", "p50", remembers, most=1),
    ]


AOF, ALL = "events/s everysec", "messages/s"
GOALS = [
    Goal("receive arrays / node-redis", "receive", ALL, is_(CONSOLE), least=5),
    Goal("receive one event a message / node-redis", "receive", ALL, is_(CONSOLE), least=3.7, ours=BATCH_1),
    Goal("the whole kit / node-redis without history", "kit", ALL, is_(NODE), least=3.5),
    Goal("the whole kit / redis-py without history", "kit", ALL, is_(REDIS_PY), least=4.5),
    Goal("the whole kit / Fanout with HISTORY_SIZE=0", "kit", ALL, is_(NO_HISTORY), least=1),
    Goal("publish / redis-py pipeline of 64 PUBLISH", "publish", AOF, is_(PIPELINE), least=3.5),
    Goal("publish / redis-py pipeline of 64 EVALSHA", "publish", AOF, is_(EVALSHA), least=6),
    Goal("publish / redis-benchmark PUBLISH", "publish", AOF, is_(C_PUBLISH), least=0.9),
    Goal("publish on many channels / redis-py MULTI", "many", "events/s", is_(MULTI), least=3),
    *_latency(),
    Goal("server CPU a delivery to 200 subscribers", "fanout-cpu", "CPU µs 200", most=0.1, unit=" µs"),
    Goal("catching up", "catchup", "events/s", least=500_000, unit="/s"),
    Goal("a message of a long run / of a short one", "flat", "µs", is_(OURS), most=1.1, ours=LONG),
]


@dataclass(frozen=True)
class Outcome:
    """A goal and what was measured; None where a contender is missing."""

    goal: Goal
    value: float | None

    @property
    def met(self) -> bool | None:
        """Whether it is met; None where nobody knows."""
        return None if self.value is None else self.goal.met(self.value)

    def data(self) -> dict[str, Any]:
        """The outcome for programs."""
        return {"goal": self.goal.text, "asked": self.goal.asked, "measured": self.value, "met": self.met}


def outcomes(tables: Iterable[Table], goals: Iterable[Goal] = GOALS) -> list[Outcome]:
    """Return what came of the goals whose figures belong to these tables."""
    found: Mapping[str, Table] = {table.key: table for table in tables}
    return [
        Outcome(goal, goal.measured(table))
        for goal in goals
        if (table := found.get(goal.table)) and any(column.figure == goal.figure for column in table.columns)
    ]


def markdown(found: Iterable[Outcome]) -> str:
    """The outcomes as a table with its title; empty if there are none."""
    said = {True: "met", False: "**not met**", None: "–"}
    rows = [
        f"| {outcome.goal.text} | {outcome.goal.asked} | "
        f"{'–' if outcome.value is None else number(outcome.value) + outcome.goal.unit} | {said[outcome.met]} |"
        for outcome in found
    ]
    return "\n".join(["## Goals", "", "| | asked | measured | |", "|---|---:|---:|---|", *rows, ""]) if rows else ""


def _median(table: Table, row: str, figure: str) -> float | None:
    cell = table.cells.get(row, {}).get(figure)
    return cell.median if cell else None
