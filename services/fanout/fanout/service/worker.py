"""Runs blocking calls beside the event loop, in threads that never delay the end of the process."""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any


class Worker:
    """A daemon thread that runs calls in order.

    Unlike asyncio's executor, it is not waited for at exit if a call blocks.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[asyncio.Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def call(self, function: Callable[[], Any]) -> Any:
        """Call the function in the thread; return or raise what it does."""
        future = asyncio.get_running_loop().create_future()
        self._calls.put((future, function))
        return await future

    def stop(self) -> None:
        """End the thread after the calls that are already queued."""
        self._calls.put(None)

    def _run(self) -> None:
        while entry := self._calls.get():
            future, function = entry
            result: Any = None
            error: BaseException | None = None
            try:
                result = function()
            except (StopIteration, GeneratorExit) as raised:  # neither can be thrown into a coroutine
                error = RuntimeError(f"it raised {type(raised).__name__}")
                error.__cause__ = raised
            except BaseException as raised:
                error = raised
            try:
                future.get_loop().call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the loop is closed, so nothing waits for the result
                return


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
