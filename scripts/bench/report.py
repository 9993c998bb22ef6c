"""The tables as files: report.md to read, results.json for programs, a picture an item and an overview."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench import plot
from bench.table import Table

HEAD = """# Benchmark

Medians of {repetitions} runs (lowest–highest); all contenders in turn, each run with a Redis and processes of its own.
A bold **2.0×** says how many times as good Fanout is: below 1 the other one is better.
"""


def markdown(tables: Iterable[Table], machine: Mapping[str, str], repetitions: int) -> str:
    """The whole report."""
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    return "\n".join([HEAD.format(repetitions=repetitions), facts, "", *(table.markdown() for table in tables)])


def write(folder: Path, tables: list[Table], machine: Mapping[str, str], repetitions: int) -> list[Path]:
    """Writes all files; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    report, results = folder / "report.md", folder / "results.json"
    report.write_text(markdown(tables, machine, repetitions))
    data = {"machine": machine, "repetitions": repetitions, "items": {table.key: table.data() for table in tables}}
    results.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    caption = f"{machine['machine']} · {machine['date']} · median of {repetitions}, whiskers from lowest to highest"
    pictures = [folder / f"{table.key}.svg" for table in tables if table.cells]
    for table, picture in zip([table for table in tables if table.cells], pictures, strict=True):
        plot.draw(
            [(table, column) for column in table.columns if column.more is not None], picture, caption, limits=True
        )
    overview = [
        (table, column)
        for table in tables
        for column in table.columns
        if column.figure in table.headline and len(table.cells) > 1
    ]
    if overview:
        pictures += [folder / "overview.svg", folder / "overview.png"]
        for picture in pictures[-2:]:
            plot.draw(overview, picture, caption, limits=False)
    return [report, results, *pictures]
