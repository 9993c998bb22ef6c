"""A channel's hub: any number of clients, which all get the same bytes in the same order."""

from collections.abc import Callable, Sequence

from fanout import Message, Subscription
from fanout._subscribe.catch_up import Outcome
from fanout._subscribe.cursor import Position
from fanout.errors import FanoutError
from gateway import frames
from gateway.client import PIECE, Client
from gateway.frames import Form, Frame
from gateway.ring import NO_FRAMES, Ring
from gateway.rollback import Rollback
from gateway.since import EventId


class Shared:
    """What all hubs share.

    Attributes:
        subscription: the subscription to all channels.
        history: whether channels have a history.
        largest_message: the bytes of the largest message.
        rings: the hubs that have a ring.
        ring_bytes: returns how many bytes a ring may have at present.
        kept: called with a hub and how many bytes are kept for its slowest client.
        opened: called with a hub whose rollback has opened.
    """

    def __init__(self, subscription: Subscription, largest_message: int, *, history: bool) -> None:
        self.subscription, self.largest_message, self.history = subscription, largest_message, history
        self.rings: set[Hub] = set()
        self.ring_bytes: Callable[[], int] = lambda: 0
        self.kept: Callable[[Hub, int], None] = lambda *_: None
        self.opened: Callable[[Hub], None] = lambda _: None


class Hub:
    """Gives what arrives on a channel to its clients, and keeps the last of it in a ring.

    There may be 100,000 hubs, most of them idle; what an idle one does not need is created only when needed.

    Attributes:
        channel: the channel's name.
        shared: what all hubs share.
        clients: the clients that are given what arrives; each with what is called when the hub ends.
        users: how many use the hub: clients, and those who are about to be.
        ring: the frames that clients were given last.
        rollback: the last outage; None if no client was ever given anything.
        begun: whether nothing published from now on is missed.
        behind: how many bytes are kept for clients that read too slowly.
        error: why the hub has ended; None while it has not.
    """

    __slots__ = ("begun", "behind", "channel", "clients", "error", "ring", "rollback", "shared", "users")

    def __init__(self, channel: str, shared: Shared) -> None:
        self.channel, self.shared = channel, shared
        self.clients: dict[Client, Callable[[str, FanoutError], None]] = {}
        self.users = self.behind = 0
        self.ring: Ring = NO_FRAMES
        self.rollback: Rollback | None = None
        self.begun = False
        self.error: FanoutError | None = None

    async def ready(self) -> None:
        """Wait until nothing published from now on is missed; then `begun` is set, and stays so while Redis is away.

        Raises:
            FanoutError: the hub has ended.
        """
        if self.error:
            raise self.error
        if not self.begun:
            await self.shared.subscription.subscribe(self.channel)
            self.begun = True

    async def live(self) -> None:
        """Wait until Redis is there and the channel is live.

        Raises:
            FanoutError: the hub has ended.
        """
        if self.error:
            raise self.error
        await self.shared.subscription.live_on(self.channel)

    def end(self, error: FanoutError) -> None:
        """Tell everyone who uses the hub that it has ended, and why."""
        self.error = error
        clients, self.clients = self.clients, {}
        for on_end in clients.values():
            on_end(self.channel, error)

    def known(self, at: EventId) -> int | None:
        """Return the place in the ring where a client with that ID continues; None if this is unknown or unsure."""
        self._notice()
        place, rollback = self.ring.after(at.position), self.rollback
        return None if rollback and place and at.mark != rollback.mark and rollback.unsure(place) else place

    @property
    def position(self) -> Position | None:
        """The position up to which clients have been given everything; None if there is no history."""
        return self.shared.subscription.position(self.channel) if self.shared.history else None

    @property
    def event_id(self) -> EventId | None:
        """The ID with which a client that comes now will come back if it is given nothing; None without history."""
        self._notice()
        position = self.position
        return EventId(position, self.mark) if position else None

    @property
    def mark(self) -> str:
        """The mark that IDs carry at present: the ring's name during a rollback, otherwise empty."""
        return self.rollback.mark if self.rollback and self.rollback.open else ""

    @property
    def ring_name(self) -> str:
        """The name of the ring, which IDs within it carry."""
        return self.rollback.mark if self.rollback else ""

    async def missing(self) -> list[tuple[int, Frame]] | None:
        """Find the frames that clients were sent and a rollback took; see `Rollback.missing`."""
        return await self.rollback.missing() if self.rollback else []

    def reached(self, at: Position) -> int | None:
        """Return the place in the ring where a client continues that has all of the history up to that position.

        Returns:
            The place; None as long as the subscription has not come so far.
        """
        place = self.ring.after(at)
        return self.ring.end if place is None and self.position == at else place

    def take(self, batch: Sequence[Message]) -> None:
        """Give messages to all clients."""
        self._notice()
        made, mark = map(frames.of_message, batch), self.mark
        for piece in frames.pieces((frame.marked(mark) for frame in made) if mark else made, PIECE):
            self._give(piece)

    def lost(self, outcome: Outcome) -> None:
        """Tell all clients that messages are gone."""
        self._give([frames.gone(self.channel, outcome.lost, exact=outcome.exact)])

    def _notice(self) -> None:
        if self.rollback:
            if self.rollback.notice():
                self.shared.opened(self)
            self.rollback.settle(self.position)

    def _give(self, batch: Sequence[Frame]) -> None:
        if self.rollback is None:
            self.shared.rings.add(self)
            self.ring = Ring()
            self.rollback = Rollback(self.channel, self.shared.subscription, self.ring)
        self.ring.extend(batch, self.shared.ring_bytes())
        self.rollback.given(batch)
        encoded: dict[Form, bytes] = {}
        behind = 0
        for client in self.clients:
            form = client.form
            data = encoded.get(form)
            if data is None:
                data = encoded[form] = form(batch)
            queued = client.write(data)
            behind = max(behind, queued)
        if behind or self.behind:
            self.shared.kept(self, behind * len(encoded))
