"""An event with a source, an id or other attributes that its sender gave it (CloudEvents 1.0)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import msgspec

from fanout._event.attributes import ATTRIBUTES, OURS
from fanout._event.data import json_from

TYPE = "notification"
_BASE64 = "data_base64"
_extension_name = re.compile(r"[a-z0-9]{1,50}").fullmatch
_controls = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search
_time = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)").fullmatch
_LARGEST = 2**31


@dataclass(frozen=True, kw_only=True)
class CloudEvent:
    """An event with attributes of its own, to be published as it is.

    Attributes:
        data: text, bytes, or any JSON value; None means that there is no data.
        type: what happened, such as com.example.order.created.
        source: where it happened, a URI reference. Source and id name the event; without them, Fanout names it.
        id: what tells it from other events of its source. If an event with the same source and id is published again
            within 10 minutes, it is published only once.
        subject: what the event is about, within its source.
        time: when it happened, in RFC 3339; by default when it is published.
        datacontenttype: as in `Publisher.enqueue`.
        dataschema: the URI of the data's schema.
        traceparent: the W3C trace context that the event belongs to.
        extensions: other attributes, by names of lower-case letters and digits: text, 32-bit whole numbers or booleans.

    Raises:
        ValueError: CloudEvents does not allow the value of an attribute.
    """

    data: Any = None
    type: str = TYPE
    source: str | None = None
    id: str | None = None
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    traceparent: str | None = None
    extensions: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("type", "source", "id", "subject", "time", "datacontenttype", "dataschema", "traceparent"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value and not _controls(value)):
                raise ValueError(f"{name} must be text of at least one character, without control characters")
        if not self.type:
            raise ValueError("type is missing")
        if (self.source is None) != (self.id is None):
            raise ValueError("source and id must be given together, or neither of them")
        if self.time is not None and not _is_time(self.time):
            raise ValueError(f"time is {self.time[:50]!r}, but must be RFC 3339, such as 2026-01-01T00:00:00Z")
        for name, value in self.extensions.items():
            _check_extension(name, value)

    @property
    def own_names(self) -> tuple[str, str] | None:
        """Its source and id, if it has them."""
        return None if self.source is None or self.id is None else (self.source, self.id)

    @property
    def key(self) -> str | None:
        """What it has in place of an Idempotency-Key; None if it has no source and id."""
        return None if self.id is None else f"{self.source}\n{self.id}"

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read an event in the JSON format of CloudEvents 1.0.

        Raises:
            ValueError: it is not such an event.
        """
        return cls._of(msgspec.json.decode(json_from(text)), text)

    @classmethod
    def batch_from_json(cls, text: bytes) -> list[Self]:
        """Read an array of events in the JSON batch format of CloudEvents 1.0.

        Raises:
            ValueError: it is not such an array; the text says which event is wrong.
        """
        try:
            parts = msgspec.json.decode(json_from(text), type=list[msgspec.Raw])
        except msgspec.ValidationError:
            raise ValueError("a batch must be a JSON array of events") from None
        found = []
        for place, part in enumerate(parts, 1):
            try:
                found.append(cls._of(msgspec.json.decode(part), bytes(part)))
            except ValueError as error:
                raise ValueError(f"event {place} of {len(parts)}: {error}") from None
        return found

    @classmethod
    def _of(cls, event: Any, text: bytes) -> Self:
        if not isinstance(event, dict):
            raise ValueError("an event must be a JSON object")  # noqa: TRY004 (the sender's mistake, not the caller's)
        if event.get("specversion") != "1.0":
            raise ValueError("specversion must be 1.0")
        missing = [name for name in ("id", "source", "type") if event.get(name) is None]
        if missing:
            raise ValueError(f"the attribute {missing[0]} is missing")
        if event.get("data") is not None and event.get(_BASE64) is not None:
            raise ValueError("data and data_base64 exclude each other")
        known = {name: event[name] for name in ATTRIBUTES if event.get(name) is not None}
        data = event.get("data")
        if event.get(_BASE64) is not None:
            try:
                data = msgspec.convert(event[_BASE64], bytes)
            except msgspec.ValidationError:
                raise ValueError("data_base64 must be base64") from None
        elif "data" in event and not isinstance(data, str):
            data = msgspec.json.decode(text, type=dict[str, msgspec.Raw])["data"]  # numbers stay as they were written
        if isinstance(data, str) and "datacontenttype" not in known:
            known["datacontenttype"] = "application/json"  # as CloudEvents says
        others = event.keys() - {*ATTRIBUTES, "specversion", "data", _BASE64}
        extensions = {name: event[name] for name in sorted(others) if event[name] is not None}
        return cls(data=data, extensions=extensions, **known)


def _is_time(text: str) -> bool:
    try:
        return bool(_time(text) and datetime.fromisoformat(text.upper()))
    except ValueError:
        return False


def _check_extension(name: Any, value: Any) -> None:
    if not (isinstance(name, str) and _extension_name(name)):
        raise ValueError(f"the attribute name {str(name)[:50]!r} must be 1 to 50 lower-case letters and digits")
    if name in OURS or name in {*ATTRIBUTES, "data", "specversion"}:
        raise ValueError(f"the attribute {name} is reserved")
    fits = (
        isinstance(value, bool)
        or (isinstance(value, int) and -_LARGEST <= value < _LARGEST)
        or (isinstance(value, str) and not _controls(value))
    )
    if not fits:
        raise ValueError(f"the attribute {name} must be text without control characters, a boolean or a 32-bit number")
