"""A proxy in front of a gateway, which runs beside the test."""

import asyncio
import threading
from typing import Any

from support.proxy import Proxy


class Front:
    """Leads to a port of this machine, later perhaps to another one."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._proxy = Proxy(port)
        self.url = f"http://127.0.0.1:{self._run(self._proxy.start())}/"

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def lead_to(self, port: int) -> None:
        """Where connections go from now on."""
        self._proxy.target = port

    def cut(self) -> None:
        async def cut() -> None:
            self._proxy.cut()

        self._run(cut())

    def close(self) -> None:
        self._run(self._proxy.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
