"""The services against their own OpenAPI descriptions: to whatever they are asked, they answer what these say."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.specs.openapi.checks import positive_data_acceptance

from support.gateways import handshake, url
from support.http_client import Raw, ask, ready
from support.issuer import Issuer, bearer
from support.login_world import LOGIN, somewhere
from support.service import Service

EXAMPLES = 40
UNDOCUMENTED = [
    not_a_server_error,  # the only one that a description may have is 503, which others check
    positive_data_acceptance,  # not all rules are those of a schema: bytes of a name, headers that belong together
]
Start = Callable[..., Service]


class HeadsOnly(requests.Session):
    """Of an answer that never ends it reads only the head."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        answer = super().send(request, **(kwargs | {"stream": True}))
        if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
            answer.raw.close()
        return answer


@pytest.mark.parametrize("login", [False, True], ids=["open", "login"])
def test_a_service_answers_what_its_description_says(unharmed: Start, name: str, tmp_path: Path, login: bool) -> None:
    issuer = Issuer(tmp_path)
    service = ready(unharmed(name, **LOGIN, **(issuer.settings if login else {})))
    token = bearer(issuer.token(subscribe="*", publish="*", dashboard=True)) if login else {}

    def ask_and_check(case: Case) -> None:
        headers = {"X-Forwarded-For": somewhere()} | token
        case.call_and_validate(session=session, headers=headers, excluded_checks=UNDOCUMENTED)

    schema = schemathesis.openapi.from_url(f"{url(service)}/openapi.json")
    few = settings(
        max_examples=EXAMPLES,
        phases=(Phase.explicit, Phase.generate),  # to make an example smaller takes longer than the rest
        suppress_health_check=list(HealthCheck),
    )
    wrong, tried = [], []
    with HeadsOnly() as session:
        # What schemathesis' own fixture does, which does not work with each version of pytest.
        for found in get_all_tests(schema=schema, test_func=ask_and_check, settings=few, given_kwargs={}):
            operation, test = found.ok()
            tried.append(operation.label)
            try:
                test()
            except AssertionError as error:
                wrong.append(f"{operation.label}: {error}")
    assert not wrong, "\n\n".join(wrong)
    assert "POST /channels/{channel}/messages" in tried
    assert service.process.poll() is None


def tokens(issuer: Issuer | None) -> list[dict[str, str]]:
    """Requests without a token, with one that is not valid, with one that permits nothing, and with one that does."""
    if not issuer:
        return [{}]
    nothing, everything = issuer.token(subscribe=(), publish=()), issuer.token(None, "*", "*", dashboard=True)
    return [{}, bearer("x"), bearer(nothing), bearer(everything)]


REFUSED: list[dict[str, str]] = [
    {"Host": "elsewhere.example"},
    {"Origin": "https://elsewhere.example"},
    {"Content-Length": "x"},
    {"Content-Length": str(2**40)},
    {"Transfer-Encoding": "gzip"},
    {"X": "x" * 20_000},
    {f"X-{number}": "" for number in range(101)},
    {"Content-Encoding": "gzip"},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Type": "application/cloudevents+avro"},
    {"Idempotency-Key": "\xff"},
    {"Idempotency-Key": "x" * 256},
    {"ce-id": "\xff"},
    {"ce-specversion": "2.0"},
    {"traceparent": "\xff"},
    {"Last-Event-ID": "\xff"},
    {"Cookie": "fanout_token=\xff"},
    {"Authorization": "Basic \xff"},
    {"Range": "bytes=999999-"},
    {"If-Match": '"x"'},
    {"If-None-Match": "*"},
    {"Upgrade": "\xff"},
    {},
]


@pytest.mark.parametrize("login", [False, True], ids=["open", "login"])
def test_every_refusal_is_one_that_the_description_has(unharmed: Start, name: str, tmp_path: Path, login: bool) -> None:
    issuer = Issuer(tmp_path) if login else None
    service = ready(unharmed(name, **LOGIN, **(issuer.settings if issuer else {})))
    description = ask(service, "GET", "/openapi.json").json
    seen = set()
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            for query, token, headers in itertools.product(("", "?token=x", "?since=%ff"), tokens(issuer), REFUSED):
                lines = {"Host": "localhost", "Content-Length": "0", "X-Forwarded-For": somewhere()} | token | headers
                head = "".join(f"{key}: {value}\r\n" for key, value in lines.items())
                asked = f"{method.upper()} {path.format(channel='n')}{query} HTTP/1.1\r\n{head}\r\n"
                with Raw(service) as raw:
                    raw.send(asked.encode("latin-1"))
                    answer = raw.answer()
                says = operation["responses"].get(str(answer.status))
                assert says, (asked, answer)
                seen.add(answer.status)
                for header, about in says.get("headers", {}).items():
                    assert not about["required"] or header.lower() in answer.headers, (asked, answer)
                if answer.status >= 400 and "content" in says:
                    assert set(answer.json) == {"detail"}, (asked, answer)
    assert seen >= {400, 403, 413, 415, 422, 431} | ({401} if login else set())


HANDSHAKES: list[tuple[str, str, int]] = [
    ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==", 101),
    ("Sec-WebSocket-Key", "x", 400),
    ("Sec-WebSocket-Key", "\xff" * 24, 400),
    ("Sec-WebSocket-Version", "12", 400),
    ("Sec-WebSocket-Version", "\xff", 400),
    ("Upgrade", "h2c", 400),
    ("Upgrade", "\xff", 400),
    ("Connection", "\xff", 400),
    ("Origin", "https://elsewhere.example", 403),
    ("Sec-WebSocket-Protocol", "\xff", 101),
]


def test_a_handshake_that_is_none_is_refused(unharmed: Start) -> None:
    gateway = ready(unharmed("gateway"))
    for name, value, status in HANDSHAKES:
        lines = handshake("/ws").decode().split("\r\n")
        kept = [line for line in lines if line and not line.startswith(f"{name}:")]
        with Raw(gateway) as raw:
            raw.send("\r\n".join([*kept, f"{name}: {value}", "", ""]).encode("latin-1"))
            assert raw.answer().status == status, (name, value)
    assert not [line for line in gateway.lines if line.get("logger") == "aiohttp.websocket"]  # which clients could fill


def test_a_part_of_the_client_is_a_part_of_the_file(unharmed: Start) -> None:
    gateway = unharmed("gateway")
    whole = ask(gateway, "GET", "/fanout.js").body
    part = ask(gateway, "GET", "/fanout.js", range="bytes=5-9", accept_encoding="gzip")
    assert (part.status, part.body, part.headers.get("content-encoding")) == (206, whole[5:10], None)
    none = ask(gateway, "GET", "/fanout.js", range="bytes=999999-", accept_encoding="gzip")
    assert (none.status, none.headers.get("content-encoding")) == (416, None)


@pytest.mark.parametrize("header", ["Idempotency-Key", "ce-id", "ce-x", "traceparent", "Content-Type"])
def test_a_header_that_servers_read_differently_is_refused(unharmed: Start, name: str, header: str) -> None:
    service = ready(unharmed(name))
    event = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"} if header[:3] == "ce-" else {}
    for value in ("\xe9", "\xc3\xa9"):
        answer = ask(service, "POST", "/channels/n/messages", b"x", **(event | {header: value}))
        assert (answer.status, "ASCII" in answer.detail) == (422 if header == "Idempotency-Key" else 400, True)


def test_a_gateway_describes_itself_only_where_that_is_wanted(unharmed: Start) -> None:
    assert ask(unharmed("gateway"), "GET", "/openapi.json").status == 200
    assert ask(unharmed("gateway", API_DOCS="off", INSTANCE="gateway-2"), "GET", "/openapi.json").status == 404
