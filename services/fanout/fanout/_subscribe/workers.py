"""Works through many things, a few at a time; those that wait need no task."""

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Workers(Generic[T]):
    """Does `work` for each thing that is added, in order, for at most `at_once` things at a time.

    `spawn` starts a task. If the tasks that it started are cancelled, the remaining things are not done.
    """

    def __init__(
        self,
        at_once: int,
        work: Callable[[T], Coroutine[Any, Any, None]],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._at_once, self._work, self._spawn = at_once, work, spawn
        self._waiting: deque[T] = deque()
        self._busy = 0

    def add(self, thing: T) -> None:
        """Add a thing to work on as soon as possible."""
        self._waiting.append(thing)
        if self._busy < self._at_once:
            self._busy += 1
            self._spawn(self._run())

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._work(self._waiting.popleft())
        finally:
            self._busy -= 1
