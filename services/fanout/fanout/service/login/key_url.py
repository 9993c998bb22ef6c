"""Keys from a JWKS URL: cached, and fetched anew from time to time, or when a token names one that is not there."""

import asyncio
import http.client
import socket
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from urllib.parse import urlsplit

import structlog

from fanout.service.http_body import Refused
from fanout.service.login.keys import Key, UnusableKey, read_keys
from fanout.service.worker import Worker

FRESH = 300.0
"""Seconds after which the keys are fetched anew, while those that are there go on being used."""
LEAST_BETWEEN = 10.0
"""Seconds between two attempts, however many tokens name keys that are not known."""
WITHIN = 5.0
LARGEST = 256 * 1024


class UrlKeys:
    """The keys at a URL. While it cannot be reached, those that it gave last go on being used."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: Sequence[Key] = ()
        self._raw = b""
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._failed = ""

    def at_hand(self) -> Sequence[Key]:
        """Return the keys that were fetched last; when that was long ago, fetch them beside."""
        if time.monotonic() - self._fetched_at > FRESH:
            self._begin()
        return self._keys

    async def current(self) -> Sequence[Key]:
        """Return the keys, waiting for the first ones.

        Raises:
            Refused: 503 there are none yet.
        """
        if not self.at_hand():
            await self._fetch()
        if not self._keys:
            raise Refused(503, "the keys for checking tokens cannot be fetched at present")
        return self._keys

    async def renewed(self) -> Sequence[Key]:
        """Return the keys, fetched anew unless they just were."""
        await self._fetch()
        return self._keys

    async def _fetch(self) -> None:
        self._begin()
        if self._fetching:
            await asyncio.shield(self._fetching)

    def _begin(self) -> None:
        """Begin to fetch, unless that is under way, or was tried just now."""
        if self._fetching is None and time.monotonic() - self._tried_at >= LEAST_BETWEEN:
            self._tried_at = time.monotonic()
            self._fetching = asyncio.create_task(self._take())

    async def _take(self) -> None:
        worker, fetch = Worker("keys"), Fetch(self._url)
        try:
            async with asyncio.timeout(WITHIN):
                raw = await worker.call(fetch.get)
            keys = read_keys(raw, secrets=False)
        except Exception as error:  # whatever it is, the keys that are there go on being used
            cause = str(error) or type(error).__name__
            if cause != self._failed:
                structlog.get_logger().warning("auth_keys_failed", cause=f"AUTH_JWKS_URL: {cause}")
            self._failed = cause
        else:
            if raw != self._raw or self._failed:
                structlog.get_logger().info("auth_keys_read", keys=len(keys))
            self._keys, self._raw, self._fetched_at, self._failed = keys, raw, time.monotonic(), ""
        finally:
            self._fetching = None
            fetch.end()
            worker.stop()


class Fetch:
    """One attempt to get a small document, in a thread that `end` ends from outside. No redirect is followed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=WITHIN)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._socket: socket.socket | None = None

    def get(self) -> bytes:
        """Get it.

        Raises:
            OSError, HTTPException: it cannot be had.
            UnusableKey: the answer is another one than the document, or it is too large.
        """
        with closing(self._connection):
            self._connection.connect()
            self._socket = self._connection.sock
            self._connection.request("GET", self._path, headers={"Accept": "application/json", "Connection": "close"})
            with self._connection.getresponse() as answer:
                if answer.status != 200:
                    raise UnusableKey(f"it answers {answer.status}")
                body = answer.read(LARGEST + 1)
        if len(body) > LARGEST:
            raise UnusableKey(f"it has more than {LARGEST} bytes")
        return body

    def end(self) -> None:
        """End it, so that a server that sends a byte now and then holds no thread."""
        if self._socket:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
