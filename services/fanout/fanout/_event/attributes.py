"""An event's unusual attributes: numbers instead of text, bytes, extensions, forged places.

Anybody may have published what comes from Redis. What can be made to fit is made to fit here; the rest is no event.
"""

import itertools
import re
from typing import Any

import msgspec

DEEPEST = 200
"""How deep arrays and objects may be nested. What is deeper is no event, but text, so that no recursion fails on it."""
LONGEST_NAME = 64
"""How many characters a `streamname` may have."""

ATTRIBUTES = ("type", "source", "id", "subject", "time", "datacontenttype", "dataschema", "traceparent")
"""The attributes that CloudEvents defines, except `specversion`, and its extension for traces."""
_PLACE = ("streamid", "streamseq", "streamprev", "streamname")
OURS = {*_PLACE, "fanoutproducer", "fanoutseq"}
"""Extension attributes that only Fanout sets."""
_TEXTS = {"specversion", *ATTRIBUTES, *OURS}
_KNOWN = _TEXTS | {"data", "data_base64"}
_STREAMID = "[0-9]{1,19}+-[0-9]{1,19}+"  # each number fits into 64 bits
_STREAMSEQ = "[1-9][0-9]{0,17}+"
_streamid, _streamseq = re.compile(_STREAMID).fullmatch, re.compile(_STREAMSEQ).fullmatch
_streamids = re.compile(f"(?:{_STREAMID}\n)*+".encode()).fullmatch
_streamseqs = re.compile(f"(?:{_STREAMSEQ}\n)*+").fullmatch
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_json = msgspec.json.Decoder().decode


def extensions(wire: bytes) -> dict[str, Any] | None:
    """Return the attributes of an event that neither CloudEvents nor Fanout defines; None if it has none.

    Raises:
        ValueError: they are nested too deeply.
    """
    event = _object(wire)
    if event.keys() <= _KNOWN:
        return None
    values = [(name, _json(raw), raw) for name, raw in event.items() if name not in _KNOWN]
    if any(too_deep(value, bytes(raw)) for _, value, raw in values):
        raise ValueError("its arrays and objects are nested too deeply")
    return {name: value for name, value, _ in values if value is not None}


def too_deep(value: Any, text: bytes, limit: int = DEEPEST) -> bool:
    """Return whether a JSON value is nested deeper than `limit`; `text` is its JSON, or contains it."""
    return text.count(b"[") + text.count(b"{") > limit and deeper_than(value, limit)


def deeper_than(value: Any, limit: int) -> bool:
    """Return whether a JSON value is nested deeper than `limit`."""
    level = [value]
    for _ in range(limit):
        inside = [inner.values() if isinstance(inner, dict) else inner for inner in level if _nests(inner)]
        if not inside:
            return False
        level = list(itertools.chain.from_iterable(inside))
    return any(_nests(inner) for inner in level)


def _nests(value: Any) -> bool:
    return isinstance(value, dict | list)


def with_texts(wire: bytes) -> dict[str, Any]:
    """Return an event with whole numbers turned into text: some gateways and bridges make `id` or `streamseq` a number.

    Attributes of a place that are neither text nor whole numbers become empty text.

    Raises:
        TypeError: it is not a JSON object.
    """
    event = _json(wire)
    if not isinstance(event, dict):
        raise TypeError("no JSON object")
    for name in _TEXTS & event.keys():
        if type(event[name]) is int:
            event[name] = str(event[name])
        elif name in _PLACE and event[name] is not None and not isinstance(event[name], str):
            event[name] = ""
    return event


def places_fit(streamids: list[Any], streamseqs: list[Any], streamprevs: list[Any], streamnames: list[Any]) -> bool:
    """Return whether the places of a run of events are all valid or all absent, with as little work as possible.

    False may also mean that this is not easy to tell.
    """
    name, count = streamnames[0], len(streamnames)
    if streamnames.count(name) != count or not (name is None or _name_fits(name)):
        return False
    if streamids.count(None) == count:
        return name is None and streamseqs.count(None) == count and streamprevs.count(None) == count
    if streamprevs[1:] != streamids[:-1]:
        streamids = [*streamids, *streamprevs]
    try:
        ids, seqs = "\n".join([*streamids, ""]).encode(), "\n".join([*streamseqs, ""])
    except TypeError:  # some have no place
        return False
    if ids.count(b"\n") != len(streamids) or seqs.count("\n") != count:  # one has a line break of its own
        return False
    return bool(_streamid(streamprevs[0] or "") and (_all_alike(ids) or _streamids(ids)) and _streamseqs(seqs))


def _all_alike(lines: bytes) -> bool:
    """Return whether the `-` is at the same index in all of these streamids, and all are equally long, as most are."""
    dash, width = lines.find(b"-"), lines.find(b"\n") + 1
    count = len(lines) // width
    return (
        1 <= dash <= 19
        and 1 <= width - dash - 2 <= 19
        and lines[dash::width] == b"-" * count
        and lines[width - 1 :: width] == b"\n" * count
        and lines.translate(None, b"0123456789") == b"-\n" * count
    )


def place_fits(streamid: Any, streamseq: Any, streamprev: Any, streamname: Any) -> bool:
    """Return whether an event's place is valid, or absent."""
    if streamid is None:
        return streamseq is None and streamprev is None and streamname is None
    try:
        shapes = _streamid(streamid) and _streamid(streamprev) and _streamseq(streamseq)
    except TypeError:
        return False
    return bool(shapes) and (streamname is None or _name_fits(streamname))


def _name_fits(name: Any) -> bool:
    return isinstance(name, str) and 1 <= len(name) <= LONGEST_NAME and name.isprintable()
