"""Contenders measured in turn, A B C A B C ..., so that a machine that slows down does so for all of them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.wire import RunError

Run = Callable[[], Mapping[str, float]]
"""One run of a contender; returns its figures by name."""


@dataclass
class Samples:
    """What the runs of one contender gave: a list of values for each figure, or why there are none."""

    values: dict[str, list[float]] = field(default_factory=dict)
    failure: str = ""


def interleaved(item: str, runs: Mapping[str, Run], repetitions: int) -> dict[str, Samples]:
    """Runs each contender `repetitions` times; one that fails is left out from then on, and what it gave is dropped."""
    results = {name: Samples() for name in runs}
    for repetition in range(1, repetitions + 1):
        for name, run in runs.items():
            samples = results[name]
            if samples.failure:
                continue
            began = time.monotonic()
            try:
                figures = run()
            except RunError as error:
                samples.failure = " ".join(str(error).split())
                samples.values.clear()
                figures = {}
            for figure, value in figures.items():
                samples.values.setdefault(figure, []).append(value)
            shown = ", ".join(f"{figure} {value:,.4g}" for figure, value in figures.items()) or samples.failure
            took = time.monotonic() - began
            print(f"{item} {repetition}/{repetitions}  {name}: {shown}  ({took:.1f} s)", flush=True)
    return results
