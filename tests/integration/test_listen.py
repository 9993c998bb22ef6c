"""Where an HTTP server listens."""

import socket

import pytest

from fanout.errors import SettingError
from fanout.service import http_ingest
from support.waiting import missing


def reaches(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def test_two_colons_are_ipv6_and_ipv4_and_the_address_can_be_used_as_it_is_printed() -> None:
    if not socket.has_dualstack_ipv6():
        missing("no IPv6 here")
    with http_ingest.listen("::", 0) as listener:
        port = listener.getsockname()[1]
        assert reaches("127.0.0.1", port)
        assert reaches("::1", port)
        assert http_ingest.url(listener) == f"http://[::]:{port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_an_ipv4_host_is_what_it_was(host: str) -> None:
    with http_ingest.listen(host, 0) as listener:
        port = listener.getsockname()[1]
        assert reaches("127.0.0.1", port)
        assert http_ingest.url(listener).endswith(f":{port}")


def test_a_port_that_is_taken_is_named() -> None:
    with http_ingest.listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SettingError, match=f"HTTP_HOST:HTTP_PORT is '127.0.0.1:{port}'"):
            http_ingest.listen("127.0.0.1", port)
