"""Redis with a password from a file, as the layer prod starts it, and the services that log in there."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fanout._redis.address import Address
from fanout.environment import Environment
from fanout.errors import SettingError
from run.loopback import free_port, server_program
from support.waiting import eventually

SCRIPT = Path(__file__).resolve().parents[2] / "docker/redis/with-password.sh"
GOOD = [
    b"s3cret\n",
    b"s3cret\r\n",
    b"no line break",
    b"\"quoted\" \\ 'single' $HOME `id` #hash %s\n",
    b"  blanks at both ends  \n",
    "pässwörd €\n".encode(),
]
BAD = [b"", b"\n", b" \r\n", b"two\nlines\n", b"a line break too many\n\n", b"s3cret\r", b"nul\x00", b"bell\x07\n"]


class Started:
    def __init__(self, folder: Path, content: bytes | None) -> None:
        (folder / "bin").mkdir()
        (folder / "bin/redis-server").symlink_to(server_program())
        self.port, self.secret = free_port(0), folder / "secret"
        if content is not None:
            self.secret.write_bytes(content)
        config = folder / "redis.conf"
        config.write_text(f"port {self.port}\nbind 127.0.0.1\nsave ''\ndir {folder}\n".replace("''", '""'))
        self.process = subprocess.Popen(
            ["sh", SCRIPT, config, self.secret], env={"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def client(self, password: str | None) -> redis.Redis:
        return redis.Redis(port=self.port, password=password, socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def answers(self) -> bool:
        with self.client(None) as client:
            try:
                return bool(client.ping())
            except redis.AuthenticationError:
                return True
            except redis.ConnectionError:
                return False


@pytest.fixture
def started(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Started]:
    started = Started(tmp_path, request.param)
    yield started
    started.process.kill()
    started.process.wait()
    started.process.stdout.close()


@pytest.mark.parametrize("started", GOOD, indirect=True)
def test_redis_and_the_services_read_a_password_alike_and_nobody_else_gets_in(started: Started) -> None:
    eventually(started.answers)
    password = Address(Environment({"REDIS_PASSWORD_FILE": str(started.secret)})).options()["password"]
    with started.client(password) as client:
        assert client.ping()
    for wrong in (None, "", password + "x"):
        with started.client(wrong) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
    started.process.kill()
    said = started.process.communicate()[0]
    assert password.encode().strip() not in said


@pytest.mark.parametrize("started", [*BAD, None], indirect=True)
def test_without_a_proper_password_neither_redis_nor_a_service_starts(started: Started) -> None:
    said = started.process.communicate(timeout=10)[0].decode()
    assert started.process.returncode == 2
    assert said.count("\n") == 1
    assert "Redis does not start without one" in said
    with pytest.raises(SettingError):
        Address(Environment({"REDIS_PASSWORD_FILE": str(started.secret)}))
