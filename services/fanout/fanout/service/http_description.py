"""What the OpenAPI descriptions of the services share: publishing, health, refusals, and how a client logs in."""

from collections.abc import Mapping
from typing import Any

from fanout._event.encode import JSON, TEXT
from fanout.keys import CHANNEL_RULE, MAX_CHANNEL, RESERVED
from fanout.service.http_body import BATCH, STRUCTURED
from fanout.service.http_head import LONGEST_HEAD, MOST_HEADERS
from fanout.service.http_ingest import LONGEST_KEY
from fanout.service.login.gate import Gate

Part = dict[str, Any]

STRING: Part = {"type": "string"}
CHANNEL: Part = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_CHANNEL,
    "pattern": f"^(?!{RESERVED})[^,{{}}\\u0000-\\u001f\\u007f-\\u009f]+$",
    "description": f"{CHANNEL_RULE}, not beginning with {RESERVED}.",
}
_REFUSALS = {
    400: "The request is not valid.",
    401: "Where there is a login: there is no token, or it is not valid.",
    403: "The Host, the page's origin or the channel is not allowed, or the token does not permit it.",
    404: "There is no login here (AUTH=off).",
    408: "The request was not complete within REQUEST_TIMEOUT.",
    413: "The body has more than MAX_EVENT bytes.",
    415: "The body is not of a type that is taken here.",
    422: "The request contradicts an earlier one.",
    429: "Too many tokens of this address were not valid.",
    431: f"The headers have more than {LONGEST_HEAD} bytes, or are more than {MOST_HEADERS}.",
    503: "There are too many connections, or the service is stopping.",
}
_HEADERS: dict[int, dict[str, tuple[str, bool]]] = {
    401: {"WWW-Authenticate": ("Bearer, and what is wrong with the token (RFC 6750).", True)},
    403: {"WWW-Authenticate": ("Bearer, where a token does not permit it.", False)},
    429: {"Retry-After": ("Seconds.", True)},
    503: {"Retry-After": ("Seconds.", True)},
}
ANY = (400, 403, 408, 413, 431, 503)
"""What any request may be answered with, whatever it is for."""
LOGIN = (401, 429)
"""What a request may be answered with besides, where it needs a token."""


def components(gate: Gate) -> Part:
    """Return the schemas that the descriptions refer to, and how to log in, where there is a login.

    Args:
        gate: the service's gate.

    Returns:
        The members `components` and `security` of a description. Operations without a token say so themselves.
    """
    found: Part = {"components": {"schemas": _SCHEMAS}}
    if gate.on:
        found["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            "cookie": {
                "type": "apiKey",
                "in": "cookie",
                "name": gate.cookie,
                "description": "POST /login of the gateway sets it. It counts only for pages of the same origin, or of "
                "one that ORIGINS names.",
            },
        }
        found["security"] = [{"bearer": []}, {"cookie": []}]
    return found


def operation(
    name: str, summary: str, answers: Mapping[int, Part], *refused: int, login: bool = True, **others: Any
) -> Part:
    """Describe an operation.

    Args:
        name: its operationId.
        summary: what it does.
        answers: what it answers where it does not refuse.
        refused: with which statuses it refuses a request, beside ANY, and LOGIN where it needs a token.
        login: whether it needs a token where there is a login.
        others: further members, such as `parameters`; `why` has descriptions of refusals in place of the usual ones.

    Returns:
        The operation, with every answer that it may give.
    """
    statuses = sorted({*ANY, *refused, *(LOGIN if login else ())} - answers.keys())
    why: Mapping[int, str] = others.pop("why", {})
    responses = dict(answers) | {status: _refusal(status, why.get(status)) for status in statuses}
    return {
        "operationId": name,
        "summary": summary,
        **others,
        "responses": {str(status): responses[status] for status in sorted(responses)},
        **({} if login else {"security": []}),
    }


def answer(description: str, schema: Part, kind: str = JSON, **headers: str) -> Part:
    """Describe an answer; `headers` are those that it always has, with `_` for `-`."""
    named = {name.replace("_", "-"): (text, True) for name, text in headers.items()}
    return {"description": description, "content": {kind: {"schema": schema}}} | _headers(named)


def parameter(place: str, name: str, schema: Part, description: str = "") -> Part:
    """Describe a parameter; one in the path is required, the others are not."""
    required = {"required": True} if place == "path" else {}
    said = {"description": description} if description else {}
    return {"name": name, "in": place, **required, **said, "schema": schema}


def members(required: Mapping[str, Part], **optional: Part) -> Part:
    """Describe a JSON object by its members."""
    return {"type": "object", "required": list(required), "properties": {**required, **optional}}


def ref(name: str) -> Part:
    """Refer to one of the schemas that the descriptions share."""
    return {"$ref": f"#/components/schemas/{name}"}


def _refusal(status: int, why: str | None) -> Part:
    return {
        "description": why or _REFUSALS[status],
        **_headers(_HEADERS.get(status, {})),
        "content": {JSON: {"schema": ref("Refused")}},
    }


def _headers(named: Mapping[str, tuple[str, bool]]) -> Part:
    found = {
        name: {"description": text, "required": required, "schema": STRING} for name, (text, required) in named.items()
    }
    return {"headers": found} if found else {}


_TEXT: Part = {"type": "string", "minLength": 1}
_SCHEMAS: Part = {
    "Refused": members({"detail": {"type": "string", "description": "What is wrong, in words."}}),
    "Accepted": {
        **members({"source": STRING, "id": STRING}, streamid=STRING),
        "description": "`source` and `id` name the event for all time, `streamid` is its place in the history.",
    },
    "CloudEvent": {
        **members(
            {"specversion": {"const": "1.0"}, "id": _TEXT, "source": _TEXT, "type": _TEXT},
            subject=_TEXT,
            time={"type": "string", "format": "date-time"},
            datacontenttype=_TEXT,
            dataschema=_TEXT,
            data={},
            data_base64={"type": "string", "contentEncoding": "base64"},
        ),
        "description": "An event of CloudEvents 1.0; further members are its extension attributes.",
    },
}

PUBLISH = operation(
    "publish",
    "Publish the body, and answer when Redis has accepted it",
    {202: answer("Redis has accepted it.", {"anyOf": [ref("Accepted"), {"type": "array", "items": ref("Accepted")}]})},
    415,
    422,
    description="Text, JSON or anything else is the data of an event. CloudEvents are accepted in their structured, "
    "binary and batched modes, and keep their attributes. A request that is sent again with the same Idempotency-Key "
    "within 24 h, or with an event of the same source and id within 10 minutes, publishes once and is answered alike.",
    parameters=[
        parameter("path", "channel", CHANNEL),
        parameter("header", "Idempotency-Key", {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY}),
        parameter("header", "traceparent", STRING, "The W3C trace context, which travels with the event."),
        *(
            parameter("header", f"ce-{name}", STRING, "Of a CloudEvent in binary mode, whose data is the body.")
            for name in ("specversion", "id", "source", "type")
        ),
    ],
    requestBody={
        "required": True,
        "content": {
            TEXT: {"schema": STRING},
            JSON: {"schema": {}},
            STRUCTURED: {"schema": ref("CloudEvent")},
            BATCH: {"schema": {"type": "array", "items": ref("CloudEvent")}},
            "*/*": {"schema": {}},
        },
    },
    why={
        400: "The channel's name, the body or an attribute is not valid.",
        413: "The event would be longer than MAX_EVENT.",
        415: "The body is encoded, in another charset than UTF-8, or in a format of CloudEvents other than JSON.",
        422: "The Idempotency-Key is not valid, or it, or the event's source and id, was used with another body.",
        503: "Redis has not accepted the event in time, the buffer is full, or too many channels are open.",
    },
)
HEALTHZ = operation(
    "healthz",
    "Answer as long as the process works",
    {200: answer("It works.", members({"status": {"const": "ok"}}))},
    login=False,
)
_STATE = members({"redis": {"enum": ["connected", "connecting"]}, "waiting": {"type": "integer", "minimum": 0}})
READYZ = operation(
    "readyz",
    "Report whether Redis is connected, and how many messages wait for it",
    {
        200: answer("Redis is connected.", _STATE),
        503: answer("Redis is not connected, or there are too many connections.", {"anyOf": [_STATE, ref("Refused")]}),
    },
    login=False,
)
