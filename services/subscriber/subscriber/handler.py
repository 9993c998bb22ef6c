"""The user's handler: a function, or a class with setup and teardown, of which one object is made."""

import inspect
from typing import Any

from fanout.errors import SettingError
from fanout.service import own_code

REQUIREMENTS = "services/subscriber/requirements.in"
AT_EXIT = (None, None, None)
"""The arguments of `__exit__` when nothing was raised."""


class Handler:
    """The handler that HANDLER names.

    If `awaited`, it is async and its methods are called in the event loop; else all of them are called in one thread.
    `handle` is usable from the start for a function, and after `begin` for a class.
    """

    def __init__(self, name: str) -> None:
        """Import the handler.

        Raises:
            SettingError: it cannot be imported or called, or it is a class that why a method.
        """
        self.name = name
        self.handle: Any = own_code.load("HANDLER", name, REQUIREMENTS)
        self._class = self.handle if inspect.isclass(self.handle) else None
        self._object: Any = None
        called = getattr(self._class, "handle", None) if self._class else self.handle
        if not callable(called):
            wanted = name.partition(":")[2]
            why = f"{wanted!r} has no method handle(message)" if self._class else f"{wanted!r} is not a function"
            raise SettingError("HANDLER", name, f"module:function; {why}")
        self.awaited = _is_async(called) or _is_async(getattr(type(called), "__call__", None))  # noqa: B004
        self._begins, self._ends = _names(self._class, awaited=self.awaited)
        for method in (self._begins, self._ends):
            if not self.awaited and _is_async(getattr(self._class, method, None)):
                raise SettingError("HANDLER", name, f"a class whose handle is async, as its {method} is, or neither")

    def begin(self) -> Any:
        """Make the object of a class, call its `setup` or `__enter__`, and return that call's result."""
        if self._class:
            self._object = self._class()
            self.handle = self._object.handle
            return getattr(self._object, self._begins, _nothing)()
        return None

    def end(self) -> Any:
        """Call the object's `teardown` or `__exit__`, and return that call's result."""
        given = AT_EXIT if self._ends.startswith("__") else ()
        return getattr(self._object, self._ends, _nothing)(*given)


def _names(kind: type[Any] | None, *, awaited: bool) -> tuple[str, str]:
    if hasattr(kind, "setup") or hasattr(kind, "teardown"):
        return "setup", "teardown"
    if awaited and hasattr(kind, "__aenter__"):
        return "__aenter__", "__aexit__"
    return "__enter__", "__exit__"


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function)


def _nothing(*_: object) -> None:
    """Stand in for a missing method."""
