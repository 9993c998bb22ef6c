"""REDIS_URL and REDIS_PASSWORD: what is wrong with them is said in one line that shows nothing of them."""

import os
import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import URL_QUERY_ARGUMENT_PARSERS

from fanout._redis.address import ANYWHERE, TLS, Address
from fanout._redis.connection import _unopened
from fanout.environment import Environment
from fanout.errors import ExitCode, SettingError
from fanout.settings import read_settings

SECRET = "hunter2x"
NAMES = sorted(
    {*ANYWHERE, *TLS, *URL_QUERY_ARGUMENT_PARSERS}
    | {"client_name", "decode_responses", "retry", "encoding", "host", "port", "path", "connection_class", "nonsense"}
)


def refused(**variables: str) -> str:
    with pytest.raises(SettingError) as raised:
        Address(Environment(variables))
    assert raised.value.exit_code == ExitCode.BAD_INPUT
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost:6379", "REDIS_URL has another scheme, but must be redis://, rediss:// or unix://"),
        (f"redis:me:{SECRET}@host:6379", "has another scheme"),
        (f"me:{SECRET}@host", "has another scheme"),
        (f"http://me:{SECRET}@host", "has another scheme"),
        (f"redis://me:{SECRET}", "cannot be read"),
        (f"redis://me:{SECRET}@host:port", "cannot be read"),
        (f"redis://me:a/{SECRET}@host", "cannot be read"),
        (f"redis://me:a#{SECRET}@host", "cannot be read"),
        (f"redis://me:a?{SECRET}@host", "cannot be read"),
        (f"redis://me:{SECRET}@host\n:6379/x", "cannot be read"),
        (f"redis://me:{SECRET}@ho st", "cannot be read"),
        (f"redis://me:[{SECRET}@host", "cannot be read"),
        (f"redis://me:{SECRET}@host:99999", "cannot be read"),
        (f"redis://me:{SECRET}@host:0", "cannot be read"),
        (f"redis://me:{SECRET}@", "names no server"),
        (f"redis://host/{SECRET}", "has a path that is not a database number"),
        (f"redis://me@host/0?x={SECRET}@", "has an unknown parameter"),
        (f"redis://host/0?password={SECRET}&db=first", "the parameter db in REDIS_URL is invalid, but must be a number"),
        (f"unix:///run/redis.sock?password={SECRET}&timeout=1", "the parameter timeout in REDIS_URL is unknown"),
        (f"unix://?password={SECRET}", "names no server"),
    ],
)  # fmt: skip
def test_a_bad_url_is_refused_and_not_shown(url: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(url + "\n")
    for variables in ({"REDIS_URL": url}, {"REDIS_URL_FILE": str(tmp_path / "url")}):
        message = refused(**variables)
        assert SECRET not in message
        assert says in message or "has several lines" in message


@given(
    st.text(min_size=1, max_size=30),
    st.sampled_from(["redis://{}", "redis://:{}@h", "{}", "redis://h/0?{}=1@", "unix://{}"]),
)
def test_no_text_is_shown_or_crashes(text: str, form: str) -> None:
    secret = f"{text}{SECRET}"
    try:
        Address(Environment({"REDIS_URL": form.format(secret)}))
    except SettingError as error:
        assert SECRET not in str(error)


@pytest.mark.parametrize(("scheme", "name"), list(product(["redis://h:1/0", "rediss://h:1/0", "unix:///s"], NAMES)))
def test_each_parameter_works_or_is_named(scheme: str, name: str) -> None:
    ca = next(path for path in ("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem") if os.path.exists(path))
    values = [
        "1",
        "5",
        "0",
        "true",
        "none",
        "required",
        "HIGH",
        "771",
        "999999",
        ca,
        "/no/such/file",
        "",
        "x%00y",
        "VERIFY_X509_STRICT",
    ]
    for value in values:
        try:
            settings = read_settings(Environment({"REDIS_URL": f"{scheme}?{name}={value}", "INSTANCE": "x"}))
        except SettingError as error:
            assert f" {name}" in str(error) or not value
            continue
        assert name in ANYWHERE or (name in TLS and scheme.startswith("rediss"))
        connection: Any = _unopened(settings, 1.0)
        if scheme.startswith("rediss"):
            connection.ssl_context.get()
        assert (connection.client_name, connection.protocol) == ("x", 2)


def test_tls_files_must_be_there_and_fit(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_text("no certificate")
    assert "the parameter ssl_ca_certs in REDIS_URL is invalid" in refused(REDIS_URL="rediss://h?ssl_ca_certs=/no/such")
    assert "ssl_ca_certs, from which no TLS context can be made" in refused(
        REDIS_URL=f"rediss://h?ssl_ca_certs={tmp_path}/garbage"
    )
    assert "ssl_keyfile in REDIS_URL stands alone" in refused(REDIS_URL=f"rediss://h?ssl_keyfile={tmp_path}/garbage")
    assert "is only for rediss://" in refused(REDIS_URL="redis://h?ssl_cert_reqs=none")


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"s3cret\n", "s3cret"),
        (b"s3cret\r\n", "s3cret"),
        (b"s3cret", "s3cret"),
        (b' a "b" \\c\\ #d ', ' a "b" \\c\\ #d '),
        ("pässwörd\n".encode(), "pässwörd"),
    ],
)
def test_a_password_is_what_stands_in_its_file(tmp_path: Path, content: bytes, password: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    address = Address(Environment({"REDIS_PASSWORD_FILE": str(tmp_path / "secret")}))
    assert address.options()["password"] == password
    (tmp_path / "secret").write_text("changed")
    assert address.options()["password"] == "changed"
    assert "changed" not in repr(address)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"hunter2x\nmore\n", "has several lines, or control characters"),
        (b"hunter2x\r", "has several lines, or control characters"),
        (b"hunter2x\n\n", "has several lines, or control characters"),
        (b"hunter2x\x00", "has several lines, or control characters"),
        (b"hunter2x\xff", "is not UTF-8 text"),
    ],
)
def test_a_password_that_cannot_be_is_refused_and_not_shown(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    message = refused(REDIS_PASSWORD_FILE=str(tmp_path / "secret"))
    assert message.startswith(f"REDIS_PASSWORD_FILE {says}")
    assert SECRET not in message


def test_a_password_in_place_of_its_files_name_is_not_shown(tmp_path: Path) -> None:
    message = refused(REDIS_PASSWORD_FILE=f"/tmp/{SECRET}")
    assert re.match(r"REDIS_PASSWORD_FILE names a file that cannot be read \(No such file or directory\)", message)
    assert SECRET not in message
    assert "cannot be read (Is a directory)" in refused(REDIS_PASSWORD_FILE=str(tmp_path))
    assert "is set together with REDIS_PASSWORD" in refused(REDIS_PASSWORD_FILE=str(tmp_path), REDIS_PASSWORD=SECRET)
    assert "REDIS_PASSWORD has several lines" in refused(REDIS_PASSWORD=f"{SECRET}\nx")
    assert "REDIS_PASSWORD is not UTF-8" in refused(REDIS_PASSWORD=f"{SECRET}\udcff")
