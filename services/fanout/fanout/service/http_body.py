"""Reads the body of a POST as an event: a CloudEvent in any of the three modes over HTTP, or data alone."""

import re
from collections.abc import AsyncIterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from fanout._event.attributes import ATTRIBUTES
from fanout._event.cloudevent import CloudEvent
from fanout._event.data import json_from
from fanout._event.encode import JSON, TEXT

RETRY_AFTER = {"Retry-After": "1"}
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
_FORM = "application/x-www-form-urlencoded"
"""The Content-Type that `curl -d` sends with any text."""
_CHARSETS = ("", "utf-8", "utf8", "us-ascii")
_json = re.compile(r"application/json|[^;\s]+\+json").fullmatch
_media_type = re.compile(r"[\w.+-]+/[\w.+-]+").fullmatch


class Refused(Exception):
    """A request is refused; the text says why.

    Attributes:
        status: the HTTP status of the response.
        headers: further headers of the response; None if there are none.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = RETRY_AFTER if status == 503 else None


def too_long(max_event: int) -> Refused:
    """Return the error for a body that is too long."""
    return Refused(413, f"the body has more than MAX_EVENT ({max_event}) bytes")


async def read(headers: Mapping[str, str], body: AsyncIterable[bytes], max_event: int) -> CloudEvent | list[CloudEvent]:
    """Read a body as an event, or as the events of a batch.

    Args:
        headers: the request's headers. If there are `ce-` headers, the body is only the event's data.
        body: the body's bytes.
        max_event: how many bytes the body may have.

    Raises:
        Refused: with 400 the body is not what its type says, with 413 it is too long, with 415 it is encoded, or is
            text or JSON in a charset other than UTF-8.
    """
    given = _once_each(headers)
    if (encoding := given.get("content-encoding", "identity").lower()) != "identity":
        raise Refused(
            415, f"the body is encoded ({encoding[:50]}), but must be sent as it is, without Content-Encoding"
        )
    kind, charset = _type(given.get("content-type", ""))
    received = bytearray()
    async for chunk in body:
        received += chunk
        if len(received) > max_event:
            raise too_long(max_event)
    try:
        if kind == BATCH:
            return CloudEvent.batch_from_json(bytes(received))
        if kind == STRUCTURED:
            return CloudEvent.from_json(bytes(received))
        attributes = _attributes(given)
        data, datacontenttype = _data(bytes(received), kind, charset, given.get("content-type", ""))
        if attributes and not received:  # an event without data
            data, datacontenttype = None, given.get("content-type") or None
        trace = {"traceparent": given["traceparent"]} if given.get("traceparent") else {}
        return CloudEvent(data=data, datacontenttype=datacontenttype, **(trace | attributes))
    except UnicodeDecodeError:
        raise Refused(400, "the body is not valid UTF-8") from None
    except ValueError as error:
        raise Refused(400, f"the body is {error}" if str(error).startswith("not valid") else str(error)) from None


def _once_each(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that say what the body is, by their names in lower case."""
    found: dict[str, str] = {}
    for name, value in ((name.lower(), value.strip()) for name, value in headers.items()):
        if name.startswith("ce-") or name in {"content-type", "content-encoding", "traceparent"}:
            if name in found:
                raise Refused(415, f"the header {name[:50]} is given twice")
            if not value.isascii():  # each server would read it differently
                raise Refused(
                    400, f"the header {name[:50]} must be ASCII; other characters are percent-encoded in UTF-8"
                )
            found[name] = value
    return found


def _type(content_type: str) -> tuple[str, str]:
    """Return the media type and the charset of a body."""
    kind, _, parameters = content_type.partition(";")
    kind, charset = kind.strip().lower(), ""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip(' "').lower()
    if kind and not _media_type(kind):
        raise Refused(415, f"the body's Content-Type is {content_type[:50]!r}, but must be a media type")
    if kind.startswith("application/cloudevents") and kind not in {STRUCTURED, BATCH}:
        raise Refused(415, f"{kind[:100]} is not supported: of CloudEvents' formats, use {STRUCTURED} or {BATCH}")
    if charset not in _CHARSETS and (not kind or kind.startswith("text/") or kind == _FORM or _json(kind)):
        raise Refused(415, f"the body's charset is {charset[:50]}, but must be utf-8")
    return kind, charset


def _data(body: bytes, kind: str, charset: str, content_type: str) -> tuple[Any, str | None]:
    if kind in {"", TEXT, _FORM}:
        return body.decode(), TEXT
    if kind.startswith("text/"):
        return body.decode(), content_type if charset else kind
    if _json(kind):
        return json_from(body), JSON if kind == JSON else kind
    return body, content_type


def _attributes(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the attributes of an event whose data is the body (binary mode); none if there are no `ce-` headers."""
    given = {name[3:]: _decoded(name, value) for name, value in headers.items() if name.startswith("ce-")}
    if not given:
        return {}
    if given.pop("specversion", "") != "1.0":
        raise ValueError("ce-specversion must be 1.0")
    for name in ("id", "source", "type"):
        if not given.get(name):
            raise ValueError(f"the header ce-{name} is missing")
    if "datacontenttype" in given:
        raise ValueError("the header ce-datacontenttype is not allowed: send Content-Type instead")
    known: dict[str, Any] = {name: given.pop(name) for name in ATTRIBUTES if name in given}
    return known | {"extensions": given}


def _decoded(name: str, value: str) -> str:
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise ValueError(f"the header {name[:50]} is not percent-encoded UTF-8") from None
