"""What subscribers have logged since a moment: the containers' logs, or the file of the stack without containers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import local
from log_sources import LogFile
from replicas import Replica, Trouble, docker

AT_ONCE = 8
RECENT = "30s"


class ComposeLogs:
    """The logs of containers, each read anew; of one that is gone, what it had logged when it was last read."""

    def __init__(self) -> None:
        # The engine's clock dates the lines, and it may be another machine's.
        self._since = docker("info", "--format", "{{.SystemTime}}").strip().strip('"')
        self._lines: dict[tuple[str, str], list[str]] = {}

    def recent(self, replicas: Sequence[Replica]) -> dict[str, list[str]]:
        """The lines of the last half minute, by replica."""
        return {one.name: self._log(one, RECENT) or [] for one in replicas}

    def read(self, replicas: Sequence[Replica]) -> Mapping[str, list[str]]:
        """The lines since the start, by replica."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            logs = list(pool.map(lambda one: self._log(one, self._since), replicas))
        for one, lines in zip(replicas, logs, strict=True):
            if lines is not None:
                self._lines[one.name, one.ident] = lines
        found: dict[str, list[str]] = defaultdict(list)
        for (name, _), lines in self._lines.items():
            found[name] += lines
        return found

    @staticmethod
    def _log(one: Replica, since: str) -> list[str] | None:
        try:
            return docker("logs", "--since", since, one.ident).split("\n")
        except Trouble:  # removed meanwhile
            return None


class LocalLogs:
    """The lines of the stack's log file, by process."""

    def __init__(self) -> None:
        try:
            self._past, self._file = LogFile(local.LOG), LogFile(local.LOG, at_end=True)
        except OSError as error:
            raise Trouble(f"the stack's log cannot be read: {error}") from None
        self._recent: dict[str, list[str]] = defaultdict(list)
        self._lines: dict[str, list[str]] = defaultdict(list)

    def recent(self, _: Sequence[Replica]) -> Mapping[str, list[str]]:
        """The lines of this run so far, by replica."""
        for name, line in self._past.read():
            self._recent[name].append(line)
        return self._recent

    def read(self, _: Sequence[Replica]) -> Mapping[str, list[str]]:
        """The lines since the start, by replica."""
        for name, line in self._file.read():
            self._lines[name].append(line)
        return self._lines
