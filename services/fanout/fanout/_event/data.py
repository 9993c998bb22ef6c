"""JSON that is to be published: it arrives exactly as given, or is refused."""

import json
import math
from typing import Any

import msgspec

from fanout._event.attributes import too_deep

DEEPEST_PUBLISHED = 128
"""How deep arrays and objects may be nested: less deep than subscribers accept."""
_FAILS = (TypeError, ValueError, RecursionError)
_BYTES = (bytes, bytearray, memoryview)
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode


def json_of(value: Any) -> msgspec.Raw:
    """Return a Python value as JSON; tuples, sets, dataclasses, dates and the like are converted.

    Raises:
        ValueError: JSON cannot express the value, or not exactly.
    """
    try:
        text = _encode(value)
        if not _is_exactly(_taken(text), value):
            _look_for_what_changes(value)
    except _FAILS as error:
        raise ValueError(f"the data cannot be written as JSON: {error}") from None
    return msgspec.Raw(text)


def json_from(text: bytes) -> msgspec.Raw:
    """Return JSON text without insignificant whitespace. All else stays as written, including numbers of any precision.

    Raises:
        ValueError: it is not valid JSON, or different readers would read it differently.
    """
    try:
        value = json.loads(text.decode(), object_pairs_hook=_each_once, parse_constant=_refuse)
        _encode(value)  # fails if text is not valid Unicode
        _taken(text)
        return msgspec.Raw(msgspec.json.format(text, indent=-1))
    except _FAILS as error:
        raise ValueError(f"not valid JSON: {error}") from None


def _taken(text: bytes) -> Any:
    """Return the value as a subscriber reads it."""
    value = _decode(text)
    if len(text) > 2 * DEEPEST_PUBLISHED and too_deep(value, text, DEEPEST_PUBLISHED):
        raise ValueError(f"arrays and objects are nested more than {DEEPEST_PUBLISHED} deep")
    return value


def _is_exactly(taken: Any, given: Any) -> bool:
    try:
        return bool(taken == given)
    except Exception:  # the value has its own __eq__
        return False


def _look_for_what_changes(value: Any) -> None:
    inside = [msgspec.to_builtins(value, builtin_types=_BYTES)]
    while inside:
        match inside.pop():
            case float() as number if not math.isfinite(number):
                raise ValueError(f"{number} is no JSON value")
            case bytes() | bytearray() | memoryview():
                raise ValueError("bytes within JSON would become text")
            case dict() as members:
                if len({str(name) for name in members}) < len(members):
                    raise ValueError("two names of an object are the same as text")
                inside += [*members, *members.values()]
            case list() | tuple() | set() | frozenset() as items:
                inside += items


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")


def _each_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in members]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has {twice[:50]!r} twice")
    return dict(members)
