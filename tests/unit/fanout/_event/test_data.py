"""What is published arrives exactly as it was given, or it is refused."""

import dataclasses
import datetime as dt
import json
import math

import msgspec
import pytest

from fanout._event.attributes import DEEPEST
from fanout._event.data import DEEPEST_PUBLISHED, json_from, json_of


@dataclasses.dataclass
class Point:
    x: float
    y: object = ""


def nested(levels: int) -> object:
    value: object = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, 10**30, "", [], {"a": [1, None]}, {"ä": "🎉"}, nested(DEEPEST_PUBLISHED)]
)
def test_what_json_has_is_written(value: object) -> None:
    assert json.loads(bytes(json_of(value))) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, 2), b"[1,2]"),
        ({1: "a"}, b'{"1":"a"}'),
        (dt.date(2026, 1, 1), b'"2026-01-01"'),
        ({"at": dt.date(2026, 1, 1), "set": {1}}, b'{"at":"2026-01-01","set":[1]}'),
    ],
)
def test_what_has_a_json_form_is_written_in_that(value: object, text: bytes) -> None:
    assert bytes(json_of(value)) == text


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (math.nan, "nan is no JSON value"),
        ([1, {"a": math.inf}], "inf is no JSON value"),
        ((1, -math.inf), "-inf is no JSON value"),
        (Point(math.nan), "nan is no JSON value"),
        ({"a": b"x"}, "bytes within JSON"),
        ([bytearray(b"x")], "bytes within JSON"),
        (Point(1.0, b"x"), "bytes within JSON"),
        ({1: "a", "1": "b"}, "the same as text"),
        (nested(DEEPEST_PUBLISHED + 1), "nested more than"),
        (nested(100_000), "cannot be written as JSON"),
        ([10**5000], "cannot be written as JSON"),
        (["\ud800"], "cannot be written as JSON"),
        (object(), "cannot be written as JSON"),
        ({(1, 2): 3}, "cannot be written as JSON"),
    ],
)
def test_what_would_arrive_as_something_else_is_refused(value: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        json_of(value)


@pytest.mark.parametrize(
    "text",
    [b"12345678901234567890.125", b"1e-400", b"-0", b"1E5", b"10000000000000000000000000000001", b'"a b"', b"{}"],
)
def test_json_text_stays_as_it_was_written(text: bytes) -> None:
    assert bytes(json_from(text)) == text
    assert bytes(json_from(b' { "a" :\n[ %b , "x  y" ] } ' % text)) == b'{"a":[%b,"x  y"]}' % text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"NaN", "not valid JSON"),
        (b"[Infinity]", "not valid JSON"),
        (b"1e400", "not valid JSON"),
        (b'{"a":[-1e400]}', "not valid JSON"),
        (b"9" * 5000, "not valid JSON"),
        (b'"\\ud800"', "not valid JSON"),
        (b'"\xff"', "not valid JSON"),
        (b"\xef\xbb\xbf1", "not valid JSON"),
        (b'"\x01"', "not valid JSON"),
        (b"1 2", "not valid JSON"),
        (b'{"a":1,"b":2,"a":1}', "'a' twice"),
        (b'[{"x":{"a":1,"\\u0061":2}}]', "'a' twice"),
        (b"[" * (DEEPEST_PUBLISHED + 1) + b"]" * (DEEPEST_PUBLISHED + 1), "nested more than"),
        (b"[" * 9_000 + b"]" * 9_000, "not valid JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not valid JSON"),
    ],
)
def test_json_text_that_would_not_be_read_alike_everywhere_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        json_from(text)


def test_what_may_be_published_is_taken_by_subscribers() -> None:
    assert DEEPEST_PUBLISHED < DEEPEST
    assert isinstance(json_from(b"[]"), msgspec.Raw)
