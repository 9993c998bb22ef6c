"""Contenders measured in turn, A B C A B C ..., so that a machine that slows down does so for all of them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.wire import RunError

Run = Callable[[], Mapping[str, float]]
"""One run of a contender; returns its figures by name."""
Groups = Mapping[str, Mapping[str, Run]]
"""Contenders by name, in groups of those that are compared."""


@dataclass
class Samples:
    """What the runs of one contender gave: a list of values for each figure, or why there are none."""

    values: dict[str, list[float]] = field(default_factory=dict)
    failure: str = ""


Results = dict[str, dict[str, Samples]]
"""The samples of each contender of each group."""


class Rounds:
    """Runs every contender of every group, then all again, `repetitions` times or as often as `seconds` allow.

    One that fails is left out from then on, and what it gave is dropped. `results` is complete up to where `run` was
    interrupted; `done` counts whole rounds.
    """

    def __init__(self, groups: Groups, repetitions: int, seconds: float) -> None:
        self._groups, self._repetitions, self._seconds = groups, repetitions, seconds
        self.results: Results = {group: {name: Samples() for name in runs} for group, runs in groups.items()}
        self.done = 0

    def run(self) -> None:
        """Measures; prints a line a run."""
        began = time.monotonic()
        longest = 0.0
        while self.done < self._repetitions:
            round_began = time.monotonic()
            if self.done and round_began - began + longest > self._seconds:
                print(f"no time for more than {self.done} rounds ({self._seconds:g} s)", flush=True)
                return
            for group, runs in self._groups.items():
                for name, run in runs.items():
                    self._run(group, name, run)
            self.done += 1
            longest = max(longest, time.monotonic() - round_began)

    def _run(self, group: str, name: str, run: Run) -> None:
        samples = self.results[group][name]
        if samples.failure:
            return
        began = time.monotonic()
        figures: Mapping[str, float] = {}
        try:
            figures = run()
        except Exception as error:  # a run of half an hour does not end because of one contender
            kind = "" if isinstance(error, RunError) else f"{type(error).__name__}: "
            samples.failure = kind + " ".join(str(error).split())
            samples.values.clear()
        for figure, value in figures.items():
            samples.values.setdefault(figure, []).append(value)
        shown = ", ".join(f"{figure} {value:,.4g}" for figure, value in figures.items()) or samples.failure
        took = time.monotonic() - began
        print(f"{self.done + 1}/{self._repetitions} {group}  {name}: {shown}  ({took:.1f} s)", flush=True)


def joined(parts: Mapping[str, Mapping[str, Samples]]) -> dict[str, Samples]:
    """Several groups of the same contenders as one; each figure's name gets the name of its part behind it."""
    found: dict[str, Samples] = {}
    for part, group in parts.items():
        for name, samples in group.items():
            merged = found.setdefault(name, Samples())
            merged.failure = merged.failure or samples.failure
            merged.values |= {f"{figure} {part}": values for figure, values in samples.values.items()}
    return found
