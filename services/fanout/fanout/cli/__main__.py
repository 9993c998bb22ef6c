"""Runs one of the programs: python -m fanout.cli status|roster|probe ..."""

import argparse
import sys
from collections.abc import Callable

from fanout.cli import probe, roster, status

PROGRAMS: dict[str, Callable[[argparse.ArgumentParser], int]] = {
    "status": status.main,
    "roster": roster.main,
    "probe": probe.main,
}


def main() -> int:
    """Run the program that the first argument names, and return its exit code."""
    name = sys.argv.pop(1) if sys.argv[1:] else ""
    if name not in PROGRAMS:
        sys.exit(f"usage: python -m fanout.cli {'|'.join(PROGRAMS)} ...")
    return PROGRAMS[name](argparse.ArgumentParser(f"fanout.cli {name}"))


if __name__ == "__main__":
    sys.exit(main())
