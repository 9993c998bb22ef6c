"""A program on a terminal of its own: what it shows, and keys for it."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from pathlib import Path

from support.waiting import eventually


class Terminal:
    def __init__(self, *command: str, cwd: Path, env: dict[str, str], columns: int = 120, lines: int = 30) -> None:
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.before = termios.tcgetattr(self._slave)
        self.output = ""
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env | {"TERM": "xterm"},
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            # The program's own terminal, so that Ctrl-C is a signal to it.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while chunk := os.read(self._master, 65536):
                self.output += chunk.decode(errors="replace")
        except OSError:  # closed
            pass

    @property
    def screen(self) -> str:
        """The text of the last full picture."""
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.output.rsplit("\x1b[H", 1)[-1])
        return "\n".join(line.rstrip() for line in text.splitlines())

    def shows(self, pattern: str, within: float = 30) -> str:
        """Waits until the screen matches, and returns it."""
        try:
            return str(eventually(lambda: re.search(pattern, seen := self.screen, re.MULTILINE) and seen, within))
        except AssertionError:
            raise AssertionError(f"{pattern!r} not within {within} s on:\n{self.screen}") from None

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def ended(self, within: float = 10) -> int:
        """The exit code; the terminal must be as it was before."""
        code = self.process.wait(within)
        assert termios.tcgetattr(self._slave) == self.before
        assert self.output.count("\x1b[?1049h") == self.output.count("\x1b[?1049l") > 0
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._slave)
        os.close(self._master)
