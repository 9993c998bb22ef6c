"""Where the lines of the stack's log come from: Compose, or the file that the stack without containers writes."""

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import local
from log_lines import mend
from replicas import Replica, Trouble, docker, project

ROOT = Path(__file__).resolve().parent.parent
PREFIX = re.compile(r"(\S+) +\| ?(.*)", re.DOTALL)
TOLD = re.compile(r"(\S+) ((?:exited with code|has been recreated).*)")
ENDED = "exited with code "
LOOK_EVERY = 1.0

Line = tuple[str, str]
"""A replica's name, empty where a line is nobody's, and a line of it."""


class ComposeLog:
    """Compose's own `logs`: it finds replicas that come, and follows those that are started again."""

    def __init__(self, services: list[str], replicas: list[Replica], tail: str, *, follow: bool) -> None:
        # By the project's name alone, so that every container of it is there, whatever layer it is from.
        command = ["sh", "-euc", 'root=.; . scripts/lib.sh; compose "$@"', "compose", "-p", project(), "logs"]
        options = ["--no-color", "--tail", tail, *["--follow"] * follow]
        self._idents = {replica.name: replica.ident for replica in replicas}
        self._process = subprocess.Popen(
            [*command, *options, *services],
            cwd=ROOT,
            env=os.environ | {"COMPOSE_FILE": ""},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches it through us alone
        )
        assert self._process.stdout
        self.fileno = self._process.stdout.fileno()
        self._rest = b""
        self._last: dict[str, str] = {}
        self.ended = False

    def read(self) -> list[Line]:
        """The lines that have come; waits until there is something. Nothing comes after the end."""
        chunk = os.read(self.fileno, 1 << 18)
        self.ended = not chunk
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        if self.ended and self._rest:
            whole.append(self._rest)
        return [line for raw in whole for line in self._lines(raw.decode(errors="backslashreplace"))]

    def _lines(self, text: str) -> list[Line]:
        if match := PREFIX.match(text):
            self._last[match[1]] = match[2]
            return [(match[1], line) for line in mend(match[2])]
        text = text.replace("\x1b[K", "").strip()
        if not (match := TOLD.fullmatch(text)):
            return [("", text)]
        name = match[1].removeprefix(f"{project()}-")
        return [*self._left_behind(name), (name, match[2])] if match[2].startswith(ENDED) else [(name, match[2])]

    def _left_behind(self, name: str) -> list[Line]:
        """What Compose keeps back: the line within which a process ended."""
        with suppress(Trouble):  # the container is gone
            last = docker("logs", "--tail", "1", self._idents.get(name) or f"{project()}-{name}")
            if last and not last.endswith("\n") and last != self._last.get(name):
                return [(name, last)]
        return []

    def close(self) -> int:
        """Ends it; returns its exit code, 0 if it had not ended by itself."""
        code = self._process.poll() or 0
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
        return code


class LogFile:
    """A file that is written to and turned over, as logging's RotatingFileHandler does it."""

    def __init__(self, path: Path, *, at_end: bool = False) -> None:
        """Raises OSError if there is none."""
        self._path = path
        self._file: BinaryIO = path.open("rb")
        self._rest = b""
        if at_end:
            self._file.seek(0, os.SEEK_END)

    def read(self) -> list[Line]:
        """The whole lines that have come since."""
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
        except FileNotFoundError:  # just now
            return False

    def close(self) -> None:
        self._file.close()


class LocalLog:
    """The log of the stack without containers, from the run's beginning until its end."""

    fileno = None

    def __init__(self, *, at_end: bool, follow: bool) -> None:
        """Raises OSError if there never was one."""
        self._file, self._follow = LogFile(local.LOG, at_end=at_end), follow
        self._looked = time.monotonic()
        self.ended = False

    def read(self) -> list[Line]:
        """The lines that have come, perhaps none. Nothing comes after the end."""
        runs = self._follow
        if runs and time.monotonic() - self._looked > LOOK_EVERY:
            self._looked, runs = time.monotonic(), local.state() is not None
        found = self._file.read()
        self.ended = not runs
        return found

    def close(self) -> int:
        self._file.close()
        return 0
