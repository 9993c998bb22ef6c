"""python -m bench --mode short|full [--only receive,publish,...] [--out FOLDER]: runs the benchmark, from scripts/."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from bench import machine, programs, report
from bench.modes import MODES
from bench.rounds import Rounds, Run
from bench.table import Table

ITEMS = {
    "receive": "receive",
    "kit": "kit",
    "publish": "publish",
    "many": "many",
    "large": "large",
    "latency": "latency",
    "fanout": "fan_out",
    "catchup": "catchup",
    "footprint": "footprint",
}


def items(value: str) -> list[str]:
    """The names of an argument, separated by commas, in the order of ITEMS."""
    names = value.split(",")
    if unknown := [name for name in names if name not in ITEMS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(ITEMS)}")
    return [name for name in ITEMS if name in names]


def on_stop(handler: Callable[..., None] | signal.Handlers) -> None:
    """What Ctrl-C and SIGTERM do from now on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def interrupt(*_: object) -> None:
    """Ends the run under way; a further signal must not disturb how that ends its processes."""
    on_stop(signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """Runs the items and writes the report; returns the exit code, 1 if a contender failed."""
    parser = argparse.ArgumentParser(prog="bench", description="Measures Fanout beside its peers, on loopback.")
    parser.add_argument("--mode", choices=MODES, default="short", help="short: 5 minutes; full: 17; smoke: does it run")
    parser.add_argument("--only", type=items, default=list(ITEMS), metavar="ITEM,...", help=", ".join(ITEMS))
    parser.add_argument("--out", type=Path, default=programs.ROOT / "tests/artifacts/bench", metavar="FOLDER")
    options = parser.parse_args()
    if not programs.PRODUCT.exists():
        sys.exit("bench: there is no .venv with the product's packages; scripts/venv scripts makes it")
    mode = MODES[options.mode]
    facts = machine.describe(options.mode)
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), flush=True)
    began = time.monotonic()
    chosen = [import_module(f"bench.items.{ITEMS[name]}") for name in options.only]
    groups: dict[str, Mapping[str, Run]] = {}
    for item in chosen:
        groups |= item.runs(mode)
    rounds = Rounds(groups, mode.repetitions, mode.seconds)
    stopped = False
    try:
        on_stop(interrupt)
        rounds.run()
    except KeyboardInterrupt:
        # Each block has ended its processes on the way here; what was measured is still worth a report.
        stopped = True
    on_stop(signal.SIG_DFL)
    facts["took"] = f"{time.monotonic() - began:.0f} s, load after it {os.getloadavg()[0]:.2f}"
    if stopped:
        facts["stopped"] = f"in round {rounds.done + 1}, which counts where it came to"
    found: list[Table] = [table for item in chosen for table in item.tables(mode, rounds.results)]
    tables = [table for table in found if table.cells or table.failures]
    print("\n" + report.markdown(tables, facts, rounds.done))
    print(*report.write(options.out, tables, facts, rounds.done), sep="\n")
    if stopped:
        return 130
    return int(any(table.failures for table in tables))


if __name__ == "__main__":
    sys.exit(main())
