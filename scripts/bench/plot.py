"""Horizontal bars: a panel a figure, a bar a contender, the best on top; Fanout in its own colour."""

from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found]
from matplotlib.figure import Figure  # type: ignore[import-not-found]

from bench.names import LIMIT, OURS
from bench.table import Cell, Column, Table, number

INK, QUIET, FANOUT, PEER, LEAST = "#1f2328", "#656d76", "#0b6bcb", "#b6bec9", "#e3e7ec"
BAR, PANEL, WIDTH = 0.27, 0.5, 9.0
"""Inches: a bar with its gap, a panel's title and gap, the whole picture."""


def draw(panels: list[tuple[Table, Column]], path: Path, caption: str, *, limits: bool) -> None:
    """Draws a panel for each figure of a table, with the limits or not; the suffix of the path says in which format."""
    mpl.rcParams.update({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "fanout", "text.color": INK})
    bars = [_bars(*panel, limits=limits) for panel in panels]
    figure = Figure(figsize=(WIDTH, BAR * sum(map(len, bars)) + PANEL * len(panels) + 0.3), layout="constrained")
    axes = figure.subplots(len(panels), 1, gridspec_kw={"height_ratios": list(map(len, bars))}, squeeze=False)
    for (table, column), shown, axis in zip(panels, bars, axes[:, 0], strict=True):
        _panel(axis, table, column, shown)
    figure.supxlabel(caption, fontsize=7, color=QUIET, x=0.01, ha="left")
    figure.savefig(path, dpi=150, facecolor="white", metadata={"Date": None} if path.suffix == ".svg" else None)


def _bars(table: Table, column: Column, *, limits: bool) -> list[tuple[str, Cell]]:
    found = [
        (name, cells[column.figure])
        for name, cells in table.cells.items()
        if column.figure in cells and (limits or not name.endswith(LIMIT))
    ]
    return sorted(found, key=lambda bar: bar[1].median, reverse=column.more is False)


def _panel(axis: Any, table: Table, column: Column, bars: list[tuple[str, Cell]]) -> None:
    longest = max(cell.high for _, cell in bars)
    for place, (name, cell) in enumerate(bars):
        ours = name.startswith(OURS)
        axis.barh(place, cell.median, height=0.66, color=FANOUT if ours else LEAST if name.endswith(LIMIT) else PEER)
        axis.hlines(place, cell.low, cell.high, color=INK, linewidth=0.9)
        times = table.ratio(name, column)
        label = number(cell.median) + (f"   Fanout {number(times)}×" if times else "")
        axis.text(
            cell.high + longest * 0.012, place, label, va="center", fontsize=8, weight="bold" if ours else "normal"
        )
    axis.set_yticks(range(len(bars)), [name for name, _ in bars])
    axis.set_ylim(-0.5, len(bars) - 0.5)
    axis.set_xlim(0, longest * 1.36)
    axis.set_xticks([])
    axis.tick_params(left=False, colors=INK)
    for spine in axis.spines.values():
        spine.set_visible(False)
    better = "more is better" if column.more else "less is better"
    axis.set_title(table.title, loc="left", fontsize=10, weight="bold")
    axis.set_title(f"{column.title}; {better}", loc="right", fontsize=8, color=QUIET)
