"""What a WebSocket may do: what its request permitted, and then what the latest token permits that it has sent."""

import asyncio
from collections.abc import Awaitable, Callable

from fanout.service.http_body import Refused
from fanout.service.login.gate import Gate
from fanout.service.login.grant import Grant, no_subscribe

FIRST_WITHIN = 10.0
"""Seconds within which the first token must come."""
NOT_PERMITTED = 4401
TRY_AGAIN_LATER = 1013
LONGEST_REASON = 123
"""Bytes of a reason (RFC 6455, section 5.5)."""
EXPIRED = "the token has expired"
OFF = "there is no login here (AUTH=off): everything is permitted without a token"
FIRST = 'send a token first: {"token": "<jwt>"}'

End = Callable[[int, bytes], Awaitable[None]]


class Permission:
    """The grant of one connection, and the timer that ends the connection with it."""

    def __init__(self, gate: Gate, grant: Grant | None, address: str, end: End) -> None:
        """Begin with what the request permitted.

        Args:
            gate: checks tokens.
            grant: what the request permitted; None if a token must come.
            address: the client's address.
            end: ends the connection with a code and a reason.
        """
        self._gate, self._grant, self._address, self._end = gate, grant, address, end
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        self._arm()

    @property
    def subject(self) -> str:
        """Whose token it is; empty if it does not say, or there is none."""
        return self._grant.subject if self._grant else ""

    def refusal(self, channel: str) -> str:
        """Return why a channel may not be read; empty if it may."""
        if self._grant is None:
            return FIRST
        return "" if self._grant.may_subscribe(channel) else no_subscribe(channel)

    async def renew(self, token: str) -> Grant | None:
        """Take a token in place of the one before; a first one that is not valid ends the connection, and gives None.

        Raises:
            ValueError: it is not valid; the one before holds on.
        """
        if not self._gate.on:
            raise ValueError(OFF)
        try:
            grant = await self._gate.verify(token, self._address)
        except Refused as error:
            if self._grant is not None:
                raise ValueError(str(error)) from None
            self._begin_end(NOT_PERMITTED if error.status == 401 else TRY_AGAIN_LATER, str(error))
            return None
        if self._ending:
            return None
        self._grant = grant
        self._arm()
        return grant

    async def close(self) -> None:
        """Stop the timer; if the connection is being ended, wait until that is done."""
        if self._timer:
            self._timer.cancel()
        if self._ending:
            await self._ending

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
        left = FIRST_WITHIN if self._grant is None else self._grant.left()
        self._timer = None if left is None else asyncio.get_running_loop().call_later(left, self._time_out)

    def _time_out(self) -> None:
        self._begin_end(NOT_PERMITTED, EXPIRED if self._grant else f"no token within {FIRST_WITHIN:g} s")

    def _begin_end(self, code: int, why: str) -> None:
        self._grant = None
        if self._ending is None:
            self._ending = asyncio.create_task(self._do_end(code, why))

    async def _do_end(self, code: int, why: str) -> None:
        reason = why.encode()[:LONGEST_REASON].decode(errors="ignore")
        await self._end(code, reason.encode())
