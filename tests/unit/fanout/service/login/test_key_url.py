"""Keys at a URL: rotation, and when the URL is away or does harm."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fanout.service.http_body import Refused
from fanout.service.login import key_url
from fanout.service.login.gate import _Together
from fanout.service.login.key_file import FileKeys
from fanout.service.login.key_url import UrlKeys
from fanout.service.login.refusals import InvalidToken
from fanout.service.login.tokens import Verifier
from support.issuer import Issuer
from support.jwks import Jwks
from support.waiting import eventually_async


@pytest.fixture
def jwks() -> Iterator[Jwks]:
    one = Jwks()
    yield one
    one.close()


@pytest.fixture
def first(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path, kid="first")


@pytest.fixture
def second(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path, "ES256", kid="second")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts may follow one another at once."""
    monkeypatch.setattr(key_url, "LEAST_BETWEEN", 0)


async def test_keys_are_fetched_once_for_many_tokens(jwks: Jwks, first: Issuer) -> None:
    jwks.give(first)
    verifier = Verifier(UrlKeys(jwks.url), "", "")
    grants = await asyncio.gather(*(verifier.verify(first.token()) for _ in range(50)))
    assert {grant.subject for grant in grants} == {"ann"}
    assert jwks.asked == 1


async def test_a_new_key_is_fetched_when_a_token_names_it(
    jwks: Jwks, first: Issuer, second: Issuer, at_once: None
) -> None:
    jwks.give(first)
    verifier = Verifier(UrlKeys(jwks.url), "", "")
    assert await verifier.verify(first.token())
    jwks.give(second)
    assert await verifier.verify(second.token())
    assert jwks.asked == 2
    with pytest.raises(InvalidToken, match="not known here"):
        await verifier.verify(first.token())


async def test_names_of_keys_that_are_not_known_cause_no_storm(jwks: Jwks, first: Issuer) -> None:
    jwks.give(first)
    verifier = Verifier(UrlKeys(jwks.url), "", "")
    for number in range(200):
        with pytest.raises(InvalidToken):
            await verifier.verify(first.token(headers={"kid": f"made-up-{number}"}))
    assert jwks.asked == 1
    assert await verifier.verify(first.token())


async def test_keys_go_on_being_used_while_the_url_is_away(
    jwks: Jwks, first: Issuer, second: Issuer, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_url, "FRESH", 0)
    jwks.give(first)
    verifier = Verifier(UrlKeys(jwks.url), "", "")
    assert await verifier.verify(first.token())
    for wrong in (b"", b"<html>", b'{"keys": []}', b"x" * 300_000, b"{" * 50_000):
        jwks.body = wrong
        asked = jwks.asked
        assert await verifier.verify(first.token())
        await eventually_async(lambda asked=asked: jwks.asked > asked)  # in the background
        assert await verifier.verify(first.token())
    for status in (404, 500, 204):
        jwks.status = status
        assert await verifier.verify(first.token())
    jwks.status = 302
    jwks.headers["Location"] = jwks.url  # redirects are not followed
    assert await verifier.verify(first.token())
    jwks.close()
    assert await verifier.verify(first.token())
    with pytest.raises(InvalidToken):
        await verifier.verify(second.token())


async def test_without_any_key_yet_the_answer_is_503_and_the_log_says_why_once(
    jwks: Jwks, first: Issuer, at_once: None
) -> None:
    jwks.status = 500
    verifier = Verifier(UrlKeys(jwks.url), "", "")
    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(Refused) as error:
                await verifier.verify(first.token())
            assert (error.value.status, error.value.headers) == (503, {"Retry-After": "1"})
    assert [line["cause"] for line in lines] == ["AUTH_JWKS_URL: it answers 500"]
    jwks.status = 200
    jwks.give(first)
    assert await verifier.verify(first.token())


async def test_a_url_that_hangs_holds_up_only_who_needs_it(
    jwks: Jwks, first: Issuer, second: Issuer, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_url, "WITHIN", 0.3)
    jwks.give(first)
    verifier = Verifier(UrlKeys(jwks.url), "", "")
    assert await verifier.verify(first.token())
    jwks.hold.clear()
    unknown = asyncio.create_task(verifier.verify(second.token()))
    await eventually_async(lambda: jwks.asked == 2)
    assert await verifier.verify(first.token())
    assert not unknown.done()
    with pytest.raises(InvalidToken):
        await unknown


async def test_a_url_that_hangs_does_not_hold_up_the_keys_of_a_file(
    jwks: Jwks, first: Issuer, second: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_url, "WITHIN", 0.3)
    jwks.hold.clear()
    verifier = Verifier(_Together([FileKeys(first.file), UrlKeys(jwks.url)]), "", "")
    for _ in range(3):
        async with asyncio.timeout(0.2):
            assert await verifier.verify(first.token())
    with pytest.raises(InvalidToken):
        await verifier.verify(second.token())
    assert jwks.asked == 1


async def test_a_file_and_a_url_hold_together(jwks: Jwks, first: Issuer, second: Issuer, at_once: None) -> None:
    jwks.status = 500
    verifier = Verifier(_Together([FileKeys(first.file), UrlKeys(jwks.url)]), "", "")
    assert await verifier.verify(first.token())
    with pytest.raises(InvalidToken):
        await verifier.verify(second.token())
    jwks.status = 200
    jwks.give(second)
    assert await verifier.verify(second.token())
    assert await verifier.verify(first.token())
