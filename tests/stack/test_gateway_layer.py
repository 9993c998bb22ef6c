"""The gateway as a layer, in its strictest surroundings: production, where Redis has a password."""

from collections.abc import Iterator

import pytest

from support.compose_stack import Stack, running
from support.event_source import EventSource
from support.waiting import eventually


@pytest.fixture
def with_gateway() -> Iterator[Stack]:
    yield from running("prod gateway", 1)


def test_a_browsers_stream_goes_on_over_a_crash_of_redis(with_gateway: Stack) -> None:
    stack = with_gateway
    events = EventSource(f"http://127.0.0.1:{stack.gateway_port}/channels/notifications/events")
    view = EventSource(f"http://127.0.0.1:{stack.gateway_port}/system/events")
    try:
        stack.send("one", "two")
        assert [message["data"] for message in events.wait_for(2)] == ["one", "two"]
        names = [f"{stack.project}-{service}-1" for service in ("gateway", "publisher", "subscriber")]
        eventually(lambda: [one["instance"] for one in view.of("view")[-1]["replicas"]] == names)
        stack.compose("kill", "redis")
        eventually(lambda: view.of("view")[-1]["redis"] == "away")
        stack.compose("start", "redis")
        stack.send("three")
        assert [message["data"] for message in events.wait_for(3)] == ["one", "two", "three"]
        eventually(lambda: view.of("view")[-1]["redis"] == "connected")
    finally:
        events.close()
        view.close()
