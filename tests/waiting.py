"""A skip for want of something is a failure in CI; waiting has a deadline."""

import os
import time
from collections.abc import Callable
from typing import Any

import pytest


def missing(what: str) -> None:
    """Skips with the reason; in CI nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} (in CI nothing may be missing)")
    pytest.skip(what)


def eventually(look: Callable[[], Any], within: float = 20, every: float = 0.1) -> Any:
    """Polls until `look` returns something true, and returns that; the error says what was last seen."""
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s; last seen: {seen!r}")
        time.sleep(every)
