"""A grant: what a token permits, to whom, and for how long."""

import time
from dataclasses import dataclass

from fanout.service.login.globs import Globs
from fanout.service.login.refusals import Forbidden

LEEWAY = 10
"""Seconds by which the clocks of who issues tokens and of this machine may differ."""
PRESENCE = ".presence"
"""The ending of the channel that says who is on another one."""
_SHOWN = 255


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """What one token permits.

    Attributes:
        subject: whose token it is; empty if it does not say.
        expires: when it expires, in seconds since 1970; None is never.
        subscribe: the channels that may be read.
        publish: the channels that may be published on.
        dashboard: whether the view of all replicas may be read.
    """

    subject: str
    expires: int | None
    subscribe: Globs
    publish: Globs
    dashboard: bool

    def left(self) -> float | None:
        """Return for how many seconds it still holds: as long as its token would be accepted; None is for ever."""
        return None if self.expires is None else max(0.0, self.expires + LEEWAY - time.time())

    def may_subscribe(self, channel: str) -> bool:
        """Return whether a channel may be read: who may read a channel may also read who is on it."""
        of = channel.removesuffix(PRESENCE)
        return self.subscribe.match(channel) or (of != channel and self.subscribe.match(of))

    def check_subscribe(self, *channels: str) -> None:
        """Check that channels may be read.

        Raises:
            Forbidden: one may not; it is named.
        """
        for channel in channels:
            if not self.may_subscribe(channel):
                raise Forbidden(no_subscribe(channel))

    def check_publish(self, channel: str) -> None:
        """Check that a channel may be published on.

        Raises:
            Forbidden: it may not.
        """
        if channel.endswith(PRESENCE):
            raise Forbidden(
                f"the channel {channel[:_SHOWN]} says who is on another one: only the gateway publishes there"
            )
        if not self.publish.match(channel):
            raise Forbidden(f"the token does not permit to publish on the channel {channel[:_SHOWN]}")

    def check_dashboard(self) -> None:
        """Check that the view of all replicas may be read.

        Raises:
            Forbidden: it may not.
        """
        if not self.dashboard:
            raise Forbidden('the token does not permit the dashboard: that takes "fanout": {"dashboard": true}')


def no_subscribe(channel: str) -> str:
    """Say that a channel may not be read."""
    return f"the token does not permit to subscribe to the channel {channel[:_SHOWN]}"


ALL = Globs(["*"])
EVERYTHING = Grant(subject="", expires=None, subscribe=ALL, publish=ALL, dashboard=True)
"""What everyone may where there is no login."""
