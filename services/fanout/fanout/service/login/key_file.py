"""Keys from a file, which is read again when it has changed."""

import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from fanout.errors import SettingError
from fanout.service.login.keys import Key, UnusableKey, read_keys

LOOK_EVERY = 1.0
LARGEST = 256 * 1024
ALLOWED = "a file with a public key in PEM, a JWKS, or a secret of at least 32 bytes; make keys creates one"


class FileKeys:
    """The keys in a file. While what was written into it cannot be used, those from before go on being used."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            SettingError: it cannot be read, or holds no key that can be used.
        """
        self._path, self._looked_at = path, time.monotonic()
        try:
            self._seen = self._stamp()
            self._keys = self._read()
        except OSError as error:
            raise SettingError("AUTH_KEYS_FILE", str(path), f"{ALLOWED} ({error.strerror})") from None
        except UnusableKey as error:
            raise SettingError("AUTH_KEYS_FILE", str(path), f"{ALLOWED}: it {error}") from None

    def at_hand(self) -> Sequence[Key]:
        """Return the keys; at most once a second the file is looked at."""
        return self._look() if time.monotonic() - self._looked_at > LOOK_EVERY else self._keys

    async def current(self) -> Sequence[Key]:
        """Return the same."""
        return self.at_hand()

    async def renewed(self) -> Sequence[Key]:
        """Return the keys: `current` has just looked."""
        return self._keys

    def _look(self) -> Sequence[Key]:
        self._looked_at = time.monotonic()
        try:
            if (stamp := self._stamp()) != self._seen:
                self._seen = stamp
                self._keys = self._read()
                structlog.get_logger().info("auth_keys_read", keys=len(self._keys))
        except (OSError, UnusableKey) as error:
            if self._seen is not None or isinstance(error, UnusableKey):  # said once, until it is there again
                cause = f"AUTH_KEYS_FILE {error}" if isinstance(error, UnusableKey) else str(error.strerror)
                structlog.get_logger().warning("auth_keys_failed", cause=cause)
            if isinstance(error, OSError):
                self._seen = None
        return self._keys

    def _stamp(self) -> tuple[int, int, int] | None:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> Sequence[Key]:
        with self._path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise UnusableKey(f"has more than {LARGEST} bytes")
        return read_keys(raw)
