"""Memory that lies idle goes back to the system."""

import asyncio
import ctypes
import os
from pathlib import Path

import pytest

from fanout.service import spare_memory
from support.waiting import eventually_async


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library is not glibc, of 2.33 or later")
async def test_what_is_idle_between_pieces_that_are_in_use_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare_memory, "EVERY", 0.01)
    pieces = [os.urandom(60_000) for _ in range(1000)]
    most, kept = resident(), pieces[9::10]
    del pieces
    giving_back = asyncio.create_task(spare_memory.give_back())
    await eventually_async(lambda: resident() < most - 40_000_000)
    giving_back.cancel()
    assert len(kept) == 100
