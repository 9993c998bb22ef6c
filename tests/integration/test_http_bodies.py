"""A body that is posted arrives exactly as it is, or is refused, and both APIs agree about it."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from fanout._event.data import DEEPEST_PUBLISHED
from fanout.service.http_body import BATCH, STRUCTURED
from support.entries import retained
from support.http_client import post
from support.redis_server import RedisServer
from support.service import Service


@pytest.fixture(params=["publisher", "gateway"])
def api(request: pytest.FixtureRequest, start: Callable[..., Service]) -> Service:
    service = start(request.param)
    service.wait_for("connected")
    return service


def stored(server: RedisServer) -> list[dict[str, Any]]:
    return retained(server.client(), "n")


DEEP = b"[" * (DEEPEST_PUBLISHED + 1) + b"]" * (DEEPEST_PUBLISHED + 1)
BINARY = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/shop", "ce_type": "order"}
VERSION = b'"specversion":"1.0"'


def event(**more: object) -> bytes:
    return json.dumps({"specversion": "1.0", "id": "1", "source": "/shop", "type": "order"} | more).encode()


ENCODED = gzip.compress(b"hello" * 1000, mtime=0)


@pytest.mark.parametrize(
    ("status", "said", "body", "headers"),
    [
        (415, "encoded (gzip)", ENCODED, {"content_encoding": "gzip"}),
        (415, "encoded (gzip)", ENCODED[: len(ENCODED) // 2], {"content_encoding": "gzip"}),
        (415, "encoded (gzip)", b"garbage", {"content_encoding": "gzip"}),
        (415, "encoded (deflate)", b"garbage", {"content_encoding": "deflate"}),
        (415, "encoded (br)", b"hello", {"content_encoding": "br"}),
        (415, "encoded (identity, gzip)", b"hello", {"content_encoding": "identity, gzip"}),
        (415, "charset is utf-16le", "hello".encode("utf-16le"), {"content_type": "text/plain; charset=utf-16le"}),
        (415, "charset is latin-1", b"\xe4", {"content_type": 'text/plain; a=b; Charset="Latin-1"'}),
        (415, "charset is utf-16", b"{}", {"content_type": "application/json;charset=utf-16"}),
        (415, "must be a media type", b"<a/>", {"content_type": "xml"}),
        (415, "is not supported", b"x", {"content_type": "application/cloudevents+avro"}),
        (400, "ce-source is missing", b"hello", {"ce_id": "1", "ce_specversion": "1.0"}),
        (400, "ce-specversion must be 1.0", b"hello", BINARY | {"ce_specversion": "0.3"}),
        (400, "send Content-Type instead", b"hello", BINARY | {"ce_datacontenttype": "text/plain"}),
        (400, "the attribute streamid is reserved", b"hello", BINARY | {"ce_streamid": "1-1"}),
        (400, "time is 'noon', but must be", b"hello", BINARY | {"ce_time": "noon"}),
        (400, "not percent-encoded UTF-8", b"hello", BINARY | {"ce_subject": "%ff"}),
        (400, "not valid JSON", b"{", {"content_type": STRUCTURED}),
        (400, "must be a JSON object", b"[]", {"content_type": STRUCTURED}),
        (400, "specversion must be 1.0", b"{}", {"content_type": STRUCTURED}),
        (400, "attribute id is missing", b'{"specversion":"1.0"}', {"content_type": STRUCTURED}),
        (400, "exclude each other", event(data=1, data_base64="aGk="), {"content_type": STRUCTURED}),
        (400, "must be base64", event(data_base64="?"), {"content_type": STRUCTURED}),
        (400, "lower-case letters", event(Tenant="x"), {"content_type": STRUCTURED}),
        (400, "the attribute tenant must be", event(tenant=[1]), {"content_type": STRUCTURED}),
        (400, "the attribute fanoutseq is reserved", event(fanoutseq="9"), {"content_type": STRUCTURED}),
        (400, "and not as text/plain", event(data=1, datacontenttype="text/plain"), {"content_type": STRUCTURED}),
        (400, "must be a JSON array", event(), {"content_type": BATCH}),
        (400, "event 2 of 2: the attribute id is missing", b"[%b,{%b}]" % (event(), VERSION), {"content_type": BATCH}),
        (422, "takes no Idempotency-Key", b"[%b]" % event(), {"content_type": BATCH, "idempotency_key": "k"}),
        (400, "not valid JSON", b"1e400", {"content_type": "application/json"}),
        (400, "not valid JSON", b"[NaN]", {"content_type": "application/json"}),
        (400, "'a' twice", b'{"a":1,"a":2}', {"content_type": "application/json"}),
        (400, "nested more than", DEEP, {"content_type": "application/json"}),
        (400, "not valid JSON", b"[" * 30_000 + b"]" * 30_000, {"content_type": "application/json"}),
        (400, "not valid UTF-8", b"\xff", {}),
    ],
)
def test_what_would_arrive_changed_is_refused(
    api: Service, server: RedisServer, status: int, said: str, body: bytes, headers: dict[str, str]
) -> None:
    answer = post(api, body, **headers)
    assert (answer.status, said in answer.detail) == (status, True), answer.detail
    assert stored(server) == []
    assert post(api, b"next").status == 202
    assert [line for line in api.lines if line["level"] != "info"] == []


@pytest.mark.parametrize(
    ("body", "headers", "data"),
    [
        ("grüße\0".encode(), {"content_type": "text/plain; charset=UTF-8"}, "grüße\0"),
        (b"hello", {"content_encoding": "identity", "content_type": 'text/plain; charset="utf-8"'}, "hello"),
        (b"a=b&c", {"content_type": "application/x-www-form-urlencoded"}, "a=b&c"),
    ],
)
def test_text_arrives_as_it_was_sent(
    api: Service, server: RedisServer, body: bytes, headers: dict[str, str], data: str
) -> None:
    assert post(api, body, **headers).status == 202
    assert [event["data"] for event in stored(server)] == [data]


def test_a_number_of_any_precision_is_stored_as_it_was_written(api: Service, server: RedisServer) -> None:
    body = b'{"n": 12345678901234567890.125, "i": 123456789012345678901234567890, "f": 1.10}'
    assert post(api, body, content_type="application/json").status == 202
    [(_, fields)] = server.client().xrange("fanout:{n}:history")
    assert b'"data":{"n":12345678901234567890.125,"i":123456789012345678901234567890,"f":1.10}' in fields[b"events"]
