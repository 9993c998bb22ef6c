"""The publisher's HTTP API, as an application without a server."""

import asyncio
from typing import Any

import httpx

from publisher import api


async def test_a_message_that_the_end_overtakes_may_be_sent_again() -> None:
    class Ending:
        async def take(self, *_: Any) -> Any:
            raise asyncio.CancelledError

    nothing: Any = None
    ending: Any = Ending()
    app = httpx.ASGITransport(app=api.build(nothing, ending, docs=False))
    async with httpx.AsyncClient(transport=app, base_url="http://localhost") as client:
        answer = await client.post("/channels/n/messages")
    assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "1")
