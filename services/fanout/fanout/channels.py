"""The channels of a subscription: where each begins, how far it is, and that this is saved."""

import time

from fanout import keys
from fanout.commands import Commands
from fanout.history import History
from fanout.inbox import Inbox
from fanout.message import Message
from fanout.position import ORIGIN, Position, Progress, Record
from fanout.saved import Saved
from fanout.settings import SubscriptionSettings
from fanout.start import start

RENEW_EVERY = 60.0


class Channels:
    """The progress of every channel, by name; those of patterns are found as they come."""

    def __init__(self, instance: str, what: SubscriptionSettings, inbox: Inbox) -> None:
        self._instance, self._what, self._inbox = instance, what, inbox
        self._begun: set[str] = set()
        self._saved = Saved(instance)
        self._patterns_saved = -RENEW_EVERY
        self.connected = False
        self.progress: dict[str, Progress] = {}

    async def prepare(self, redis: Commands) -> None:
        """Loads where this name was, or starts where START_FROM says, and saves that before anything is heard.

        Raises:
            NameTaken: another process has begun under this name.
        """
        history, limit = History(redis), self._what.producers
        channels = list(self._what.channels)
        for pattern in self._what.patterns:
            if pattern not in self._begun and not await self._load(redis, keys.pattern(pattern, self._instance)):
                channels += await history.channels(pattern)
        for channel in channels:
            if channel not in self.progress:
                record = await self._load(redis, keys.position(channel, self._instance))
                self.progress[channel] = (
                    Progress(channel, record, limit)
                    if record
                    else await start(channel, self._what.start_from, history, limit)
                )
        self._begun.update(self._what.patterns)
        self._patterns_saved = -RENEW_EVERY
        await self.save(redis)

    async def find(self, redis: Commands) -> None:
        """Takes up channels that match a pattern and came to be since this name last looked: from their beginning."""
        for pattern in self._what.patterns:
            for channel in await History(redis).channels(pattern):
                if channel not in self.progress:
                    self._begin(channel, await self._load(redis, keys.position(channel, self._instance)))

    def progress_of(self, channel: str) -> Progress:
        """The progress of a channel; of one that was never heard of before, from its beginning."""
        return self.progress.get(channel) or self._begin(channel, None)

    async def save(self, redis: Commands) -> None:
        """Saves every position that has changed, as of the last handler that returned, and that patterns have begun.

        Raises:
            NameTaken: another process has begun under this name since.
        """
        if not (self._what.history and self._what.save):
            return
        changed = {name: progress for name, progress in self.progress.items() if progress.position != progress.saved}
        if changed:
            unhandled: dict[str, list[Message]] = {}
            for message in self._inbox.unhandled():
                unhandled.setdefault(message.channel, []).append(message)
            records = {name: progress.record(unhandled.get(name, ())) for name, progress in changed.items()}
            await self._saved.save(redis, {keys.position(name, self._instance): at for name, at in records.items()})
            for name, record in records.items():  # not before: what failed is tried again
                self.progress[name].saved = Position(*record.position)
        now = time.monotonic()
        if self._what.patterns and now - self._patterns_saved >= RENEW_EVERY:
            begun = (keys.pattern(pattern, self._instance) for pattern in self._what.patterns)
            await self._saved.save(redis, {key: Record(position=ORIGIN) for key in begun})
            self._patterns_saved = now

    async def _load(self, redis: Commands, key: str) -> Record | None:
        return await self._saved.load(redis, key) if self._what.save else None

    def _begin(self, channel: str, record: Record | None) -> Progress:
        progress = Progress(channel, record or Record(position=ORIGIN), self._what.producers)
        progress.catching_up = not self.connected  # who is not connected yet catches up first
        self.progress[channel] = progress
        return progress
