"""rediss:// against a server with TLS, with parameters that REDIS_URL may have for it."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from run.loopback import free_port, server_program
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually, missing

Start = Callable[..., Service]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that takes TLS alone from who has its certificate, and plain connections from the test."""
    if not shutil.which("openssl"):
        missing("openssl is missing")
    if b"libssl" not in subprocess.run(["ldd", server_program()], capture_output=True, check=False).stdout:
        missing(f"{server_program()} has no TLS")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", "tls.key", "-out", "tls.crt"],
        cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    files = [f"{tmp_path}/tls.{end}" for end in ("crt", "key", "crt")]
    options = zip(("--tls-cert-file", "--tls-key-file", "--tls-ca-cert-file"), files, strict=True)
    tls_port = str(free_port(0))
    server = RedisServer(tmp_path, "--tls-port", tls_port, *(word for option in options for word in option)).start()
    ours = f"ssl_certfile={tmp_path}/tls.crt&ssl_keyfile={tmp_path}/tls.key"
    server.url = f"rediss://localhost:{tls_port}/0?{ours}"
    yield server
    server.stop()


@pytest.mark.parametrize(
    "parameters",
    [
        "ssl_ca_certs={folder}/tls.crt",
        "ssl_ca_certs={folder}/tls.crt&ssl_check_hostname=false&ssl_min_version=771&ssl_cert_reqs=required",
        "ssl_cert_reqs=none",
    ],
)
def test_messages_pass_over_tls(server: RedisServer, start: Start, tmp_path: Path, parameters: str) -> None:
    url = f"{server.url}&{parameters.format(folder=tmp_path)}"
    subscriber = start("subscriber", REDIS_URL=url)
    subscriber.wait_for("live")
    assert start("publisher", "send", "notifications", "sealed", REDIS_URL=url).ended() == 0
    eventually(lambda: subscriber.data() == ["sealed"])
    assert subscriber.stop() == 0


def test_a_certificate_of_a_stranger_is_not_trusted(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")  # it knows no CA that signed it
    eventually(lambda: any("certificate" in line["cause"].lower() for line in subscriber.events("connect_failed")))
    assert not subscriber.events("connected")
