"""Saved records: one for each subscriber name and channel or pattern, each owned by one process."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from redis.exceptions import ResponseError

from fanout import keys
from fanout._redis.commands import Commands
from fanout._redis.connection import pack
from fanout._subscribe import record
from fanout._subscribe.record import Record
from fanout.errors import NameTaken

LONGEST_GENERATION = 16
"""How many digits a generation may have; no subscriber writes more. save.lua repeats this number."""
_SCRIPT = (Path(__file__).parent / "save.lua").read_bytes()


class Unreadable(Exception):
    """There is a record, but it cannot be used; the text says why."""


class PositionStore:
    """The records of one subscriber, which this process owns from its first save on."""

    def __init__(self, subscriber: str) -> None:
        self._subscriber = subscriber
        self._owner = secrets.token_hex(8)
        # The time, so that it is also above the generation of a lost record that a rollback may bring back.
        self._born = int(time.time() * 1000)
        self._generations: dict[str, int] = {}  # only those above `_born`, which are few

    async def load(self, redis: Commands, names: Sequence[str]) -> list[Record | Unreadable | None]:
        """Return the records of an earlier process of this name, in the order of the keys; None if there is none."""
        found = await asyncio.gather(*redis.send(*(pack(("GET", key)) for key in names)), return_exceptions=True)
        records: list[Record | Unreadable | None] = []
        for key, saved in zip(names, found, strict=True):
            if isinstance(saved, ResponseError) and str(saved).startswith("WRONGTYPE"):
                self.forget(key)
                records.append(Unreadable("the key has another type"))
            elif isinstance(saved, BaseException):
                raise saved
            else:
                records.append(self._read(key, saved))
        return records

    def _read(self, key: str, saved: bytes | None) -> Record | Unreadable | None:
        owner, _, rest = (saved or b"").partition(b" ")
        generation, _, text = rest.partition(b"\n")
        known = int(generation) if generation.isdigit() and len(generation) <= LONGEST_GENERATION else 0
        mine = owner.decode(errors="replace") == self._owner
        if (own := known if mine else known + 1) > self._born:
            self._generations[key] = own
        else:
            self.forget(key)
        if saved is None:
            return None
        try:
            return record.load(text)
        except ValueError as error:
            return Unreadable(str(error))

    async def save(self, redis: Commands, records: Mapping[str, Record]) -> None:
        """Save records by key; the keys must have been loaded before.

        Raises:
            NameTaken: another process has begun under this name since.
        """
        commands = [self._save(key, saved) for key, saved in records.items()]
        if any(await asyncio.gather(*redis.send(*commands))):
            raise NameTaken(
                f"another subscriber has the name {self._subscriber}; give each its own (INSTANCE), or stop one of them"
            )

    def _save(self, key: str, saved: Record) -> bytes:
        generation = self._generations.get(key, self._born)
        return pack(("EVAL", _SCRIPT, 1, key, self._owner, generation, record.dump(saved), keys.CHANNEL_TTL))

    def forget(self, key: str) -> None:
        """Forget the generation of a record."""
        self._generations.pop(key, None)
