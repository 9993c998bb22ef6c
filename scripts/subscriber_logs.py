"""What subscribers have logged since a moment: the containers' logs, or the file of the stack without containers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import local
from log_sources import LogFile
from replicas import Replica, Trouble, docker
from report_result import hear

AT_ONCE = 8
YOUNG = timedelta(minutes=1)


class ComposeLogs:
    """The logs of containers, each read anew; of one that is gone, what it had logged when it was last read."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], list[str]] = {}
        self.begin()

    def begin(self) -> None:
        """What is read is from now on."""
        # The engine's clock dates the lines, and it may be another machine's.
        self._since = docker("info", "--format", "{{.SystemTime}}").strip().strip('"')

    def starting(self, one: Replica) -> bool:
        """Whether a subscriber has been started just now and not yet subscribed."""
        age = datetime.fromisoformat(self._since) - datetime.fromisoformat(one.started)
        if age > YOUNG:
            return False
        heard = hear(self._log(one, one.started) or [], "", {})
        return heard.starting or heard.subscribed is None

    def read(self, replicas: Sequence[Replica]) -> Mapping[str, list[str]]:
        """The lines since `begin`, by replica."""
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
        self._past = self._open(at_end=False)
        self._run: dict[str, list[str]] = defaultdict(list)
        self._lines: dict[str, list[str]] = defaultdict(list)
        self.begin()

    @staticmethod
    def _open(*, at_end: bool) -> LogFile:
        try:
            return LogFile(local.LOG, at_end=at_end)
        except OSError as error:
            raise Trouble(f"the stack's log cannot be read: {error}") from None

    def begin(self) -> None:
        """What is read is from now on."""
        self._file = self._open(at_end=True)

    def starting(self, one: Replica) -> bool:
        """Whether a subscriber has been started just now and not yet subscribed."""
        for name, line in self._past.read():
            self._run[name].append(line)
        return one.name not in self._run or hear(self._run[one.name], "", {}).starting

    def read(self, _: Sequence[Replica]) -> Mapping[str, list[str]]:
        """The lines since `begin`, by replica."""
        for name, line in self._file.read():
            self._lines[name].append(line)
        return self._lines
