"""The sources of the stack's log: Compose, or the log file of the stack without containers."""

import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from logs.lines import mend
from run import folder
from run.child import COMPOSE, Child, Trouble
from run.replicas import Replica, docker, project, short

PREFIX = re.compile(r"(\S+) +\| ?(.*)", re.DOTALL)
TOLD = re.compile(r"(\S+) ((?:exited with code|has been recreated).*)")
ENDED = "exited with code "
LOOK_EVERY = 1.0

Line = tuple[str, str]
"""A replica's name, empty if a line is from no replica, and the line."""


class ComposeLog:
    """The output of `docker compose logs`, which finds new replicas and follows restarted ones."""

    def __init__(self, services: list[str], replicas: list[Replica], tail: str, *, follow: bool) -> None:
        # Without Compose files, so that all containers of the project are included, whatever layer they are from.
        options = ("--no-color", "--tail", tail, *["--follow"] * follow)
        self._idents = {replica.name: replica.ident for replica in replicas}
        self._child = Child(
            *COMPOSE, "-p", project(), "logs", *options, *services, env=os.environ | {"COMPOSE_FILE": ""}
        )
        self.fileno = self._child.fileno
        self._last: dict[str, str] = {}

    @property
    def ended(self) -> bool:
        return self._child.ended

    def read(self) -> list[Line]:
        """Return the lines that have arrived; wait until there are some, or the end."""
        return [line for text in self._child.read() for line in self._lines(text)]

    def _lines(self, text: str) -> list[Line]:
        if match := PREFIX.match(text):
            self._last[match[1]] = match[2]
            return [(match[1], line) for line in mend(match[2])]
        text = text.replace("\x1b[K", "").strip()
        if not (match := TOLD.fullmatch(text)):
            return [("", text)]
        name = short(match[1])
        return [*self._left_behind(name), (name, match[2])] if match[2].startswith(ENDED) else [(name, match[2])]

    def _left_behind(self, name: str) -> list[Line]:
        """Return what Compose does not print: an unfinished line with which a process ended."""
        with suppress(Trouble):  # the container is gone
            last = docker("logs", "--tail", "1", self._idents.get(name) or f"{project()}-{name}")
            if last and not last.endswith("\n") and last != self._last.get(name):
                return [(name, last)]
        return []

    def close(self) -> int:
        """End Compose; return its exit code, 0 if it had not ended by itself."""
        code = self._child.process.poll() or 0
        self._child.end()
        return code


class LogFile:
    """A log file that is being written and rotated by logging's RotatingFileHandler."""

    def __init__(self, path: Path, *, at_end: bool = False) -> None:
        """Open the file. Raises OSError if it does not exist."""
        self._path = path
        self._file: BinaryIO = path.open("rb")
        self._rest = b""
        if at_end:
            self._file.seek(0, os.SEEK_END)

    def read(self) -> list[Line]:
        """Return the complete lines that were written since the last call."""
        chunk = self._file.read()
        if self._turned_over():
            chunk += self._file.read()
            self._file.close()
            self._file = self._path.open("rb")
            chunk += self._file.read()
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        matches = (PREFIX.match(line.decode(errors="backslashreplace")) for line in whole)
        return [(match[1], match[2]) for match in matches if match]

    def _turned_over(self) -> bool:
        try:
            return self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:  # it is being rotated right now
            return False

    def close(self) -> None:
        self._file.close()


class LocalLog:
    """The log of the stack without containers, from the start of a run until its end."""

    fileno = None

    def __init__(self, *, at_end: bool, follow: bool) -> None:
        """Open the log. Raises OSError if no stack ever wrote one."""
        self._file, self._follow = LogFile(folder.LOG, at_end=at_end), follow
        self._looked = time.monotonic()
        self.ended = False

    def read(self) -> list[Line]:
        """Return the lines that have arrived, perhaps none."""
        runs = self._follow
        if runs and time.monotonic() - self._looked > LOOK_EVERY:
            self._looked, runs = time.monotonic(), bool(folder.state())
        found = self._file.read()
        self.ended = not runs
        return found

    def close(self) -> int:
        self._file.close()
        return 0
