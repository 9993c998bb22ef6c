"""The tables and goals as files: report.md to read, results.json for programs, a picture an item and an overview."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench import goals, plot
from bench.table import Table

HEAD = """# Benchmark

Medians of {rounds} runs (lowest–highest); all contenders in turn, each run with a Redis and processes of its own.
A bold **2.0×** says how many times as good Fanout is: below 1 the other one is better.
"""


def markdown(tables: Iterable[Table], machine: Mapping[str, str], rounds: int) -> str:
    """The whole report."""
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    tables = list(tables)
    parts = [*(table.markdown() for table in tables), goals.markdown(goals.outcomes(tables))]
    return "\n".join([HEAD.format(rounds=rounds), facts, "", *parts])


def write(folder: Path, tables: list[Table], machine: Mapping[str, str], rounds: int) -> list[Path]:
    """Writes all files; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    report, results = folder / "report.md", folder / "results.json"
    report.write_text(markdown(tables, machine, rounds))
    data = {
        "machine": machine,
        "rounds": rounds,
        "items": {table.key: table.data() for table in tables},
        "goals": [outcome.data() for outcome in goals.outcomes(tables)],
    }
    results.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    caption = f"{machine['machine']} · {machine['date']} · median of {rounds}, whiskers from lowest to highest"
    written = [report, results]
    for table in tables:
        panels = [(table, column) for column in table.measured if column.more is not None]
        if panels:
            written.append(folder / f"{table.key}.svg")
            plot.draw(panels, written[-1], caption, limits=True)
    overview = [(table, column) for table in tables for column in table.measured if column.figure in table.headline]
    for suffix in ("svg", "png") if overview else ():
        written.append(folder / f"overview.{suffix}")
        plot.draw(overview, written[-1], caption, limits=False)
    return written
