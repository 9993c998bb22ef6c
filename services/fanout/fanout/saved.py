"""Saved records: one a channel, or pattern, and subscriber name, with one owner."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from fanout import keys, position
from fanout.commands import Commands
from fanout.connection import pack
from fanout.errors import NameTaken
from fanout.position import Record

_SCRIPT = (Path(__file__).parent / "save.lua").read_bytes()


class Saved:
    """The records of one subscriber, which this process owns from its first save on."""

    def __init__(self, subscriber: str) -> None:
        self._subscriber = subscriber
        self._owner = secrets.token_hex(8)
        # Also above the generation of a record that is gone now, and that a rollback may bring back.
        self._born = int(time.time() * 1000)
        self._generations: dict[str, int] = {}

    async def load(self, redis: Commands, key: str) -> Record | None:
        """The record of an earlier process of this name, or none. What cannot be read counts as none."""
        saved = await redis.call("GET", key)
        owner, _, rest = (saved or b"").partition(b" ")
        generation, _, record = rest.partition(b"\n")
        if owner.decode(errors="replace") != self._owner:
            earlier = int(generation) if generation.isdigit() else 0
            self._generations[key] = max(earlier + 1, self._born)
        try:
            return position.load(record)
        except ValueError:
            return None

    async def save(self, redis: Commands, records: Mapping[str, Record]) -> None:
        """Saves records by key.

        Raises:
            NameTaken: another process has begun under this name since.
        """
        commands = [
            pack(
                (
                    *("EVAL", _SCRIPT, 1, key),
                    *(self._owner, self._generations.get(key, self._born), position.dump(record), keys.CHANNEL_TTL),
                )
            )
            for key, record in records.items()
        ]
        if any(await asyncio.gather(*redis.send(*commands))):
            raise NameTaken(
                f"another subscriber has the name {self._subscriber}; give each its own (INSTANCE), or stop one of them"
            )
