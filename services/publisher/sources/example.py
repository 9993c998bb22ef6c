"""An example source to start from: `SOURCE=sources.example:events docker compose up`."""

import time
from collections.abc import Iterator
from typing import Any


def events() -> Iterator[Any]:
    """Yield messages: the data for CHANNEL, text or any JSON value, or a tuple (channel, data).

    It may block, since it runs in a separate thread; `async def` works too, in the event loop. It continues after a
    `yield` when Redis has accepted the message, so mark the message as done there. If it raises, it is restarted. When
    the publisher stops, the `yield` raises GeneratorExit, so a `finally` runs.
    """
    number = 0
    while True:
        number += 1
        yield {"number": number}
        if number % 10 == 0:
            yield "milestones", f"{number} messages"
        time.sleep(1)
