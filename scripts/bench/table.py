"""Figures side by side: a row a contender, a column a measure, the first row being Fanout."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.names import OURS
from bench.rounds import Samples


@dataclass(frozen=True)
class Column:
    """A figure of the runs and its title; `more` says that a larger one is the better one, None that neither is."""

    figure: str
    title: str
    more: bool | None


@dataclass(frozen=True)
class Cell:
    """The median of several runs with the lowest and the highest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)}–{number(self.high)})"


@dataclass
class Table:
    """What one item says. `headline` names the figures that the overview shows; `note` what a reader must know."""

    key: str
    title: str
    columns: list[Column]
    note: str = ""
    headline: tuple[str, ...] = ()
    cells: dict[str, dict[str, Cell]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def fill(self, results: Mapping[str, Samples]) -> "Table":
        """Takes the figures of its columns; returns itself."""
        for name, samples in results.items():
            if samples.failure:
                self.failures[name] = samples.failure
            for column in self.columns:
                if values := samples.values.get(column.figure):
                    cell = Cell(statistics.median(values), min(values), max(values))
                    self.cells.setdefault(name, {})[column.figure] = cell
        return self

    @property
    def measured(self) -> list[Column]:
        """The columns that have figures."""
        return [column for column in self.columns if any(column.figure in cells for cells in self.cells.values())]

    def ratio(self, name: str, column: Column) -> float | None:
        """How many times as good Fanout is as this contender."""
        ours, theirs = self.cells.get(OURS, {}).get(column.figure), self.cells.get(name, {}).get(column.figure)
        if name == OURS or column.more is None or not ours or not theirs or not ours.median or not theirs.median:
            return None
        return ours.median / theirs.median if column.more else theirs.median / ours.median

    def markdown(self) -> str:
        """The table with its title and its note."""
        lines = [f"## {self.title}", "", "| | " + " | ".join(column.title for column in self.columns) + " |"]
        lines.append("|---|" + "---:|" * len(self.columns))
        for name, cells in self.cells.items():
            row = [f"**{name}**" if name.startswith(OURS) else name]
            for column in self.columns:
                times = self.ratio(name, column)
                shown = str(cells.get(column.figure, "–"))
                row.append(shown if times is None else f"{shown} **{number(times)}×**")
            lines.append("| " + " | ".join(row) + " |")
        lines += [f"| {name} | failed: {why[:200].replace('|', '/')} |" for name, why in self.failures.items()]
        return "\n".join([*lines, "", self.note, ""])

    def data(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "title": self.title,
            "columns": {column.figure: column.title for column in self.columns},
            "rows": {
                name: {figure: vars(cell) | {"fanout_is": self._ratio(name, figure)} for figure, cell in cells.items()}
                for name, cells in self.cells.items()
            },
            "failures": self.failures,
        }

    def _ratio(self, name: str, figure: str) -> float | None:
        return next(self.ratio(name, column) for column in self.columns if column.figure == figure)


def number(value: float) -> str:
    """Three digits that count, with commas between thousands."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{round(value, digits - 3 if digits == 0 and abs(value) >= 100_000 else digits):,.{digits}f}"
