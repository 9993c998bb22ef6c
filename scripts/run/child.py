"""Starts child processes, each in its own session, so that Ctrl-C reaches it only through us."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

from run import ROOT

COMPOSE = ("sh", "-euc", 'root=.; . scripts/run/lib.sh; compose "$@"', "compose")
"""Runs Compose through lib.sh, which finds it."""
ENDED_WITHIN = 10.0
CHUNK = 2**18
PR_SET_PDEATHSIG = 1


class Trouble(Exception):
    """A command failed, or something did not happen in time."""


class Child:
    """A process whose output is read while it runs. `ended` means that all of its output has been read."""

    def __init__(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        folder: Path = ROOT,
        stdin: int = subprocess.DEVNULL,
        stderr: int | None = None,
        tied: int = 0,
        pass_fds: Collection[int] = (),
    ) -> None:
        """Start the process; `tied` is the signal that it gets, perhaps several times, when this process dies."""
        self.process = subprocess.Popen(
            command,
            env=env,
            cwd=folder,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
            pass_fds=pass_fds,
            preexec_fn=_tied_to_parent(tied) if tied else None,  # noqa: PLW1509 # no threads here, and it only calls prctl
        )
        assert self.process.stdout
        self._output = self.process.stdout
        self.fileno = self._output.fileno()
        self._rest = b""
        self.ended = False

    def read(self) -> list[str]:
        """Return the lines that have arrived; wait until there is output or it ends."""
        chunk = os.read(self.fileno, CHUNK)
        self.ended = not chunk
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        if self.ended and self._rest:
            whole.append(self._rest)
        return [line.decode(errors="backslashreplace") for line in whole]

    def signal(self, number: int) -> None:
        """Send a signal to the process and to those that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self, within: float = ENDED_WITHIN) -> int:
        """End the process, by SIGKILL if SIGTERM does not end it in time; return the exit code."""
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
        return self.wait()

    def wait(self) -> int:
        """Wait until the process ends; return the exit code."""
        code = self.process.wait()
        self._output.close()
        return code


def _tied_to_parent(number: int) -> Callable[[], None] | None:
    prctl: Callable[[int, int], int] | None = getattr(ctypes.CDLL(None), "prctl", None)
    if not prctl:  # not on Linux
        return None
    parent = os.getpid()

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # the parent died before prctl
            os._exit(1)

    return tie


def output(
    *command: str, text: str = "", within: float = 60, env: Mapping[str, str] | None = None, check: bool = True
) -> str:
    """Run a command and return what it prints.

    Raises:
        Trouble: it failed (unless `check` is off), or did not end in time.
    """
    name = " ".join(command[3:] if command[:3] == COMPOSE[:3] else command)
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        start_new_session=True,
    ) as process:
        try:
            printed, errors = process.communicate(text, timeout=within)
        except BaseException as error:
            # The whole group, and wait for it: Docker's plugins go on building and starting after their parent's end.
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=ENDED_WITHIN)
            if isinstance(error, subprocess.TimeoutExpired):
                raise Trouble(f"{name} did not end within {within:.0f} s") from None
            raise
    if check and process.returncode:
        raise Trouble(f"{name} ended with {process.returncode}: {(printed[-3000:] + errors[-3000:]).strip()}")
    return printed
