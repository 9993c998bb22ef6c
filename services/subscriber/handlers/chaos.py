"""A handler that blocks on demand, for scripts/chaos: `docker exec <container> touch /tmp/block` blocks it."""

import math
import time
from pathlib import Path

from fanout.message import Message

BLOCK, AT_MOST = Path("/tmp/block"), 20.0  # noqa: S108 # a tmpfs that only this container uses


def handle(_message: Message) -> None:
    """Wait until the file is gone or AT_MOST seconds old."""
    while _age() < AT_MOST:
        time.sleep(0.02)


def _age() -> float:
    try:
        return time.time() - BLOCK.stat().st_mtime
    except FileNotFoundError:
        return math.inf
