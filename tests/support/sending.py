"""Messages from a publisher of their own, which ends when Redis has accepted them."""

from collections.abc import Callable

from fanout.errors import ExitCode
from support.service import Service


def send(start: Callable[..., Service], *messages: str, channel: str = "notifications", **settings: object) -> Service:
    lines = "".join(f"{message}\n" for message in messages).encode()
    publisher = start("publisher", "send", channel, stdin=lines, **settings)
    assert publisher.ended() == ExitCode.OK
    return publisher
