"""What the Python peers share: the log, the payloads, and what they say to the benchmark."""

import json
import logging
import os
import time
from typing import Any

import orjson  # type: ignore[import-not-found]
import structlog

from bench.wire import EVENT_BYTES, channels, text

BATCH = 64
KEPT = int(os.environ.get("KEPT", "100000"))
"""Entries of a history (MAXLEN ~)."""
SHOWN = 1000
"""Characters of the data in a log line: Fanout shows no more, so nobody has to write more."""
PAYLOAD = text(int(os.environ.get("SIZE", EVENT_BYTES))).encode()
CHANNELS = channels(int(os.environ.get("CHANNELS", "1")))
_PAD = text(EVENT_BYTES - 35)


def connection(place: str) -> dict[str, Any]:
    """Arguments of redis-py's for a port, or for the path of a Unix socket."""
    return {"port": int(place)} if place.isdecimal() else {"unix_socket_path": place}


def logger() -> Any:
    """The logger that structlog's page on performance shows: orjson, bytes, a filtering logger, cached."""
    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(),
    )
    return structlog.get_logger()


def stamped() -> str:
    """A payload that holds the time in microseconds."""
    return f'{{"sent":{time.time_ns() // 1000},"data":"{_PAD}"}}'


def age(payload: str) -> int:
    """Microseconds since a payload was stamped."""
    return time.time_ns() // 1000 - int(payload[8:24])


def begin() -> float:
    """Says that the publishing begins; returns when."""
    print('{"event":"started"}', flush=True)
    return time.monotonic()


def finish(began: float) -> None:
    """Says how long the publishing took."""
    print(json.dumps({"began": began, "seconds": time.monotonic() - began}), flush=True)
