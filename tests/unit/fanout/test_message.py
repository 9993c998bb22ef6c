import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout._event.decode import DecodeError, decode, received
from fanout._event.encode import Event, encode, encode_plain, encode_text, timestamp
from fanout.errors import EventTooLarge
from fanout.keys import check_channel
from fanout.message import Message, ages_ms, source_of

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def event(data: object, **more: object) -> Event:
    fields = {
        "specversion": "1.0",
        "type": "notification",
        "source": "/a/b",
        "id": "1",
        "time": timestamp(0),
    }
    return Event(**(fields | {"data": data} | more))


@given(json_values)
def test_what_is_encoded_comes_back(data: object) -> None:
    [message] = decode([encode(event(data), 10**6)])
    assert message.data == data
    assert (message.source, message.id, message.type, message.plain) == ("/a/b", "1", "notification", False)


@given(st.text(), st.integers(1, 2**53))
def test_text_is_encoded_as_any_other_data(text: str, seq: int) -> None:
    slow = encode(event(text, source="/a/b", id=str(seq)), 10**6)
    assert encode_text("/a/b", seq, timestamp(0), text, 10**6) == slow
    with pytest.raises(EventTooLarge):
        encode_text("/a/b", seq, timestamp(0), text, len(slow) - 1)


def test_text_that_is_not_valid_unicode_is_refused_alike() -> None:
    with pytest.raises(ValueError) as slow:
        encode(event("\ud800"), 10**6)
    with pytest.raises(ValueError) as fast:
        encode_text("/a/b", 1, timestamp(0), "\ud800", 10**6)
    assert str(fast.value) == str(slow.value)


@given(st.binary())
def test_any_bytes_decode_or_raise_the_documented_error(wire: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decode([wire])


@given(json_values)
def test_any_json_decodes_or_raises_the_documented_error(value: object) -> None:
    with contextlib.suppress(DecodeError):
        decode([json.dumps(value).encode()])


@given(
    st.fixed_dictionaries(
        {
            "specversion": st.just("1.0"),
            "type": st.text(min_size=1),
            "source": st.text(min_size=1),
            "id": st.text(min_size=1),
        },
        optional={
            "data": json_values,
            "time": st.text(),
            "data_base64": st.text(),
            "$channel": st.text(),
            "other": json_values,
        },
    )
)
def test_events_of_others_decode_whatever_their_attributes(attributes: dict[str, object]) -> None:
    message = received("here", json.dumps(attributes).encode())[0]
    assert message.channel == "here"
    assert message.age_ms(0) is None or isinstance(message.age_ms(0), float)


def test_deeply_nested_json_is_a_plain_message_not_a_crash() -> None:
    assert received("c", b"[" * 100_000)[0].plain


@pytest.mark.parametrize(
    ("wire", "data"),
    [(b"hello", "hello"), (b"", ""), (b"\xff\xfe", b"\xff\xfe"), (b'{"a":1}', '{"a":1}'), ("grüße".encode(), "grüße")],
)
def test_what_is_no_event_arrives_as_it_came(wire: bytes, data: object) -> None:
    message = received("c", wire)[0]
    assert message.plain
    assert message.data == data
    assert message.source == ""


def test_binary_data_of_an_event_is_decoded() -> None:
    [message] = decode([b'{"specversion":"1.0","type":"t","source":"s","id":"1","data_base64":"aGk="}'])
    assert message.data == b"hi"


@pytest.mark.parametrize("data", [b"\xff\x00", b"", bytearray(b"a"), memoryview(b"abc")])
def test_bytes_are_published_as_bytes(data: bytes) -> None:
    [message] = decode([encode(event(data), 1000)])
    assert (message.data, message.datacontenttype) == (bytes(data), "application/octet-stream")
    assert encode_plain(data, 1000) == bytes(data)


@pytest.mark.parametrize(
    ("data", "kind"), [("a", "text/plain"), ({"a": 1}, "application/json"), (None, "application/json")]
)
def test_the_datacontenttype_is_that_of_the_data(data: object, kind: str) -> None:
    [message] = decode([encode(event(data), 1000)])
    assert (message.data, message.datacontenttype) == (data, kind)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.x+json", "Application/JSON"])
def test_a_datacontenttype_that_suits_the_data_stays(kind: str) -> None:
    [message] = decode([encode(event({"a": 1}, datacontenttype=kind), 1000)])
    assert message.datacontenttype == kind


def test_a_datacontenttype_that_does_not_suit_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match="dict is published as application/json, and not as text/plain"):
        encode(event({"a": 1}, datacontenttype="text/plain"), 1000)


def test_the_wire_form_is_the_documented_one() -> None:
    wire = encode(event("Hello", time="2026-01-01T00:00:00.000000Z"), 1000)
    assert wire == (
        b'{"specversion":"1.0","type":"notification","source":"/a/b","id":"1",'
        b'"time":"2026-01-01T00:00:00.000000Z","datacontenttype":"text/plain","data":"Hello"}'
    )


def test_a_sender_cannot_set_the_channel() -> None:
    wire = b'{"specversion":"1.0","type":"t","source":"s","id":"1","$channel":"forged","channel":"forged"}'
    assert received("real", wire)[0].channel == "real"


def test_an_event_above_the_limit_is_refused_with_both_sizes() -> None:
    with pytest.raises(EventTooLarge, match=r"has 1\d\d bytes, and MAX_EVENT is 100"):
        encode(event("x"), 100)


@pytest.mark.parametrize("data", [object(), "\ud800", {1, 2j}])
def test_data_that_is_no_json_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        encode(event(data), 1000)


def test_the_plain_format_is_the_bare_text() -> None:
    assert encode_plain("hello", 100) == b"hello"
    assert encode_plain({"a": 1}, 100) == b'{"a":1}'


def test_the_channel_in_the_source_is_percent_encoded() -> None:
    assert source_of("a/b ü", "p") == "/a%2Fb%20%C3%BC/p"


@pytest.mark.parametrize("name", ["", "a,b", "a{b", "a}b", "a\nb", "\x7f", "\ud800", "x" * 256, "ü" * 128])
def test_channel_names_that_are_not_allowed(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        check_channel(name)


@pytest.mark.parametrize("name", ["notifications", "a", "x" * 255, "a b", "ü:*?[x]"])
def test_channel_names_that_are_allowed(name: str) -> None:
    assert check_channel(name) == name


times = st.one_of(
    st.floats(0, 2**33).map(timestamp),
    st.sampled_from(["2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:00.000002Z", "2026-01-01T00:00:00Z", "", "noon"]),
    st.sampled_from(["2026-01-01T00:00:00.00001+02:00", "2026-13-01T00:00:00.000001Z", "2026-01-01T00:00:00.+00001Z"]),
    st.sampled_from(
        [
            "2026-01-01T00:00:00.\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2Z",
            "2026-01-01T00:00:00.\uff11\uff11\uff11\uff11\uff11\uff11Z",
        ]
    ),
)


@given(st.lists(times, max_size=8))
def test_ages_of_a_batch_are_those_of_its_messages_one_by_one(texts: list[str]) -> None:
    messages = [Message(time=text) for text in texts]
    assert ages_ms(messages, 1e9) == [message.age_ms(1e9) for message in messages]


def test_an_age_is_exact_to_the_microsecond() -> None:
    assert Message(time="2001-09-09T01:46:39.999998Z").age_ms(1e9) == 0.002
    assert Message(time="2001-09-09T01:46:39Z").age_ms(1e9) == 1000.0
    assert Message(time="2001-09-09T03:46:39.5+02:00").age_ms(1e9) == 500.0
