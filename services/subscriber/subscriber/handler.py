"""The user's function: found by its name, called in the way that suits its kind."""

import asyncio
import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any, cast

from fanout.errors import SettingError
from fanout.inbox import Inbox
from fanout.message import Message
from fanout.threads import Worker

Handler = Callable[[Message], Any]


def load(name: str) -> Handler:
    """The function that HANDLER names, `module:function`.

    Raises:
        SettingError: there is no such module or function, it cannot be called, or the module fails on import.
    """
    module_name, _, function_name = name.partition(":")
    try:
        handler: Any = getattr(importlib.import_module(module_name), function_name)
    except ModuleNotFoundError as error:
        raise SettingError("HANDLER", name, f"module:function with a module that exists ({error})") from None
    except AttributeError:
        raise SettingError("HANDLER", name, f"module:function; {module_name} has no {function_name!r}") from None
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise SettingError("HANDLER", name, f"module:function with a module that can be imported ({why})") from error
    if not callable(handler):
        raise SettingError("HANDLER", name, f"module:function; {function_name!r} is no function")
    return cast(Handler, handler)


class Delivery:
    """Calls `received`, and then the handler for each message, one at a time and in order.

    Without a handler `received` gets the messages as they come. An async handler is awaited in the event loop. A plain
    function may block: it runs in one thread of its own, a batch of messages a hand-over. An exception of the handler
    goes to `failed` and ends nothing.
    """

    def __init__(
        self,
        handler: Handler | None,
        received: Callable[[list[Message]], None],
        failed: Callable[[Message, Exception], None],
    ) -> None:
        self._handler: Any = handler
        self._received, self._failed = received, failed
        call = getattr(type(handler), "__call__", None)  # noqa: B004 # of an object that is called like a function
        awaited = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)
        self._worker = Worker("handler") if handler and not awaited else None
        self.stopping = False

    async def run(self, inbox: Inbox) -> None:
        """Delivers until the inbox is closed, or until the handler under way has returned after `stop`.

        Counts what the handler has returned from in `inbox.handled`.
        """
        if not self._handler:
            inbox.direct = self._received
        async for batch in inbox.batches():
            if self._worker:
                await self._worker.call(functools.partial(self._in_thread, batch, inbox))
            else:
                await self._in_loop(batch, inbox)
            if self.stopping:
                return

    def stop(self) -> None:
        """No further message is begun."""
        self.stopping = True

    def _in_thread(self, messages: list[Message], inbox: Inbox) -> None:
        for message in messages:
            if self.stopping:
                return
            self._received([message])
            try:
                self._handler(message)
            except Exception as error:
                self._failed(message, error)
            inbox.handled += 1

    async def _in_loop(self, messages: list[Message], inbox: Inbox) -> None:
        task = asyncio.current_task()
        for message in messages:
            if self.stopping:
                return
            self._received([message])
            try:
                await self._handler(message)
            except asyncio.CancelledError as error:
                if task and task.cancelling():
                    raise
                self._failed(message, RuntimeError(f"cancelled itself: {error!r}"))
            except Exception as error:
                self._failed(message, error)
            inbox.handled += 1
