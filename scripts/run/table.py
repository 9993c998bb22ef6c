"""Prints tables and lines for people, with or without colour."""

import os
import sys
from collections.abc import Collection, Iterable, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from fanout.service.visible import escape

WIDEST = 100_000
"""Characters a line may have: more than any terminal, so that nothing is wrapped."""


def coloured() -> bool:
    """Return whether to print colours to standard output."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    left: Collection[int] = (0,),
    style: str = "dim",
    gap: int = 2,
) -> Table:
    """Make a table whose columns are right-aligned, except for those in `left`; `style` is that of the head."""
    made = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style=style)
    for n, name in enumerate(head):
        made.add_column(Text(escape(name)), justify="left" if n in left else "right", no_wrap=True)
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(escape(cell)) for cell in row))
    return made


def printed(*parts: RenderableType, colour: bool = False) -> str:
    """Return the text of tables and lines, one below the other, without trailing blanks."""
    console = Console(
        width=WIDEST, force_terminal=colour, color_system="standard" if colour else None, highlight=False, markup=False
    )
    with console.capture() as capture:
        console.print(*parts, sep="\n", soft_wrap=False)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def ms(latency: float | None) -> str:
    """Format milliseconds with a reasonable number of digits."""
    if latency is None:
        return ""
    return f"{latency:.1f}" if abs(latency) < 100 else f"{latency:,.0f}"
