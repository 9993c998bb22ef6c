"""The folder in which the stack without containers runs: its lock, its log and its state file."""

import fcntl
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from run import ROOT

RUN = Path(os.environ.get("FANOUT_RUN", ROOT / ".run"))
STATE, WANTED, LOG, LOCK = RUN / "state.json", RUN / "subscribers", RUN / "log", RUN / "lock"
FRESH, LOCKED_WITHIN = 10.0, 3.0


class Taken(Exception):
    """Another stack, or the rest of one, runs in the folder."""


def lock() -> int:
    """Lock the folder; return the file descriptor that holds the lock.

    Every process of the stack inherits it, so the folder stays locked until the last of them has ended, however that
    happens: two servers on the same data would corrupt them.

    Raises:
        Taken: another stack holds the lock.
    """
    RUN.mkdir(exist_ok=True, parents=True)
    held = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + LOCKED_WITHIN
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return held
        except BlockingIOError:  # perhaps only by `locked`, or by a stack that is about to end
            if time.monotonic() > deadline:
                os.close(held)
                raise Taken(f"a stack already runs in {RUN}, or is still ending; make down ends it") from None
        time.sleep(0.05)


def locked(within: float = 0) -> bool:
    """Return whether any process of a stack lives; wait up to `within` seconds for the last one to end."""
    deadline = time.monotonic() + within
    while _held():
        if time.monotonic() >= deadline:
            return True
        time.sleep(0.1)
    return False


def _held() -> bool:
    try:
        lock = os.open(LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def noted() -> dict[str, Any]:
    """Return the state that the last stack wrote, whether it still runs or not; empty if there is none."""
    try:
        found: dict[str, Any] = json.loads(STATE.read_text())
    except (OSError, ValueError):
        return {}
    return found


def state() -> dict[str, Any]:
    """Return the state of the running stack; empty if none runs."""
    found = noted()
    try:
        os.kill(found["supervisor"], 0)
    except (KeyError, OSError):
        return {}
    return found if locked() else {}


def write_state(found: Mapping[str, Any]) -> None:
    """Write the stack's state, atomically for readers."""
    new = STATE.with_suffix(".new")
    new.write_text(json.dumps(found))
    new.replace(STATE)


def ps(found: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Return the name, process ID and health of each process, in the words of a container's healthcheck."""
    return [(name, pid, _health(name)) for name, pid in sorted(found["processes"].items())]


def _health(name: str) -> str:
    if name == "redis-1":
        return "running"
    try:
        age = time.time() - (RUN / f"{name}.heartbeat").stat().st_mtime
    except OSError:
        return "starting"
    return "healthy" if age < FRESH else "unhealthy"
