"""An even load: how many messages are due, and how long it is to the next ones."""

import asyncio
import ctypes
import os
import time
from collections.abc import AsyncIterator

TICK = 0.001


class Pace:
    """`count` messages at `rate` a second from now on, due at every millisecond; whoever is late makes up for it."""

    def __init__(self, rate: float, count: int) -> None:
        self._rate, self._count = rate, count
        self._made = 0
        self._tick = 0
        self._began = time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether all have been due."""
        return self._made >= self._count

    def due(self) -> int:
        """How many messages are to be sent now."""
        passed = time.monotonic() - self._began
        self._tick = int(passed / TICK) + 1
        burst = min(int(passed * self._rate) + 1, self._count) - self._made
        self._made += burst
        return burst

    def wait(self) -> float:
        """Seconds to the next tick."""
        return max(0.0, self._began + self._tick * TICK - time.monotonic())

    async def ticks(self) -> AsyncIterator[None]:
        """Ticks of an event loop, until all have been due.

        By a timer of the kernel: asyncio's own wait for whole milliseconds and more, so every few ticks would bring two
        messages, where a program that sleeps brings one.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        timer = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK)
        nanoseconds = (ctypes.c_long * 4)(0, int(TICK * 1e9), 0, 1)
        if timer < 0 or libc.timerfd_settime(timer, 0, nanoseconds, None):
            raise OSError(ctypes.get_errno(), "no timer")
        due, loop = asyncio.Event(), asyncio.get_running_loop()

        def tick() -> None:
            os.read(timer, 8)
            due.set()

        loop.add_reader(timer, tick)
        try:
            while not self.ended:
                await due.wait()
                due.clear()
                yield
        finally:
            loop.remove_reader(timer)
            os.close(timer)
