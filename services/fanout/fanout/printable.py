"""Turns any object into text or a JSON value that is safe to log, whatever it holds."""

from collections.abc import Callable
from typing import Any


def text(value: object, form: Callable[[object], str] = str) -> str:
    """Return the text that `form` makes of a value, or its type if `form` raises."""
    try:
        return form(value)
    except Exception as error:
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def value(value: object) -> Any:
    """Return a value that JSON can hold: numbers that every reader can parse, anything else as text."""
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return text(value).encode("utf-8", "backslashreplace").decode()
