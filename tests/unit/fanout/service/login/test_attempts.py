"""Failed attempts: how many an address has, and what is kept of them."""

import pytest
from structlog.testing import capture_logs

from fanout.service.login import attempts
from fanout.service.login.attempts import BURST, Attempts, network
from fanout.service.login.refusals import TooManyAttempts


def test_an_address_that_fails_too_often_must_wait_and_others_need_not() -> None:
    found = Attempts()
    for _ in range(BURST):
        found.check("192.0.2.1")
        found.failed("192.0.2.1", "wrong")
    with pytest.raises(TooManyAttempts, match="try again in 1 s") as error:
        found.check("192.0.2.1")
    assert (error.value.status, error.value.headers) == (429, {"Retry-After": "1"})
    found.check("192.0.2.2")


def test_it_may_try_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(attempts.time, "monotonic", lambda: now)
    found = Attempts()
    for _ in range(BURST):
        found.failed("192.0.2.1", "wrong")
    with pytest.raises(TooManyAttempts):
        found.check("192.0.2.1")
    now += 1
    for _ in range(5):
        found.check("192.0.2.1")
        found.failed("192.0.2.1", "wrong")
    with pytest.raises(TooManyAttempts):
        found.check("192.0.2.1")


def test_few_addresses_are_remembered() -> None:
    found = Attempts()
    for number in range(attempts.MOST_ADDRESSES + 500):
        found.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "wrong")
    assert len(found) <= attempts.MOST_ADDRESSES


def test_who_has_not_failed_for_long_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(attempts.time, "monotonic", lambda: now)
    found = Attempts()
    for number in range(100):
        found.failed(f"192.0.2.{number}", "wrong")
    now += 3600
    found.failed("198.51.100.1", "wrong")
    assert len(found) == 1


def test_the_log_has_few_lines_and_says_how_many_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(attempts.time, "monotonic", lambda: now)
    found = Attempts()
    with capture_logs() as lines:
        for number in range(100):
            found.failed(f"192.0.2.{number}", "wrong")
        now += 1
        found.failed("192.0.2.1", "wrong")
    assert len(lines) == 6
    assert lines[-1] == {
        "event": "login_failed", "log_level": "warning", "client": "192.0.2.1", "cause": "wrong", "not_logged": 95,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("x" * 1000, "x" * 64),
    ],
)
def test_an_ipv6_network_counts_as_one_address(address: str, counts_as: str) -> None:
    assert network(address) == counts_as
