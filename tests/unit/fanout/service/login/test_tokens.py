"""Tokens: which are taken, and which are not."""

from pathlib import Path

import pytest

from fanout.service.login.key_file import FileKeys
from fanout.service.login.refusals import InvalidToken
from fanout.service.login.tokens import Verifier
from support.bad_tokens import TOKENS
from support.issuer import Issuer, public_pem


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
