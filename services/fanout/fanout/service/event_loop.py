"""The event loop: uvloop's, with name look-ups that can be abandoned."""

import asyncio
import socket
from typing import Any

import uvloop

from fanout.service.worker import Worker

LOOK_UPS = 4
HANGS_AFTER = 1.0

Found = list[tuple[Any, ...]]


class EventLoop(uvloop.Loop):
    """uvloop's loop with name look-ups in threads: one that hangs delays neither a retry nor the exit.

    Callers that need the same name share one look-up, unless it hangs. At most LOOK_UPS are under way.
    """

    def __init__(self) -> None:
        super().__init__()
        self._look_ups: dict[tuple[str, int | None], tuple[float, asyncio.Future[Found]]] = {}
        self._looking_up = 0

    async def create_connection(  # type: ignore[override] # of several signatures, this is the one in use
        self, factory: Any, host: str | None = None, port: int | None = None, **options: Any
    ) -> Any:
        """Connect as uvloop does, to the first of the host's addresses that answers."""
        if host is None:
            return await super().create_connection(factory, **options)
        found = await self._look_up(host, port)
        if options.get("ssl"):
            options.setdefault("server_hostname", host)
        failed: OSError | None = None
        for *_, address in found:
            try:
                return await super().create_connection(factory, address[0], port, **options)
            except OSError as error:
                failed = error
        raise failed or OSError(f"{host} has no address")

    async def _look_up(self, host: str, port: int | None) -> Found:
        began, asked = self._look_ups.get((host, port), (0.0, None))
        hangs = self.time() - began > HANGS_AFTER and self._looking_up < LOOK_UPS
        if asked is None or asked.done() or hangs:
            asked = self.create_task(self._ask(host, port))
            # Else the loop logs its error if nobody waits for it any more.
            asked.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._look_ups[host, port] = (self.time(), asked)
        return await asyncio.shield(asked)

    async def _ask(self, host: str, port: int | None) -> Found:
        self._looking_up += 1
        worker = Worker("look-up")
        try:
            found: Found = await worker.call(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            return found
        finally:
            self._looking_up -= 1
            worker.stop()
