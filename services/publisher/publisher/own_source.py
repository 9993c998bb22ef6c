"""The user's source: a function that yields messages, each of which is published before it continues."""

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

import structlog

from fanout import Accepted, NotAccepted, Publisher, SettingError, TooManyChannels
from fanout.service import metrics, own_code
from fanout.service.worker import Worker
from fanout.shown import shown
from publisher.settings import PublisherSettings

REQUIREMENTS = "services/publisher/requirements.in"
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds until a source that raised is restarted: doubled each time, reset once it has run for the longest wait."""

T = TypeVar("T")
_end = object()


class _Raised(Exception):
    """The user's code raised an exception, which is the cause."""


class _Reader(Protocol):
    """Reads what the user's code yields."""

    async def open(self) -> None:
        """Start the user's code."""

    async def next(self) -> Any:
        """Return the next item, or `_end` after the last."""

    async def close(self) -> list[Any]:
        """Close the generator, so that its `finally` runs; return items yielded after the last `next` was cancelled."""


class _InThread:
    """Reads from a plain function, which may block."""

    def __init__(self, make: Any, check: Any) -> None:
        self._make, self._check = make, check
        self._worker = Worker("source")
        self._yielded: list[Any] = []
        self._items: Any = iter(())

    async def open(self) -> None:
        self._items = await self._worker.call(lambda: iter(self._check(self._make(), Iterable)))

    async def next(self) -> Any:
        await self._worker.call(lambda: self._yielded.append(next(self._items, _end)))
        return self._yielded.pop()

    async def close(self) -> list[Any]:
        await self._worker.call(getattr(self._items, "close", lambda: None))
        late, self._yielded = [item for item in self._yielded if item is not _end], []
        return late


class _InLoop:
    """Reads from an async generator function, or anything else that returns an async iterable."""

    def __init__(self, make: Any, check: Any) -> None:
        self._make, self._check = make, check
        self._items: Any = None

    async def open(self) -> None:
        self._items = aiter(self._check(self._make(), AsyncIterable))

    async def next(self) -> Any:
        return await anext(self._items, _end)

    async def close(self) -> list[Any]:
        if close := getattr(self._items, "aclose", None):
            await close()
        return []


class OwnSource:
    """Publishes what SOURCE yields: the data for CHANNEL, or a tuple (channel, data).

    The source continues when Redis has accepted the message, so the code after its `yield` may mark it as done. If the
    source raises, that is logged and it is restarted. A message that cannot be published is logged and skipped.
    """

    def __init__(self, publisher: Publisher, settings: PublisherSettings) -> None:
        """Import the source.

        Raises:
            SettingError: it cannot be imported or called.
        """
        self._publisher, self._name, self._channel = publisher, settings.source, settings.channel
        self._patience = settings.shutdown_grace / 2  # the other half is for the flush to Redis
        self._log = structlog.get_logger()
        self._stopping = False
        self._count = self._failures = 0
        made = own_code.load("SOURCE", settings.source, REQUIREMENTS)
        if not callable(made):
            raise SettingError("SOURCE", settings.source, "a function that yields messages")
        is_async = inspect.isasyncgenfunction(made) or hasattr(made, "__aiter__")
        self._reader: _Reader = (_InLoop if is_async else _InThread)(made, self._check)

    def metrics(self) -> list[metrics.Source]:
        """Return the metrics for Prometheus."""
        return [metrics.counter("fanout_source_failures", "Times that SOURCE raised.", lambda: self._failures)]

    async def run(self) -> None:
        """Publish until cancelled, then close the source, waiting at most half of SHUTDOWN_GRACE.

        Raises:
            SettingError: SOURCE does not return an iterable.
        """
        self._publisher.open(self._channel)
        work = asyncio.create_task(self._run_source())
        try:
            await asyncio.shield(work)
            await asyncio.Event().wait()
        finally:
            self._stopping = True
            work.cancel()
            await asyncio.wait([work], timeout=self._patience)
            if not work.done():
                self._log.warning("source_not_closed", waited_s=self._patience)

    async def _run_source(self) -> None:
        wait, began = FIRST_WAIT, time.monotonic()
        while not self._stopping:
            started = time.monotonic()
            try:
                await self._publish_all()
            except _Raised as raised:
                if time.monotonic() - started > LONGEST_WAIT:
                    wait = FIRST_WAIT
                self._failures += 1
                again = {} if self._stopping else {"again_in_s": wait}
                self._log.error("source_failed", **again, exc_info=raised.__cause__)
                await asyncio.sleep(0 if self._stopping else wait)
                wait = min(LONGEST_WAIT, wait * 2)
            else:
                if not self._stopping:
                    self._log.info("source_finished", count=self._count, took_s=round(time.monotonic() - began, 3))
                return

    async def _publish_all(self) -> None:
        reader = self._reader
        await self._call_user(reader.open())
        try:
            while not self._stopping:
                await self._publisher.room()
                if (item := await self._call_user(reader.next())) is _end:
                    return
                if accepted := await self._enqueue(item):
                    with contextlib.suppress(NotAccepted):  # already logged by the publisher
                        await accepted
        finally:
            for item in await self._call_user(reader.close()):
                await self._enqueue(item)

    async def _enqueue(self, item: Any) -> asyncio.Future[Accepted] | None:
        channel, data = self._channel, item
        try:
            if isinstance(item, tuple):
                if len(item) != 2 or not isinstance(item[0], str):
                    raise ValueError("a tuple must be (channel, data), with the channel's name as text")
                channel, data = item
            accepted = self._publisher.enqueue(channel, data)
        except (ValueError, TooManyChannels) as error:
            self._log.error("message_refused", channel=channel, cause=str(error), data=shown(data))
            await asyncio.sleep(0)  # a source that yields only such messages must not block the loop
            return None
        self._count += 1
        return accepted

    async def _call_user(self, call: Awaitable[T]) -> T:
        """Await the user's code; turn what it raises into _Raised, to tell it from our own errors."""
        try:
            return await call
        except SettingError:
            raise
        except BaseException as error:
            if self._stopping and isinstance(error, asyncio.CancelledError):
                raise
            while (task := asyncio.current_task()) and task.cancelling():
                task.uncancel()
            raise _Raised from error

    def _check(self, made: Any, kind: type[Any]) -> Any:
        if isinstance(made, kind) and not isinstance(made, str | bytes | Mapping):
            return made
        raise SettingError("SOURCE", self._name, f"a function that yields messages (it returns {type(made).__name__})")
