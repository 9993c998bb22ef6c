"""A publisher for programs without asyncio: Flask, Django, scripts."""

import asyncio
import atexit
import os
import sys
import threading
from collections.abc import Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from fanout._publish.batch import Accepted
from fanout._publish.publisher import Publisher as AsyncPublisher
from fanout.environment import Environment
from fanout.errors import FanoutError
from fanout.settings import HistorySettings, Settings, read_history, read_settings
from fanout.statistics import PublisherStatistics

T = TypeVar("T")


class Publisher:
    """Publishes events over a connection that a background thread keeps; any thread may use it.

        publisher = Publisher("redis://localhost:6379")
        publisher.publish("orders", {"id": 42})

    It connects when it is first used. So it can be made before a server forks: each process then gets its own
    connection. It is closed by `close`, by the end of a `with` block, or when the program ends.
    """

    def __init__(
        self, redis: str | Settings | None = None, *, history: HistorySettings | None = None, **options: Any
    ) -> None:
        """Make a publisher.

        Args:
            redis: the server's address, such as redis://localhost:6379/0, or settings that were already read.
            history: the history settings that go with settings that were already read.
            options: settings by their names in lower case, such as history_size=0 or durability="fsync".

        Raises:
            SettingError: a setting is invalid.
            TypeError: there is no such option.
        """
        self._publisher = AsyncPublisher(redis, history=history, **options)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._closed = False

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Make a publisher with settings from environment variables.

        Raises:
            SettingError: a variable is invalid.
        """
        env = Environment(variables)
        return cls(read_settings(env), history=read_history(env))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(kind, error, trace)

    def publish(
        self,
        channel: str,
        data: Any,
        *,
        timeout: float | None = None,
        datacontenttype: str | None = None,
        traceparent: str | None = None,
        key: str | None = None,
    ) -> Accepted:
        """Publish an event and return when Redis has accepted it.

        Arguments and exceptions are those of fanout.Publisher.publish.
        """
        options = {"datacontenttype": datacontenttype, "traceparent": traceparent, "key": key}
        return self._run(self._publisher.publish(channel, data, timeout=timeout, **options))

    def publish_all(self, channel: str, items: Iterable[Any], *, datacontenttype: str | None = None) -> int:
        """Publish many events; return their number when Redis has accepted all of them."""
        return self._run(self._publisher.publish_all(channel, items, datacontenttype=datacontenttype))

    def statistics(self) -> PublisherStatistics:
        """Return the publisher's state and counts."""
        return self._publisher.statistics()

    def close(self) -> None:
        """Wait up to SHUTDOWN_GRACE until Redis has accepted all events, and close the publisher for good.

        Raises:
            RefusedByRedis, Undelivered: Redis has not accepted all events.
        """
        self._end(None, None, None)

    def _end(self, *raised: Any) -> None:
        if self._pid != os.getpid():  # never used, or used before a fork: then the parent's thread closes it
            self._closed = True
            return
        with self._lock:
            closed, self._closed = self._closed, True
        if closed or not self._loop:
            return
        atexit.unregister(self._end_of_program)
        try:
            asyncio.run_coroutine_threadsafe(self._publisher.__aexit__(*raised), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _end_of_program(self) -> None:
        try:
            self.close()
        except FanoutError as error:  # at exit there is no caller to catch it
            print(f"fanout: {error}", file=sys.stderr)  # noqa: T201

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            loop = self._started()
        except RuntimeError:
            work.close()
            raise
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._pid not in {0, os.getpid()}:  # before taking the lock, which may have been held during the fork
            raise RuntimeError(
                f"the publisher was used in process {self._pid} before it forked into {os.getpid()}: "
                "make it, or use it for the first time, after the fork"
            )
        with self._lock:
            if self._closed:
                raise RuntimeError("the publisher is closed")
            if not self._loop:
                self._loop, self._pid = asyncio.new_event_loop(), os.getpid()
                self._thread = threading.Thread(target=self._serve, args=(self._loop,), name="fanout", daemon=True)
                self._thread.start()
                asyncio.run_coroutine_threadsafe(self._publisher.__aenter__(), self._loop).result()
                atexit.register(self._end_of_program)
            return self._loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        loop.close()
