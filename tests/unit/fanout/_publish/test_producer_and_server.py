"""A producer against a server that forgets, loses replies and gets requests late: nothing is lost, doubled or turned."""

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from fanout._publish.batch import Batch, Pending
from fanout._publish.producer import Producer
from fanout._publish.replay_ring import RING_AGE, ReplayRing

OPERATIONS = (
    "publish",
    "send",
    "answer",
    "reply lost",
    "cut",
    "late",
    "roll back",
    "ring forgets",
    "withdraw",
    "ask",
    "full",
)


class Server:
    """What the publish script does with a batch, and a server that goes back to an earlier state."""

    def __init__(self) -> None:
        self.held = 0
        self.history: list[int] = []
        self.states = [(0, 0)]

    def take(self, batch: Batch) -> bool:
        if self.held < batch.joins:
            return False
        last = batch.first_seq + len(batch.events) - 1  # it counts by itself: a batch has no gaps
        self.history += range(max(self.held + 1, batch.first_seq), last + 1)
        self.held = max(self.held, last)
        self.states.append((self.held, len(self.history)))
        return True

    def roll_back(self, by: int) -> None:
        del self.states[max(1, len(self.states) - by) :]
        self.held, count = self.states[-1]
        del self.history[count:]


class Run:
    """One producer and its server; the methods are what may happen."""

    def __init__(self) -> None:
        self.server, self.now = Server(), 0.0
        self.ring = ReplayRing(10**9)
        self.producer = Producer("news", "p", "/news/p", self.ring)
        self.under_way: deque[Batch] = deque()
        self.late: list[Batch] = []
        self.withdrawn: set[int] = set()
        self.taken = self.gone = 0

    def publish(self, count: int) -> None:
        for _ in range(count):
            self.producer.made += 1
            self.producer.queue().append(Pending(self.producer.made, b"x", None, None))

    def send(self, most: int) -> None:
        if self.producer.waiting:
            batch = self.producer.take(most, 10**6)
            self.taken = max(self.taken, batch.last_seq)
            self.under_way.append(batch)

    def answer(self) -> None:
        """The oldest batch reaches the server, and its reply comes."""
        if not self.under_way:
            return
        if self.server.take(self.under_way[0]):
            batch = self.under_way.popleft()
            self.producer.accept(batch)
            self._keep(batch)
        else:  # what is behind it cannot join on either
            assert not [batch for batch in self.under_way if self.server.take(batch)]
            self.ask()

    def lose_reply(self) -> None:
        """The oldest batch reaches the server, and the connection breaks before its reply comes."""
        if self.under_way:
            self.server.take(self.under_way[0])
            self.ask()

    def refuse(self) -> None:
        """The server is full for the oldest batch, but not for those behind it."""
        for batch in list(self.under_way)[1:]:
            self.server.take(batch)
        self.ask()

    def ask(self) -> None:
        """A new connection, or an answer that says what is held."""
        while self.under_way:
            self.producer.give_back(self.under_way.pop())
        held = self.server.held
        confirmed, again, repeats, gone = self.producer.rewind(held)
        self.gone += gone
        assert all(event.seq <= held for event in confirmed)
        assert all(event.seq > held for event in again)
        assert not repeats
        if confirmed:
            self._keep(Batch(self.producer, confirmed))

    def break_off(self) -> None:
        """The connection breaks; what is under way may yet reach the server."""
        self.late = [Batch(self.producer, list(batch.events), batch.joins) for batch in self.under_way]
        self.ask()

    def come_late(self) -> None:
        for batch in self.late:
            self.server.take(batch)
        self.late = []

    def roll_back(self, by: int) -> None:
        self.late = []  # a server that restarts has no old connections
        self.server.roll_back(by)

    def forget(self) -> None:
        self.now += RING_AGE + 1
        self.ring.forget(self.now)

    def withdraw(self) -> None:
        """The newest event is taken out, if it was never sent."""
        newest = self.producer.waiting[-1] if self.producer.waiting else None
        if newest and newest.seq > self.taken:
            self.producer.queue().pop()
            self.producer.skip([newest])
            self.withdrawn.add(newest.seq)

    def rest(self) -> None:
        """Everything goes out, and the server is asked a last time."""
        self.come_late()
        self.ask()
        while self.producer.waiting or self.under_way:
            self.send(3)
            self.answer()
        self.ask()

    def _keep(self, batch: Batch) -> None:
        self.ring.keep(batch, self.now)

    def do(self, operation: str, number: int) -> None:
        match operation:
            case "publish":
                self.publish(number)
            case "send":
                self.send(number)
            case "answer":
                self.answer()
            case "reply lost":
                self.lose_reply()
            case "cut":
                self.break_off()
            case "late":
                self.come_late()
            case "roll back":
                self.roll_back(number)
            case "ring forgets":
                self.forget()
            case "withdraw":
                self.withdraw()
            case "full":
                self.refuse()
            case "ask":
                self.ask()


operations = st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(1, 5)), min_size=20, max_size=60)


def run(done: list[tuple[str, int]], *, without: str = "") -> Run:
    one = Run()
    for operation, number in done:
        if operation != without:
            one.do(operation, number)
    one.rest()
    return one


@settings(max_examples=400)
@given(operations)
def test_whatever_happens_each_event_is_in_the_history_once_and_in_order_or_counted_as_gone(
    done: list[tuple[str, int]],
) -> None:
    one = run(done)
    history = one.server.history
    assert history == sorted(set(history))
    missing = set(range(1, one.producer.made + 1)) - set(history) - one.withdrawn
    assert one.gone == len(missing)


@settings(max_examples=200)
@given(operations)
def test_as_long_as_the_ring_reaches_back_nothing_is_gone(done: list[tuple[str, int]]) -> None:
    one = run(done, without="ring forgets")
    assert one.gone == 0
    assert one.server.history == [seq for seq in range(1, one.producer.made + 1) if seq not in one.withdrawn]
    assert one.ring.events == len(one.server.history)
