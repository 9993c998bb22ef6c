"""The login of the layer prod: with a key tokens are wanted, without one no service begins."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.compose_stack import Stack, running
from support.issuer import Issuer
from support.posting import post
from support.waiting import eventually


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture
def stack(issuer: Issuer) -> Iterator[Stack]:
    yield from running("prod gateway", 1, "login", AUTH="on", AUTH_PUBLIC_KEY=str(issuer.file))


def test_in_production_a_token_says_who_may_publish_what(stack: Stack, issuer: Issuer) -> None:
    url = f"http://127.0.0.1:{stack.gateway_port}/channels/notifications/messages"
    assert post(url, "nobody's")[0] == 401
    status, answer, _ = post(url, "ann's", Authorization=f"Bearer {issuer.token('ann', [], ['chat'])}")
    assert (status, "the channel notifications" in answer["detail"]) == (403, True)
    assert post(url, "bob's", Authorization=f"Bearer {issuer.token('bob', [], ['notif*'])}")[0] == 202
    for subscriber in stack.containers("subscriber"):
        eventually(lambda name=subscriber: stack.data(name) == ["bob's"])
    # Without a key neither begins, and each says so in one line.
    without = {"AUTH": "on", "AUTH_PUBLIC_KEY": "/dev/null"}
    stack.compose("up", "--detach", "--no-deps", "--no-build", "--force-recreate", "gateway", "publisher", **without)
    for service in ("gateway", "publisher"):
        [name] = stack.containers(service)
        failed = eventually(lambda name=name: stack.events(name, "failed"))
        assert "it holds no key" in failed[-1]["reason"]
        assert failed[-1]["exit_code"] == 2
