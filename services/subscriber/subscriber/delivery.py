"""Gives messages to the handler one at a time: a plain function in a thread, an async one in the event loop."""

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

from fanout._subscribe.inbox import Inbox
from fanout.errors import SettingError
from fanout.message import Message
from fanout.service import own_code
from fanout.service.worker import Worker
from subscriber.handler import Handler


class MessageId(NamedTuple):
    """What identifies a message, noted before the handler can change the message."""

    channel: str
    source: str
    id: str


class Delivery:
    """Calls `received` and then the handler for each message, one at a time and in order.

    Without a handler, `received` gets the messages directly as they arrive. An async handler is awaited in the event
    loop. A plain function may block: it runs in one separate thread, which gets a batch of messages at a time. Whatever
    the handler raises, even SystemExit, is passed to `failed` with the message, and delivery continues. The handler
    may change the message. Its setup and teardown are called where it is called.
    """

    def __init__(
        self,
        handler: Handler | None,
        received: Callable[[list[Message]], None],
        failed: Callable[[MessageId, Message, BaseException], None],
    ) -> None:
        self._handler = handler
        self._received, self._failed = received, failed
        self._worker = Worker("handler") if handler and not handler.awaited else None
        self.stopping = False

    async def run(self, inbox: Inbox) -> None:
        """Deliver until the inbox is closed or, after `stop`, until the running call of the handler has returned.

        `inbox.handled` counts the calls that have returned.

        Raises:
            SettingError: the handler's setup raised.
        """
        if not self._handler:
            inbox.direct = self._received
        else:
            await self._begin(self._handler)
        async for batch in inbox.batches():
            if self._worker:
                await self._worker.call(functools.partial(self._in_thread, batch, inbox))
            else:
                await self._in_loop(batch, inbox)
            if self.stopping:
                break
        if self._handler:
            await self._end(self._handler)

    async def _begin(self, handler: Handler) -> None:
        try:
            await self._call(handler.begin)
        except BaseException as error:
            if self.stopping and isinstance(error, asyncio.CancelledError):
                raise
            cause = own_code.describe(error)
            raise SettingError("HANDLER", handler.name, f"a handler whose setup succeeds ({cause})") from error

    async def _end(self, handler: Handler) -> None:
        try:
            await self._call(handler.end)
        except BaseException as error:
            if self.stopping and isinstance(error, asyncio.CancelledError):
                raise
            structlog.get_logger().error("teardown_failed", exc_info=error)

    async def _call(self, function: Callable[[], Any]) -> None:
        if self._worker:
            await self._worker.call(function)
        elif inspect.isawaitable(result := function()):
            await result

    def stop(self) -> None:
        """Start no further message."""
        self.stopping = True

    def _in_thread(self, messages: list[Message], inbox: Inbox) -> None:
        assert self._handler
        handle = self._handler.handle
        for message in messages:
            if self.stopping:
                return
            self._received([message])
            identity = message.channel, message.source, message.id
            try:
                handle(message)
            except BaseException as error:
                self._failed(MessageId(*identity), message, error)
            inbox.handled += 1

    async def _in_loop(self, messages: list[Message], inbox: Inbox) -> None:
        task = asyncio.current_task()
        assert task
        assert self._handler
        handle = self._handler.handle
        for message in messages:
            if self.stopping:
                return
            self._received([message])
            identity = message.channel, message.source, message.id
            try:
                await handle(message)
                if task.cancelling():
                    await asyncio.sleep(0)  # raises a cancellation here that would else hit the next message
            except BaseException as error:
                if self.stopping and isinstance(error, asyncio.CancelledError | GeneratorExit):  # the service stops
                    raise
                while task.cancelling():
                    task.uncancel()
                self._failed(MessageId(*identity), message, error)
            inbox.handled += 1
