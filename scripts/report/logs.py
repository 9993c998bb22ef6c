"""Reads what subscribers have logged since a moment, from the containers or from the log file without containers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from logs.sources import LogFile
from report.result import hear
from run import folder
from run.child import Trouble
from run.replicas import Replica, docker

AT_ONCE = 8
YOUNG = timedelta(minutes=1)


class ComposeLogs:
    """The logs of containers, read in full each time; for a removed container, what it had logged when last read."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], list[str]] = {}
        self.begin()

    def begin(self) -> None:
        """Ignore everything that was logged before now."""
        # By the engine's clock, which dates the lines and may be that of another machine.
        self._since = docker("info", "--format", "{{.SystemTime}}").strip().strip('"')

    def starting(self, one: Replica) -> bool:
        """Return whether a subscriber was started just now and has not subscribed yet."""
        age = datetime.fromisoformat(self._since) - datetime.fromisoformat(one.started)
        if age > YOUNG:
            return False
        heard = hear(self._log(one, one.started) or [], "", {})
        return heard.starting or heard.subscribed is None

    def read(self, replicas: Sequence[Replica]) -> Mapping[str, list[str]]:
        """Return the lines since `begin`, by replica."""
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
        except Trouble:  # the container was removed meanwhile
            return None


class LocalLogs:
    """The lines of the stack's log file, by process."""

    def __init__(self) -> None:
        """Open the log. Raises Trouble if it cannot be read."""
        try:
            self._file = LogFile(folder.LOG)
        except OSError as error:
            raise Trouble(f"the stack's log cannot be read: {error}") from None
        self._lines: dict[str, list[str]] = defaultdict(list)

    def begin(self) -> None:
        """Ignore everything that was logged before now."""
        self.read()
        self._lines.clear()

    def starting(self, one: Replica) -> bool:
        """Return whether a subscriber was started just now and has not subscribed yet."""
        lines = self.read().get(one.name)
        return lines is None or hear(lines, "", {}).starting

    def read(self, _: Sequence[Replica] = ()) -> Mapping[str, list[str]]:
        """Return the lines since `begin`, by replica."""
        for name, line in self._file.read():
            self._lines[name].append(line)
        return self._lines
