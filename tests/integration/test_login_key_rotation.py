"""Keys that services fetch from a URL: rotated while they run, and away."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.issuer import Issuer
from support.jwks import Jwks
from support.login_world import LOGIN, post_as
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]


@pytest.fixture
def jwks() -> Iterator[Jwks]:
    one = Jwks()
    yield one
    one.close()


def test_keys_are_rotated_without_a_restart_and_hold_while_the_url_is_away(
    unharmed: Start, name: str, jwks: Jwks, tmp_path: Path
) -> None:
    old, new = Issuer(tmp_path, kid="old"), Issuer(tmp_path, "ES256", kid="new")
    jwks.give(old)
    service = unharmed(name, AUTH_JWKS_URL=jwks.url, **LOGIN)
    service.wait_for("connected")
    assert post_as(service, old.token()).status == 202
    assert post_as(service, new.token()).status == 401
    jwks.give(old, new)
    eventually(lambda: post_as(service, new.token()).status == 202, 20, 0.5)
    assert post_as(service, old.token()).status == 202  # both hold while they are both given
    assert jwks.asked == 2
    jwks.close()
    for issuer in (old, new):
        assert post_as(service, issuer.token("bob")).status == 202
    for number in range(60):
        assert post_as(service, old.token(headers={"kid": f"made-up-{number}"})).status == 401
    assert post_as(service, new.token("carol")).status == 202


def test_a_key_that_is_taken_away_opens_nothing_any_more(
    unharmed: Start, name: str, jwks: Jwks, tmp_path: Path
) -> None:
    old, new = Issuer(tmp_path, kid="old"), Issuer(tmp_path, "RS256", kid="new")
    jwks.give(old)
    service = unharmed(name, AUTH_JWKS_URL=jwks.url, **LOGIN)
    service.wait_for("connected")
    token = old.token()
    assert post_as(service, token).status == 202
    jwks.give(new)
    eventually(lambda: post_as(service, new.token()).status == 202, 20, 0.5)
    assert post_as(service, token).status == 401
