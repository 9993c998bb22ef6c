"""JSON within JSON within JSON: nothing that arrives goes deeper than everybody's recursion can follow."""

import json
from copy import deepcopy

import pytest

from fanout._event.attributes import DEEPEST
from fanout._event.decode import DecodeError, decode, received
from fanout.message import Message
from gateway import frames


def nested(levels: int, opening: str = "[", closing: str = "]", within: str = "data") -> bytes:
    value = opening * (levels - 1) + "[]" + closing * (levels - 1)
    return f'{{"specversion":"1.0","type":"t","source":"/s","id":"1","{within}":{value}}}'.encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":1},', ",2]")])
@pytest.mark.parametrize("within", ["data", "tenant"])
def test_an_event_nested_as_deep_as_may_be_arrives_and_can_be_used(opening: str, closing: str, within: str) -> None:
    message = received("c", nested(DEEPEST, opening, closing, within))[0]
    assert not message.plain
    value = message.data or message.extensions["tenant"]
    assert json.loads(json.dumps(value, indent=1)) == deepcopy(value)
    assert repr(value)
    assert frames.of_message(message).data


@pytest.mark.parametrize("levels", [DEEPEST + 1, 984, 985, 5_000, 9_992, 9_993, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":1},', ",2]")])
@pytest.mark.parametrize("within", ["data", "tenant", "source"])
def test_one_nested_deeper_is_a_plain_message_and_the_others_are_not_affected(
    levels: int, opening: str, closing: str, within: str
) -> None:
    wire = nested(levels, opening, closing, within)
    message = received("c", wire)[0]
    assert message.plain
    assert message.data == wire.decode()
    assert frames.of_message(message).data
    with pytest.raises(DecodeError):
        decode([nested(1), wire])


def test_many_arrays_beside_each_other_are_not_deep() -> None:
    [message] = decode([b'{"specversion":"1.0","type":"t","source":"/s","id":"1","data":[' + b"[]," * 5000 + b"{}]}"])
    assert isinstance(message, Message)
    assert len(message.data) == 5001
