"""Messages that come by HTTP, whatever the framework: the socket, a body as data, and what goes wrong as a status."""

import asyncio
import json
import socket
from collections.abc import AsyncIterable
from typing import Any

from fanout.errors import NotAccepted, SettingError
from fanout.message import JSON, TEXT, EventTooLarge
from fanout.outbox import Accepted
from fanout.writer import Writer

ANSWER_WITHIN = 10.0
RETRY_AFTER = {"Retry-After": "1"}
LONGEST_KEY = 255
"""Characters of an Idempotency-Key."""
_TEXT_TYPES = ("", TEXT, "application/x-www-form-urlencoded")  # the last is what `curl -d` says


class Refused(Exception):
    """A request that is not fulfilled: `status` for the answer, the text says why, `headers` go with it."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = RETRY_AFTER if status == 503 else None


def listen(host: str, port: int) -> socket.socket:
    """The socket of an HTTP server.

    Raises:
        SettingError: host and port cannot be used.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingError(
            "HTTP_HOST:HTTP_PORT", f"{host}:{port}", f"an address that is free ({error.strerror})"
        ) from None


async def read(content_type: str, body: AsyncIterable[bytes], max_event: int) -> tuple[Any, str]:
    """A body of text or JSON as data with its type.

    Raises:
        Refused: 400 it is not valid, 413 it has more than `max_event` bytes, 415 it is neither text nor JSON.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (*_TEXT_TYPES, JSON):
        raise Refused(415, f"the body is {kind}, but must be {TEXT} or {JSON}")
    received = bytearray()
    async for chunk in body:
        received += chunk
        if len(received) > max_event:
            raise Refused(413, f"the body has more than MAX_EVENT ({max_event}) bytes")
    try:
        text = received.decode()
    except UnicodeDecodeError:
        raise Refused(400, "the body is not valid UTF-8") from None
    if kind != JSON:
        return text, TEXT
    try:
        return json.loads(text, parse_constant=_refuse), JSON
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not valid JSON: {error}") from None


async def publish(
    writer: Writer, channel: str, data: Any, datacontenttype: str, traceparent: str | None, key: str | None
) -> Accepted:
    """Publishes data and returns what Redis has accepted it as; `key` is the request's Idempotency-Key.

    Raises:
        Refused: 400 the channel's name or the data is not allowed, 413 the event would be longer than MAX_EVENT,
            503 the buffer is full, or Redis has not accepted the event in time.
    """
    if writer.full:
        raise Refused(503, "the buffer is full: Redis takes messages too slowly, or not at all")
    try:
        accepted = writer.enqueue(channel, data, datacontenttype=datacontenttype, traceparent=traceparent, key=key)
        return await asyncio.wait_for(asyncio.shield(accepted), ANSWER_WITHIN)
    except EventTooLarge as error:
        raise Refused(413, str(error)) from None
    except ValueError as error:
        raise Refused(400, str(error)) from None
    except NotAccepted as error:
        raise Refused(503, f"Redis may not have the event: {error}") from None
    except TimeoutError:
        raise Refused(
            503, f"Redis has not accepted the event within {ANSWER_WITHIN:g} s; it is sent when Redis is back"
        ) from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")
