"""A process that is measured: what it prints is counted as it comes, what it costs is read from the kernel."""

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.wire import RunError

POLL = 0.005
"""Seconds between two reads of a pipe that stays nearly empty."""
FULL = 1 / 4
"""How full a pipe may get between two reads: a program that finds it full has to wait."""
HEAD = 64 * 1024
PIPE = 2**20
STOPPED_WITHIN = 5.0


class Child:
    """A process. `count` is how many of its lines hold `line`, `counted_at` when (monotonic) the last of them came,
    `started_at` when it was started, `marked_at` when the text `mark` was seen first, 0 before that.

    Its output is taken from the pipe every five milliseconds rather than line by line, so that a program which writes
    each line by itself is not woken against, and counting takes little of the processor; more often only where the
    pipe would fill up until then (`pause`). With `keep` all of it stays, else the beginning.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        line: bytes = b"",
        mark: bytes = b"",
        *,
        keep: bool = False,
    ) -> None:
        self._line, self._mark, self._keep = line, mark, keep
        self._output = bytearray()
        self.count, self.counted_at, self.marked_at = 0, 0.0, 0.0
        self.started_at = time.monotonic()
        # A session of its own: Ctrl-C reaches the benchmark alone, which then ends its children.
        self.process = subprocess.Popen(
            command,
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self.process.stdout
        self._pipe = self.process.stdout.fileno()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE)
        self._room = fcntl.fcntl(self._pipe, fcntl.F_GETPIPE_SZ)
        os.set_blocking(self._pipe, False)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> bytes:
        """What it printed: all with `keep`, else the beginning."""
        return bytes(self._output)

    @property
    def ended(self) -> bool:
        """Whether it has ended, and all that it printed was read."""
        return self.process.poll() is not None and not self._reader.is_alive()

    def wait(self, what: str, condition: Callable[[], Any], within: float) -> Any:
        """What the condition returns as soon as that is true.

        Raises:
            RunError: the process ended before, or time ran out.
        """
        deadline = time.monotonic() + within
        while not (found := condition()):
            if self.ended and not condition():
                raise RunError(f"ended with code {self.process.returncode} before {what}: {self._tail()}")
            if time.monotonic() > deadline:
                raise RunError(f"not {what} within {within:g} s ({self.count} lines): {self._tail()}")
            time.sleep(0.001)
        return found

    def wait_count(self, count: int, within: float) -> float:
        """Waits for that many counted lines; returns when the last of them came."""
        self.wait(f"{count} messages", lambda: self.count >= count, within)
        return self.counted_at

    def wait_mark(self, within: float) -> float:
        """When the mark was seen."""
        self.wait(f"printing {self._mark.decode()}", lambda: self.marked_at, within)
        return self.marked_at

    def result(self, within: float) -> Any:
        """Waits for its end; the JSON of the last line that it printed."""
        self.wait("its end", lambda: self.ended, within)
        lines = self.output.splitlines()
        try:
            return json.loads(lines[-1])
        except (IndexError, ValueError):
            raise RunError(f"no result, code {self.process.returncode}: {self._tail()}") from None

    def cpu(self) -> float:
        """Seconds of processor time so far, its threads' too."""
        # Linux makes a clock of any process from its ID; /proc only counts in hundredths of a second.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def memory(self) -> int:
        """Resident bytes now."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(found[1]) * 1024 if found else 0

    def stop(self) -> int:
        """SIGTERM, and SIGKILL for whom that does not end; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOPPED_WITHIN)
            except subprocess.TimeoutExpired:
                self.process.kill()
        code = self.process.wait()
        self._reader.join(1)
        return code

    def kill(self) -> None:
        """Ends it at once."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(1)

    def _read(self) -> None:
        # One buffer, and no copy of what was read: what this takes of the processor, the programs lack. Before each
        # chunk stands the end of the last one, which may hold the beginning of what is looked for.
        before = max(len(self._line), len(self._mark), 1) - 1
        buffer = bytearray(before + self._room)
        room = memoryview(buffer)[before:]
        last = time.monotonic()
        while True:
            try:
                size = os.readv(self._pipe, [room])
            except BlockingIOError:
                size = None
            if size == 0:
                return
            now = time.monotonic()
            if size:
                self._take(buffer, before, before + size)
                buffer[:before] = buffer[size : before + size]
            time.sleep(pause(size or 0, now - last, self._room))
            last = now

    def _take(self, buffer: bytearray, start: int, end: int) -> None:
        now = time.monotonic()
        if self._keep or len(self._output) < HEAD:
            self._output += buffer[start:end]
        if self._mark and not self.marked_at and buffer.find(self._mark, 0, end) >= 0:
            self.marked_at = now
        if self._line and (found := buffer.count(self._line, start - len(self._line) + 1, end)):
            self.counted_at = now
            self.count += found

    def _tail(self) -> str:
        return self.output[-600:].decode(errors="replace")


def pause(size: int, seconds: float, room: int) -> float:
    """Return how long to wait until the next read of a pipe.

    Args:
        size: bytes that the last read took.
        seconds: within which they had come.
        room: bytes that the pipe holds.

    Returns:
        Seconds in which a program that goes on like that fills FULL of the pipe, POLL at most; none if it is fuller.
    """
    if size > room * FULL:
        return 0.0
    return min(POLL, seconds * room * FULL / size) if size else POLL
