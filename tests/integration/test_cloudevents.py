"""CloudEvents over HTTP and through the library: a sender's own attributes arrive everywhere, as the SDK reads them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import http as sdk
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as SdkEvent

from fanout import CloudEvent, Message, Publisher, Subscription
from fanout.service.http_body import BATCH
from support.entries import retained
from support.event_source import EventSource
from support.http_client import post
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
ATTRIBUTES: dict[str, Any] = {
    "type": "com.example.order.created",
    "source": "https://shop.example/orders",
    "id": "order-42 ä%",
    "subject": "basket/ü",
    "time": datetime(2026, 1, 1, 12, tzinfo=UTC),
    "dataschema": "https://shop.example/order.json",
    "tenant": "acme",
}
DATA = [
    ({"order": 42, "price": 1.5}, "application/json"),
    ("grüße", "text/plain"),
    (b"\x89PNG\xff", "image/png"),
    (None, None),
]


def made(data: Any, kind: str | None, **more: Any) -> SdkEvent:
    return SdkEvent(ATTRIBUTES | ({"datacontenttype": kind} if kind else {}) | more, data)


def plain(event: SdkEvent) -> dict[str, Any]:
    """All that an SDK's event says, comparable."""
    data = event.get_data()
    if isinstance(data, bytes) and not (event.get_datacontenttype() or "").startswith("image"):
        data = data.decode()
    return event.get_attributes() | {"data": data}


@pytest.fixture(params=["publisher", "gateway"])
def api(request: pytest.FixtureRequest, start: Start) -> Service:
    service = start(request.param)
    service.wait_for("connected")
    return service


def sent(api: Service, message: sdk.HTTPMessage) -> Any:
    headers = {name.replace("-", "_"): value for name, value in message.headers.items()}
    return post(api, message.body, **headers)


@pytest.mark.parametrize("mode", [sdk.to_binary_event, sdk.to_structured_event])
@pytest.mark.parametrize(("data", "kind"), DATA)
def test_what_the_sdk_sends_the_sdk_reads(
    api: Service, server: RedisServer, mode: Callable[[SdkEvent], sdk.HTTPMessage], data: Any, kind: str | None
) -> None:
    listener = server.client().pubsub(ignore_subscribe_messages=True)
    listener.subscribe("n")
    listener.get_message(timeout=1)
    event = made(data, kind)
    answer = sent(api, mode(event))
    assert (answer.status, answer.json["source"], answer.json["id"]) == (202, ATTRIBUTES["source"], ATTRIBUTES["id"])
    wire = eventually(lambda: (m := listener.get_message(timeout=1)) and m["data"])
    found = JSONFormat().read(None, wire)
    said = plain(found)
    ours = {name: said.pop(name) for name in list(said) if name.startswith(("stream", "fanout"))}
    assert said == plain(event)
    assert set(ours) == {"fanoutproducer", "fanoutseq", "streamid", "streamseq", "streamprev", "streamname"}
    listener.close()


def test_a_batch_is_published_in_order_and_answered_with_each(api: Service, server: RedisServer) -> None:
    events = [made({"n": n}, "application/json", id=f"o{n}") for n in range(3)]
    body = b"[%b]" % b",".join(JSONFormat().write(event) for event in events)
    answer = post(api, body, content_type=BATCH)
    assert (answer.status, [one["id"] for one in answer.json]) == (202, ["o0", "o1", "o2"])
    assert [event["data"] for event in retained(server.client(), "n")] == [{"n": n} for n in range(3)]
    assert post(api, b"[]", content_type=BATCH).json == []


def test_an_event_that_is_sent_again_is_published_once(api: Service, server: RedisServer) -> None:
    message = sdk.to_structured_event(made({"n": 1}, "application/json"))
    first, second = sent(api, message), sent(api, message)
    assert (first.status, first.json) == (second.status, second.json)
    other = sent(api, sdk.to_structured_event(made({"n": 2}, "application/json")))
    assert (other.status, len(retained(server.client(), "n"))) == (422, 1)


def test_other_content_types_are_kept_as_they_are(api: Service, server: RedisServer) -> None:
    assert post(api, b"\x89PNG\xff", content_type="image/png").status == 202
    assert post(api, b"<a>\xc3\xa4</a>", content_type="text/html").status == 202
    assert post(api, b'{"@id": 1}', content_type="application/ld+json").status == 202
    found = [(event["datacontenttype"], event.get("data")) for event in retained(server.client(), "n")]
    assert found == [("image/png", None), ("text/html", "<a>ä</a>"), ("application/ld+json", {"@id": 1})]
    assert retained(server.client(), "n")[0]["data_base64"] == "iVBOR/8="


async def test_the_library_publishes_events_whole_and_gives_them_to_handlers(server: RedisServer) -> None:
    event = CloudEvent(
        data={"n": 1}, type="order", source="/shop", id="42", subject="s", time="2026-01-01T00:00:00Z",
        extensions={"tenant": "acme", "priority": 3},
    )  # fmt: skip
    async with Subscription(server.url, "orders") as messages:
        await messages.live()
        async with Publisher(server.url) as publisher:
            accepted = await publisher.publish("orders", event)
            again = await publisher.publish("orders", event)
            assert await publisher.publish_all("orders", [event, event]) == 2
            await publisher.publish("orders", "text", type="note", subject="n")
        got: list[Message] = [await anext(messages), await anext(messages)]
    assert accepted[:2] == again[:2] == ("/shop", "42")
    whole, note = got
    assert (whole.source, whole.id, whole.type, whole.subject) == ("/shop", "42", "order", "s")
    assert (whole.time, whole.data, whole.extensions) == (event.time, {"n": 1}, {"tenant": "acme", "priority": 3})
    assert (note.type, note.subject, note.data, note.datacontenttype) == ("note", "n", "text", "text/plain")


async def test_events_of_somebodys_own_names_are_told_apart_after_a_rollback(server: RedisServer) -> None:
    async with Subscription(server.url, "orders") as messages:
        await messages.live()
        async with Publisher(server.url) as publisher:
            await publisher.publish("orders", CloudEvent(data=1, source="/shop", id="same"))
            await publisher.publish("orders", CloudEvent(data=2, source="/shop", id="same"), key="another")
            server.client().flushall()
            await publisher.flush()
            await publisher.publish("orders", 3)
        assert [(await anext(messages)).data for _ in range(3)] == [1, 2, 3]
        assert messages.statistics().lost == 0


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"source": "/shop"}, "given together"),
        ({"time": "noon"}, "RFC 3339"),
        ({"subject": ""}, "subject must be text"),
        ({"subject": "a\nb"}, "without control characters"),
        ({"extensions": {"streamid": "1-1"}}, "reserved"),
        ({"extensions": {"id": "8"}}, "reserved"),
        ({"extensions": {"type": True}}, "reserved"),
        ({"extensions": {"a-b": "x"}}, "lower-case"),
        ({"extensions": {"a": 1.5}}, "the attribute a must be"),
        ({"extensions": {"a": 2**40}}, "the attribute a must be"),
    ],
)
def test_attributes_that_cannot_be_are_refused_with_what_is_wrong(attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CloudEvent(data=1, **attributes)


def test_browsers_get_the_senders_names(start: Start, connect: Callable[..., EventSource]) -> None:
    gateway = start("gateway")
    gateway.wait_for("connected")
    source = connect(gateway, "/channels/n/events?since=earliest")
    sent(gateway, sdk.to_binary_event(made({"n": 1}, "application/json")))
    [event] = source.wait_for(1)
    assert (event["source"], event["id"], event["tenant"]) == (ATTRIBUTES["source"], ATTRIBUTES["id"], "acme")
    assert json.loads(json.dumps(event["data"])) == {"n": 1}
