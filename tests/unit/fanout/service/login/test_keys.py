"""Keys: which are taken, for which algorithm, and what is said of the others."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from fanout.errors import SettingError
from fanout.service.login import key_file
from fanout.service.login.key_file import FileKeys
from fanout.service.login.keys import UnusableKey, read_keys
from support.issuer import SECRET, jwk, new_key, private_pem, public_pem

ED, EC, RSA = new_key("EdDSA"), new_key("ES256"), new_key("RS256")
SMALL = rsa.generate_private_key(65537, 1024)


def algorithms(raw: bytes, **options: bool) -> list[str]:
    return [key.algorithm for key in read_keys(raw, **options)]


def jwks(*keys: Any) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def test_each_key_is_for_the_one_algorithm_of_its_type() -> None:
    assert algorithms(public_pem(ED)) == ["EdDSA"]
    assert algorithms(public_pem(EC) + public_pem(RSA)) == ["ES256", "RS256"]
    assert algorithms(SECRET + b"\n") == ["HS256"]
    keys = read_keys(jwks(jwk(ED, "EdDSA", "a"), jwk(EC, "ES256", "b"), jwk(RSA, "RS256")))
    assert [(key.algorithm, key.kid) for key in keys] == [("EdDSA", "a"), ("ES256", "b"), ("RS256", None)]
    assert algorithms(json.dumps(jwk(ED, "EdDSA")).encode()) == ["EdDSA"]


def test_a_secret_is_taken_to_the_letter_but_for_the_line_break_at_its_end() -> None:
    assert read_keys(SECRET + b" \r\n")[0].key == SECRET + b" "


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "no key"),
        (b" \n", "no key"),
        (SECRET[:31], "31 bytes, but 32"),
        (private_pem(ED), "private key"),
        (private_pem(RSA), "private key"),
        (public_pem(SMALL), "1024 bits, but 2048"),
        (public_pem(ec.generate_private_key(ec.SECP384R1())), "another type"),
        (public_pem(ed448.Ed448PrivateKey.generate()), "another type"),
        (b"-----BEGIN PUBLIC KEY-----\nabc", "cut short"),
        (b"-----BEGIN PUBLIC KEY-----\nabcd\n-----END PUBLIC KEY-----", "cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\nabcd\n-----END CERTIFICATE-----", "certificate"),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0000000000000000000000000000000000000", "another kind"),
        (b"{", "not valid JSON"),
        (b"{" * 100000, "not valid JSON"),
        (jwks(), "without keys"),
        (b'{"keys": 5}', "not a list"),
        (jwks(5), "something else"),
        (jwks({"kty": "oct", "k": "YWJj"}), "3 bytes, but 32"),
        (jwks({"kty": "RSA"}), "without a key of type"),
        (jwks({}), "without a key of type"),
        (jwks(jwk(ED, "EdDSA") | {"use": "enc"}), "for signatures"),
        (jwks(jwk(ED, "EdDSA") | {"key_ops": ["sign"]}), "to verify"),
        (jwks(jwk(ED, "EdDSA") | {"kid": 5}), "for signatures"),
        (jwks(jwk(RSA, "RS256") | {"alg": "RS512"}), "other algorithms"),
        (jwks(jwk(RSA, "RS256") | {"alg": "none"}), "without a key of type|other algorithms"),
        (jwks(jwk(ED, "EdDSA") | {"d": "YWJj"}), "private key"),
        (jwks(jwk(SMALL, "RS256")), "1024 bits"),
    ],
)
def test_what_cannot_be_used_is_said(raw: bytes, says: str) -> None:
    with pytest.raises(UnusableKey, match=says):
        read_keys(raw)


def test_a_set_may_hold_keys_for_other_things() -> None:
    other = [{"kty": "EC", "crv": "P-521"}, jwk(RSA, "RS256") | {"use": "enc"}, {"kty": "future"}]
    assert algorithms(jwks(*other, jwk(ED, "EdDSA"))) == ["EdDSA"]


def test_a_secret_that_a_url_gives_is_none() -> None:
    oct_ = {"kty": "oct", "k": "YWJj" * 20}
    assert algorithms(jwks(oct_)) == ["HS256"]
    with pytest.raises(UnusableKey, match="everyone can read"):
        read_keys(jwks(oct_), secrets=False)
    with pytest.raises(UnusableKey, match="neither a JWKS nor PEM"):
        read_keys(SECRET, secrets=False)


def test_a_key_does_not_show_itself() -> None:
    assert SECRET.decode() not in repr(read_keys(SECRET))


async def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_file, "LOOK_EVERY", -1)
    path = tmp_path / "keys"
    path.write_bytes(public_pem(ED))
    keys = FileKeys(path)
    assert [key.algorithm for key in await keys.current()] == ["EdDSA"]
    path.write_bytes(public_pem(RSA))
    assert [key.algorithm for key in await keys.current()] == ["RS256"]
    for wrong in (b"", b"short", private_pem(ED)):  # what was there goes on being used
        path.write_bytes(wrong)
        assert [key.algorithm for key in await keys.current()] == ["RS256"]
    path.unlink()
    assert [key.algorithm for key in await keys.current()] == ["RS256"]
    path.write_bytes(public_pem(EC))
    assert [key.algorithm for key in await keys.current()] == ["ES256"]


def test_a_file_that_cannot_be_used_at_the_start_is_a_setting_error(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"AUTH_KEYS_FILE is .*No such file"):
        FileKeys(tmp_path / "none")
    (tmp_path / "short").write_bytes(b"hunter2")
    with pytest.raises(SettingError, match="a secret of 7 bytes, but 32 is the least") as error:
        FileKeys(tmp_path / "short")
    assert "hunter2" not in str(error.value)
    (tmp_path / "large").write_bytes(b"x" * 300_000)
    with pytest.raises(SettingError, match="more than 262144 bytes"):
        FileKeys(tmp_path / "large")
    with pytest.raises(SettingError, match="Is a directory"):
        FileKeys(tmp_path)
