"""Publishes messages that are posted over HTTP, whatever the framework, and turns errors into status codes."""

import asyncio
import re
import socket
from collections.abc import AsyncIterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import structlog

from fanout._event.cloudevent import CloudEvent
from fanout._publish.batch import Accepted
from fanout._publish.publisher import Publisher
from fanout.errors import (
    ChannelNotAllowed,
    ChannelRefused,
    EventTooLarge,
    FanoutError,
    KeyReused,
    NotAccepted,
    SettingError,
    TooManyChannels,
)
from fanout.keys import MAX_CHANNEL, check_open_to_all
from fanout.service.http_body import Refused, read
from fanout.service.http_settings import HttpSettings
from fanout.service.login.gate import OPEN, Gate

ANSWER_WITHIN = 10.0
LONGEST_KEY = 255
"""Characters of an Idempotency-Key."""
SAME_KEY = "a request that is sent again with the same Idempotency-Key publishes once"
_segment = re.compile(r"(?:[!-$&-.0-~]|%[0-9A-Fa-f]{2})*").fullmatch


class Ingest:
    """Publishes posted messages, and logs each: the client, the size and the result."""

    def __init__(self, publisher: Publisher, http: HttpSettings, max_event: int, gate: Gate = OPEN) -> None:
        self._publisher, self._http, self._max_event, self._gate = publisher, http, max_event, gate

    async def take(
        self, peer: str, raw_path: str, headers: Mapping[str, str], body: AsyncIterable[bytes]
    ) -> Accepted | list[Accepted]:
        """Publish the body of a POST to `/channels/{channel}/messages`.

        Returns:
            What Redis has accepted the event as; for a batch each event's, in order.

        Raises:
            Refused: the message is not accepted.
        """
        channel, status, cause, subject = raw_path.split("/")[2], 503, "cancelled", ""
        try:
            grant = await self._gate.admit(peer, "POST", headers)
            subject = grant.subject
            channel = channel_in(raw_path)
            grant.check_publish(channel)
            key = _check_key(headers.get("idempotency-key"))
            found = await read(headers, body, self._max_event)
            if isinstance(found, list):
                if key:
                    raise Refused(422, "a batch takes no Idempotency-Key: each event's source and id are its own")
                accepted: Accepted | list[Accepted] = await publish_all(self._publisher, channel, found)
            else:
                accepted = await publish(self._publisher, channel, found, key=key)
            status, cause = 202, ""
            return accepted
        except Refused as error:
            status, cause = error.status, str(error)
            raise
        finally:
            log = structlog.get_logger().info if self._http.audit else structlog.get_logger().debug
            log(
                "message_posted",
                client=self._http.client(peer, headers.get("x-forwarded-for", "")),
                channel=channel[:MAX_CHANNEL],
                size=int(headers.get("content-length", 0)),
                status=status,
                **({"subject": subject} if subject else {}),
                **({"cause": cause} if cause else {}),
            )


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket for an HTTP server; at `::` it accepts IPv4 too.

    Raises:
        SettingError: the host and port cannot be used.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise SettingError(
            "HTTP_HOST:HTTP_PORT", f"{host}:{port}", f"an address that is free ({error.strerror})"
        ) from None


def url(listener: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def channel_in(raw_path: str) -> str:
    """Return the channel in a raw path, `/channels/{channel}/...`, where it is percent-encoded UTF-8.

    Raises:
        Refused: 400 it is encoded wrongly, or not a name that clients may use.
    """
    segment = raw_path.split("/")[2]
    try:
        if not _segment(segment):
            raise ValueError("the channel in the path must be percent-encoded")
        return check_open_to_all(unquote_to_bytes(segment).decode())
    except UnicodeDecodeError:
        raise Refused(400, "the channel in the path is not valid UTF-8") from None
    except ValueError as error:
        raise Refused(400, str(error)) from None


def _check_key(key: str | None) -> str | None:
    if key is not None and not (1 <= len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise Refused(422, f"an Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters")
    return key


async def publish_all(publisher: Publisher, channel: str, events: list[CloudEvent]) -> list[Accepted]:
    """Publish events and return what Redis has accepted them as.

    Raises:
        Refused: as `publish` does, for the first that is not accepted. The others may be; those that are sent again are
            published once.
    """
    results = await asyncio.gather(*(publish(publisher, channel, event) for event in events), return_exceptions=True)
    for place, result in enumerate(results, 1):
        if isinstance(result, Refused):
            raise Refused(result.status, f"event {place} of {len(events)}: {result}")
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if isinstance(result, Accepted)]


async def publish(publisher: Publisher, channel: str, event: CloudEvent, *, key: str | None = None) -> Accepted:
    """Publish an event and return its identity when Redis accepts it; `key` is the request's Idempotency-Key.

    Raises:
        Refused: 400 the channel's name or the data is not allowed, 403 CHANNELS_ALLOWED or Redis
            refuses the channel, 413 the event would be longer than MAX_EVENT, 422 the key was used for other data, 503
            the buffer is full, too many channels are open, or Redis has not accepted the event in time.
    """
    if publisher.full:
        raise Refused(503, "the buffer is full: Redis takes messages too slowly, or not at all")
    try:
        return await publisher.publish(channel, event, key=key, timeout=ANSWER_WITHIN)
    except EventTooLarge as error:
        raise Refused(413, str(error)) from None
    except (ChannelNotAllowed, ChannelRefused) as error:
        raise Refused(403, str(error)) from None
    except ValueError as error:
        raise Refused(400, str(error)) from None
    except TooManyChannels as error:
        raise Refused(503, str(error)) from None
    except KeyReused as error:
        raise Refused(422, str(error)) from None
    except NotAccepted as error:
        raise Refused(503, f"{error}; {SAME_KEY}") from None
    except FanoutError as error:
        raise Refused(503, f"nothing is published any more: {error}") from None
    except TimeoutError as error:
        raise Refused(503, str(error)) from None


def as_json(accepted: Accepted | list[Accepted]) -> Any:
    """What an answer says of what Redis has accepted."""
    if isinstance(accepted, list):
        return [as_json(one) for one in accepted]
    return {name: value for name, value in accepted._asdict().items() if value is not None}
