"""The seqs whose events a producer will not send, or not again: they were withdrawn, refused, or are gone."""

from collections.abc import Sequence

KEPT = 1000
"""How many runs of seqs are remembered; the lowest are forgotten first."""


class Holes:
    """Runs of seqs in ascending order. Runs that touch are joined."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: Sequence[tuple[int, int]] = ()

    def add(self, first: int, last: int) -> None:
        """Add the seqs from `first` to `last`."""
        if first > last:
            return
        touching = [run for run in self._runs if run[0] <= last + 1 and run[1] >= first - 1]
        joined = (min([first, *(run[0] for run in touching)]), max([last, *(run[1] for run in touching)]))
        self._runs = sorted([*(run for run in self._runs if run not in touching), joined])[-KEPT:]

    def others(self, first: int, last: int) -> int:
        """Return how many seqs from `first` to `last` are not in any run."""
        known = sum(max(0, min(last, run[1]) - max(first, run[0]) + 1) for run in self._runs)
        return max(0, last - first + 1 - known)
