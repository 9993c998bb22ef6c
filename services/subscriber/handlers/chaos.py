"""A handler that blocks on demand, for scripts/chaos.py: `docker exec <container> touch /tmp/block` holds it up."""

import math
import time
from pathlib import Path

from fanout.message import Message

BLOCK, AT_MOST = Path("/tmp/block"), 20.0  # noqa: S108 # a tmpfs that the container has to itself


def handle(_message: Message) -> None:
    """Returns once the file is gone, or AT_MOST seconds old."""
    while _age() < AT_MOST:
        time.sleep(0.02)


def _age() -> float:
    try:
        return time.time() - BLOCK.stat().st_mtime
    except FileNotFoundError:
        return math.inf
