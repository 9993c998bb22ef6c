"""Bad tokens at both HTTP ports: each is a 401, none is a 500, and a good token is served afterwards."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.bad_tokens import HEADERS, TOKENS
from support.issuer import Issuer, bearer
from support.login_world import LOGIN, ask, challenge, is_served, post_as
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Make = Callable[[Issuer], str]


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="module", params=["publisher", "gateway"])
def service(
    request: pytest.FixtureRequest, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    service = Service(request.param, REDIS_URL=server.url, **LOGIN, **issuer.settings)
    service.wait_for("connected")
    yield service
    assert service.stop() == 0
    assert not [line for line in service.lines if line["event"] in {"crashed", "NO JSON"} or "exception" in line]
    assert service.process.stdout
    service.process.stdout.close()
    server.stop()


def refused(service: Service, headers: list[tuple[str, str]]) -> None:
    roads = [("POST", "/channels/n/messages")]
    if service.name == "gateway":
        roads += [("GET", "/channels/n/events"), ("GET", "/system/events"), ("GET", "/login")]
    for method, path in roads:
        answer = ask(service, method, path, headers, b"x" if method == "POST" else b"")
        assert answer.status == 401, (method, path, answer)
        assert challenge(answer).startswith("Bearer"), answer
        assert answer.json["detail"]


@pytest.mark.parametrize("make", TOKENS.values(), ids=TOKENS)
def test_a_bad_token_gets_nobody_in(service: Service, issuer: Issuer, make: Make) -> None:
    token = make(issuer)
    refused(service, list(bearer(token).items()))
    if service.name == "gateway":
        refused(service, [("Cookie", f"fanout_token={token}")])
        body = json.dumps({"token": token}).encode()
        answer = ask(service, "POST", "/login", [("Content-Type", "application/json")], body)
        assert (answer.status, "set-cookie" in answer.headers) == (401, False)
    assert is_served(service, issuer)


@pytest.mark.parametrize("make", HEADERS.values(), ids=HEADERS)
def test_a_token_that_is_brought_in_another_way_gets_nobody_in(
    service: Service, issuer: Issuer, make: Callable[[Issuer], list[tuple[str, str]]]
) -> None:
    refused(service, make(issuer))
    assert is_served(service, issuer)


def test_a_token_as_long_as_it_may_be_is_taken(service: Service, issuer: Issuer) -> None:
    token = max(
        (issuer.token(more="x" * size) for size in range(5700, 6000)), key=lambda one: (len(one) <= 8192) * len(one)
    )
    assert 8189 < len(token) <= 8192
    assert post_as(service, token).status == 202


def test_a_megabyte_in_the_header_is_refused_before_it_is_read(service: Service, issuer: Issuer) -> None:
    assert ask(service, "GET", "/healthz", [("Authorization", "Bearer " + "x" * 1_000_000)]).status == 431
    assert is_served(service, issuer)


def test_a_megabyte_in_the_body_is_refused(service: Service, issuer: Issuer) -> None:
    body = json.dumps({"token": "x" * 1_000_000}).encode()
    assert ask(service, "POST", "/login", [("Content-Type", "application/json")], body).status == 413
    assert is_served(service, issuer)


@pytest.mark.parametrize(
    "query",
    [
        "token={}",
        "access_token={}",
        "authorization=Bearer%20{}",
        "TOKEN={}",
        "since=now&token={}",
        "%74oken={}",
        "token",
    ],
)
def test_a_token_in_the_url_is_refused_and_the_answer_says_why(service: Service, issuer: Issuer, query: str) -> None:
    token = issuer.token()
    for headers in ([], list(bearer(token).items())):
        answer = ask(service, "POST", f"/channels/n/messages?{query.format(token)}", headers, b"x")
        assert (answer.status, "does not belong into a URL" in answer.detail) == (400, True)
        assert token not in answer.detail


def test_without_a_token_the_challenge_names_no_error(service: Service) -> None:
    answer = ask(service, "POST", "/channels/n/messages", body=b"x")
    assert (answer.status, challenge(answer)) == (401, "Bearer")
    assert "Authorization: Bearer" in answer.detail


def test_an_invalid_token_is_challenged_as_rfc_6750_says(service: Service, issuer: Issuer) -> None:
    answer = post_as(service, issuer.token(lasts=-100))
    assert challenge(answer) == 'Bearer error="invalid_token", error_description="the token has expired"'


def test_a_page_that_may_use_the_port_may_send_a_token(service: Service) -> None:
    asked = [("Origin", "http://localhost"), ("Access-Control-Request-Method", "POST")]
    answer = ask(service, "OPTIONS", "/channels/n/messages", asked)
    assert (answer.status, "Authorization" in answer.headers["access-control-allow-headers"]) == (204, True)


def test_health_needs_no_token(service: Service) -> None:
    assert [ask(service, "GET", path).status for path in ("/healthz", "/readyz")] == [200, 200]


def test_a_channel_that_is_not_permitted_is_named(service: Service, issuer: Issuer) -> None:
    answer = post_as(service, issuer.token(), channel="other")
    assert (answer.status, answer.detail) == (403, "the token does not permit to publish on the channel other")
    assert challenge(answer).startswith('Bearer error="insufficient_scope"')
    names = (
        "N",
        "n.",
        "n%20",
        "%6E%00",
        "n%2F",
        "nn",
        "n*",
        "*",
        "%6e.",
        "n%0d%0a",
        "ｎ",
        "n%cc%81",
        "__n",
        "%EF%BD%8E",
    )
    for name in names:
        answer = post_as(service, issuer.token(), channel=name.encode().decode("latin-1"))
        assert answer.status in {400, 403}, (name, answer)
    assert post_as(service, issuer.token(), channel="%6e").status == 202  # that is n


def test_nobody_who_fails_is_in_the_log_with_a_token(service: Service, issuer: Issuer) -> None:
    token = issuer.token("mallory", lasts=-100)
    ask(service, "POST", "/channels/n/messages", bearer(token).items(), b"x", by="203.0.113.9")
    eventually(lambda: service.events("login_failed"))
    text = json.dumps(service.lines)
    assert token not in text
    assert token.split(".")[1] not in text
    for line in service.events("login_failed"):
        assert line["level"] == "warning"
        assert line["cause"]
        assert line["client"]


def test_who_fails_too_often_must_wait_and_others_need_not(service: Service, issuer: Issuer) -> None:
    bad, good = list(bearer(issuer.token(lasts=-100)).items()), list(bearer(issuer.token()).items())
    answers = [ask(service, "POST", "/channels/n/messages", bad, b"x", by="198.51.100.7") for _ in range(70)]
    assert [answer.status for answer in answers[:50]] == [401] * 50
    late = next(answer for answer in answers if answer.status == 429)
    assert int(late.headers["retry-after"]) >= 1
    assert ask(service, "POST", "/channels/n/messages", good, b"x", by="198.51.100.8").status == 202

    def again() -> bool:
        return ask(service, "POST", "/channels/n/messages", good, b"x", by="198.51.100.7").status == 202

    assert eventually(again, 10)


def test_another_key_in_the_file_is_taken_without_a_restart(service: Service, issuer: Issuer, tmp_path: Path) -> None:
    other, before = Issuer(tmp_path), issuer.file.read_bytes()
    assert post_as(service, other.token()).status == 401
    issuer.file.write_bytes(other.file.read_bytes() + before)
    try:
        assert eventually(lambda: post_as(service, other.token()).status == 202, 10)
        assert is_served(service, issuer)
    finally:
        issuer.file.write_bytes(before)
    assert eventually(lambda: post_as(service, other.token()).status == 401, 10)
