"""A skip for want of something is a failure in CI; waiting has a deadline."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest


def missing(what: str) -> None:
    """Skips with the reason; in CI nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} (in CI nothing may be missing)")
    pytest.skip(what)


def eventually(look: Callable[[], Any], within: float = 20, every: float = 0.1) -> Any:
    """Polls until `look` returns something true, and returns that; the error says what was last seen."""
    looks = _looks(look, within)
    while not (seen := next(looks)):
        time.sleep(every)
    return seen


async def eventually_async(look: Callable[[], Any], within: float = 20, every: float = 0.02) -> Any:
    """As `eventually`, while the event loop goes on."""
    looks = _looks(look, within)
    while not (seen := next(looks)):
        await asyncio.sleep(every)
    return seen


def _looks(look: Callable[[], Any], within: float) -> Iterator[Any]:
    """What each look sees; the last one comes after the deadline."""
    deadline = time.monotonic() + within
    while True:
        late = time.monotonic() > deadline
        seen = look()
        if late and not seen:
            raise AssertionError(f"not within {within} s; last seen: {seen!r}")
        yield seen
