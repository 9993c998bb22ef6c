"""Blocking calls beside the event loop, in threads that never hold up the end of the process."""

import asyncio
import queue
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvloop


class Worker:
    """One daemon thread that runs calls in their order.

    asyncio's own executor is waited for at exit, however long its calls block; this one is not.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[asyncio.Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def call(self, function: Callable[[], Any]) -> Any:
        """What the function returns or raises, called in the thread."""
        future = asyncio.get_running_loop().create_future()
        self._calls.put((future, function))
        return await future

    def stop(self) -> None:
        """Ends the thread after the calls that it has."""
        self._calls.put(None)

    def _run(self) -> None:
        while entry := self._calls.get():
            future, function = entry
            result, error = None, None
            try:
                result = function()
            except BaseException as raised:
                error = raised
            try:
                future.get_loop().call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class EventLoop(uvloop.Loop):
    """uvloop's loop, with name look-ups that can be given up: one that hangs delays neither a retry nor the exit."""

    async def create_connection(  # type: ignore[override] # of several signatures, this is the one in use
        self, factory: Any, host: str | None = None, port: int | None = None, **options: Any
    ) -> Any:
        """As uvloop's, by the first of the host's addresses that answers."""
        if host is None:
            return await super().create_connection(factory, **options)
        worker = Worker("look-up")
        try:
            found = await worker.call(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        finally:
            worker.stop()
        if options.get("ssl"):
            options.setdefault("server_hostname", host)
        failed: OSError | None = None
        for *_, address in found:
            try:
                return await super().create_connection(factory, address[0], port, **options)
            except OSError as error:
                failed = error
        raise failed or OSError(f"{host} has no address")
