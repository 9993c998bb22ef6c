"""Tokens: which are taken, and which are not."""

import time
from pathlib import Path

import pytest

from fanout.service.login import key_file, tokens
from fanout.service.login.key_file import FileKeys
from fanout.service.login.refusals import InvalidToken
from fanout.service.login.tokens import Verifier
from support.bad_tokens import TOKENS
from support.issuer import Issuer, new_key, public_pem


def verifier(issuer: Issuer, iss: str = "", aud: str = "") -> Verifier:
    return Verifier(FileKeys(issuer.file), iss, aud)


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256", "HS256"])
async def test_each_algorithm_is_taken_with_a_key_of_its_type(tmp_path: Path, algorithm: str) -> None:
    issuer = Issuer(tmp_path, algorithm)
    grant = await verifier(issuer).verify(issuer.token("ann", ["user:{sub}"]))
    assert grant.may_subscribe("user:ann")
    assert not grant.may_subscribe("user:bob")


@pytest.mark.parametrize("make", TOKENS.values(), ids=TOKENS)
async def test_a_bad_token_is_not_taken_and_a_good_one_is_afterwards(tmp_path: Path, make: object) -> None:
    issuer = Issuer(tmp_path)
    one, token = verifier(issuer), make(issuer)  # type: ignore[operator]
    with pytest.raises(InvalidToken) as error:
        await one.verify(token)
    assert error.value.status == 401
    assert len(str(error.value)) < 200
    assert token not in str(error.value) or len(token) < 3
    assert (await one.verify(issuer.token())).subject == "ann"


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
async def test_a_public_key_is_no_secret_whatever_its_type(tmp_path: Path, algorithm: str) -> None:
    issuer = Issuer(tmp_path, algorithm)
    for name in ("public key as a secret", "public key as a secret, without its last line break"):
        with pytest.raises(InvalidToken):
            await verifier(issuer).verify(TOKENS[name](issuer))


async def test_several_keys_hold_at_once(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    old, new = Issuer(tmp_path / "old"), Issuer(tmp_path)
    new.file.write_bytes(public_pem(new.key) + public_pem(old.key))
    for issuer in (old, new):
        assert (await verifier(new).verify(issuer.token())).subject == "ann"


async def test_a_token_that_is_known_is_not_checked_again_and_permits_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = Issuer(tmp_path)
    one, token = verifier(issuer), issuer.token("ann", ["user:{sub}", "a*"])
    slow = await verifier(issuer).verify(token)
    first = await one.verify(token)
    monkeypatch.setattr(one, "_signed", None)
    fast = await one.verify(token)
    assert fast is first
    for name in ("user:ann", "user:bob", "abc", "n"):
        assert fast.may_subscribe(name) == slow.may_subscribe(name)
    assert (fast.subject, fast.expires) == (slow.subject, slow.expires)


async def test_a_token_that_is_known_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = Issuer(tmp_path)
    one, token = verifier(issuer), issuer.token()
    assert await one.verify(token)
    later = time.time() + 3611
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(InvalidToken, match="has expired"):
        await one.verify(token)


async def test_a_token_that_is_known_ends_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_file, "LOOK_EVERY", -1)
    issuer = Issuer(tmp_path)
    one, token = verifier(issuer), issuer.token()
    assert await one.verify(token)
    issuer.file.write_bytes(public_pem(new_key("EdDSA")) + b"\n")
    with pytest.raises(InvalidToken, match="signature is wrong"):
        await one.verify(token)


@pytest.mark.parametrize("name", ["signature flipped", "signature of other claims", "padded", "two parts"])
async def test_what_resembles_a_token_that_is_known_is_not_taken(tmp_path: Path, name: str) -> None:
    issuer = Issuer(tmp_path)
    one = verifier(issuer)
    assert await one.verify(issuer.token())
    with pytest.raises(InvalidToken):
        await one.verify(TOKENS[name](issuer))


async def test_few_tokens_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST_KNOWN", 5)
    issuer = Issuer(tmp_path)
    one = verifier(issuer)
    for number in range(20):
        await one.verify(issuer.token(f"user-{number}"))
    assert len(one._known) == 5


async def test_issuer_and_audience_are_checked(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)
    one = verifier(issuer, iss="us", aud="here")
    assert await one.verify(issuer.token(iss="us", aud=["here"]))
    for wrong in ({"iss": "them", "aud": "here"}, {"iss": "us", "aud": "there"}, {"iss": "us"}, {"aud": "here"}):
        with pytest.raises(InvalidToken):
            await one.verify(issuer.token(**wrong))


async def test_a_token_of_8_kib_is_taken(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)
    assert await verifier(issuer).verify(issuer.token(more="x" * 5700))


def test_the_table_is_as_long_as_it_must_be() -> None:
    assert len(TOKENS) >= 60
