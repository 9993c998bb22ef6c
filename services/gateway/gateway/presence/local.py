"""The members that have connections at this gateway, and which channels have changed since they were last shared."""

from collections.abc import Iterator


class LocalMembers:
    """How many connections each member has here, by channel."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = {}
        self._changed: dict[str, set[str]] = {}

    def __contains__(self, channel: str) -> bool:
        return channel in self._counts

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._counts))

    @property
    def changed(self) -> bool:
        """Whether anything is to be shared."""
        return bool(self._changed)

    def add(self, channel: str, member: str, connections: int) -> None:
        """Add connections of a member, or with a negative number take some away."""
        members = self._counts.setdefault(channel, {})
        members[member] = members.get(member, 0) + connections
        if members[member] <= 0:
            del members[member]
        if not members:
            del self._counts[channel]
        self._changed.setdefault(channel, set()).add(member)

    def counts(self, channel: str) -> dict[str, int]:
        """Return how many connections each member of a channel has here."""
        return dict(self._counts.get(channel, {}))

    def take_changed(self, most: int) -> dict[str, dict[str, int]]:
        """Return of at most `most` channels the counts that have changed, which then count as shared."""
        taken = [(channel, self._changed.pop(channel)) for channel in list(self._changed)[:most]]
        return {
            channel: {member: self._counts.get(channel, {}).get(member, 0) for member in members}
            for channel, members in taken
        }

    def give_back(self, channel: str, members: set[str]) -> None:
        """Note that changes could not be shared."""
        self._changed.setdefault(channel, set()).update(members)
