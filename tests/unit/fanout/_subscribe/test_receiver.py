"""What the live connection brings is sorted in runs; that may change nothing but the time it takes."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout._subscribe.cursor import ORIGIN, Cursor
from fanout._subscribe.inbox import Inbox
from fanout._subscribe.receiver import Receiver
from fanout._subscribe.record import Record
from fanout.message import Message, source_of

NAMES = ("news", "sport")
OURS, ANOTHER = "0123456789abcdef", "fedcba9876543210"
PRODUCERS = [source_of(name, f"{n:016x}") for name in NAMES for n in range(3)]


class Channels:
    """What a subscription gives to Receiver: the cursor of its channels, and a note of what was missing."""

    def __init__(self, space: int = 1000, *, history: bool = True) -> None:
        self.inbox = Inbox(space)
        self.cursors = {name: Cursor(name, Record(position=ORIGIN), 1000) for name in (*NAMES, "other")}
        for cursor in self.cursors.values():
            cursor.named(OURS)
            cursor.add_foreign(ANOTHER)
        self.missed: list[tuple[str, str]] = []
        self.delivered: list[tuple[str, Any, str, Any]] = []
        self.inbox.direct = self.deliver
        self.receiver = Receiver(("news", "other"), self.inbox, history=history, cursor_of=self.cursors.__getitem__)
        self.receiver.missing = self.missing

    def deliver(self, messages: list[Message]) -> None:
        self.delivered += [(m.channel, m.pattern, m.id, m.data) for m in messages]

    def missing(self, cursor: Cursor, cause: str, _message: Message | None) -> None:
        self.missed.append((cursor.channel, cause))
        cursor.catching_up = True

    def outcome(self) -> tuple[object, ...]:
        cursor = {name: (p.position, p.catching_up, len(p.release())) for name, p in self.cursors.items()}
        return self.delivered, self.missed, self.receiver.duplicates, self.receiver.gaps, self.receiver.dropped, cursor


def event(source: str, seq: int, at: int | None = None, before: int | None = None, **more: object) -> bytes:
    fields: dict[str, object] = {"specversion": "1.0", "type": "t", "source": source, "id": str(seq), "data": f"{seq}"}
    if at is not None:
        fields |= {"streamid": f"1-{at}", "streamseq": str(at), "streamprev": f"1-{before}" if before else "0-0"}
        fields["streamname"] = OURS
    return msgspec.json.encode(fields | more)


def message(name: str, wire: bytes) -> list[bytes]:
    return [b"message", name.encode(), wire]


def history(name: str, sources: list[str]) -> list[list[bytes]]:
    """The events of a history, as Pub/Sub brings them."""
    seqs = {source: itertools.count(1) for source in PRODUCERS}
    return [message(name, event(source, next(seqs[source]), at, at - 1)) for at, source in enumerate(sources, start=1)]


replies = st.one_of(
    st.lists(st.sampled_from(PRODUCERS[:3]), max_size=12).map(lambda sources: history("news", sources)),
    st.lists(st.sampled_from(PRODUCERS[3:]), max_size=12).map(
        lambda sources: [[b"pmessage", b"s*", *reply[1:]] for reply in history("sport", sources)]
    ),
    st.tuples(st.lists(st.sampled_from(PRODUCERS[:2]), max_size=12), st.lists(st.integers(1, 4), min_size=1)).map(
        lambda both: batched("news", *both)
    ),
    st.lists(st.integers(1, 6), max_size=5).map(
        lambda seqs: [message("other", event(source_of("other", "a" * 16), seq)) for seq in seqs]
    ),
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), max_size=12).map(  # a producer's events again, and gaps
        lambda events: [
            message("news", event(PRODUCERS[n], seq, at, at - 1)) for at, (n, seq) in enumerate(events, start=1)
        ]
    ),
    st.lists(st.integers(1, 6), min_size=1, max_size=5).map(
        lambda places: [message("news", event(PRODUCERS[0], at, at, at - 1, streamname=ANOTHER)) for at in places]
    ),
    st.sampled_from(
        [
            message("news", event(PRODUCERS[0], 1, 1, streamname=None)),
            message("news", event(PRODUCERS[0], 10**15)),
            message("news", event(PRODUCERS[0], 1, 1, id="１")),
            message("left", b"of late"),
            [b"pmessage", b"u*", b"unheard", b"of"],
            message("news", b"no event"),
            message("news", event(PRODUCERS[0], 1, data_base64="aGk=")),
            message("news", event("/elsewhere", 1, 2, 1)),
            [b"pmessage", b"n*", b"news", event(PRODUCERS[0], 1, 1)],
            [b"pmessage", b"*t", b"sport", event(PRODUCERS[3], 1, 1)],
            [b"pong", b""],
        ]
    ).map(lambda reply: [reply]),
)


@given(parts=st.lists(replies, max_size=8), cuts=st.lists(st.integers(0, 40), max_size=6), with_history=st.booleans())
def test_the_chunks_in_which_replies_come_change_nothing(
    parts: list[list[list[bytes]]], cuts: list[int], with_history: bool
) -> None:
    arrived = list(itertools.chain.from_iterable(parts))
    at_once, singly, chunked = (Channels(history=with_history) for _ in range(3))
    at_once.receiver.take(arrived, 0)
    for reply in arrived:
        singly.receiver.take([reply], 0)
    for start, end in itertools.pairwise([0, *sorted(cuts), len(arrived)]):
        chunked.receiver.take(arrived[start:end], 0)
    assert at_once.outcome() == singly.outcome() == chunked.outcome()


@given(
    parts=st.lists(replies, max_size=8),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    with_history=st.booleans(),
    space=st.sampled_from([1, 3, 8, 1000]),
)
def test_a_run_is_decided_as_its_replies_one_by_one(
    parts: list[list[list[bytes]]], cuts: list[int], with_history: bool, space: int
) -> None:
    arrived = list(itertools.chain.from_iterable(parts))
    fast, slow = (Channels(space, history=with_history) for _ in range(2))
    slow.receiver._take_run = lambda *_: False
    for start, end in itertools.pairwise([0, *sorted(cuts), len(arrived)]):
        fast.receiver.take(arrived[start:end], 0)
        slow.receiver.take(arrived[start:end], 0)
        assert fast.outcome() == slow.outcome()


def batched(name: str, sources: list[str], sizes: list[int]) -> list[list[bytes]]:
    """A history whose events travel in batches of these sizes, each of one producer, as far as its neighbours are."""
    seqs = {source: itertools.count(1) for source in PRODUCERS}
    found, at, before = [], 0, 0
    while at < len(sources):
        size, run = sizes[len(found) % len(sizes)], 1
        while run < size and at + run < len(sources) and sources[at + run] == sources[at]:
            run += 1
        alone = [event(sources[at], next(seqs[sources[at]])) for _ in range(run - 1)]
        at += run
        last = event(sources[at - 1], next(seqs[sources[at - 1]]), at, before)
        found.append(message(name, b"[%b]" % b",".join([*alone, last]) if alone else last))
        before = at
    return found


@given(
    sources=st.lists(st.sampled_from(PRODUCERS[:2]), max_size=40),
    cuts=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=2, max_size=2),
)
def test_however_events_are_cut_into_batches_the_same_messages_come_out(
    sources: list[str], cuts: list[list[int]]
) -> None:
    one, other = Channels(), Channels()
    one.receiver.take(batched("news", sources, cuts[0]), 0)
    other.receiver.take(batched("news", sources, cuts[1]), 0)
    assert one.delivered == other.delivered
    assert len(one.delivered) == len(sources)
    assert one.cursors["news"].position == other.cursors["news"].position
    assert (one.missed, one.receiver.duplicates) == ([], 0)


@given(had=st.integers(0, 6), size=st.integers(1, 6))
def test_of_a_batch_only_what_was_not_delivered_is_new(had: int, size: int) -> None:
    channels = Channels()
    channels.receiver.take(history("news", PRODUCERS[:1] * had), 0)
    again = [event(PRODUCERS[0], seq) for seq in range(1, size)] + [event(PRODUCERS[0], size, had + size, had)]
    channels.receiver.take([message("news", b"[%b]" % b",".join(again))], 0)
    assert [seq for _, _, seq, _ in channels.delivered] == [str(n) for n in range(1, max(had, size) + 1)]
    assert channels.receiver.duplicates == min(had, size)
    assert channels.cursors["news"].position == (f"1-{had + size}", had + size)


def test_a_batch_that_does_not_follow_is_missing_as_a_whole() -> None:
    channels = Channels()
    arrived = batched("news", PRODUCERS[:1] * 9, [3])
    channels.receiver.take([arrived[0], arrived[2]], 0)
    assert (len(channels.delivered), channels.missed) == (3, [("news", "gap")])
    [(held, _)] = channels.cursors["news"].release()
    assert [one.id for one in held] == ["7", "8", "9"]


def test_a_run_of_several_producers_is_delivered_in_its_order() -> None:
    channels = Channels()
    channels.receiver.take(history("news", PRODUCERS[:3] * 100), 0)
    assert [seq for _, _, seq, _ in channels.delivered] == [str(n) for n in range(1, 101) for _ in range(3)]
    assert (channels.receiver.duplicates, channels.missed) == (0, [])


@pytest.mark.parametrize("missing", [0, 1, 150, 298])
def test_what_does_not_follow_is_missing_from_there_on(missing: int) -> None:
    channels = Channels()
    arrived = history("news", PRODUCERS[:1] * 300)
    del arrived[missing]
    channels.receiver.take(arrived, 0)
    assert len(channels.delivered) == missing
    assert channels.missed == [("news", "gap")]
    assert len(channels.cursors["news"].release()) == len(arrived) - missing


def test_a_run_that_was_delivered_before_is_dropped() -> None:
    channels = Channels()
    channels.receiver.take(history("news", PRODUCERS[:1] * 300), 0)
    again = [message("news", event(PRODUCERS[0], seq, seq + 300, seq + 299)) for seq in range(1, 301)]
    channels.receiver.take(again, 0)
    assert (len(channels.delivered), channels.receiver.duplicates) == (300, 300)
    assert channels.cursors["news"].position == ("1-600", 600)


def test_a_run_without_history_that_repeats_an_event_delivers_it_once() -> None:
    channels = Channels(history=False)
    source = source_of("other", "a" * 16)
    channels.receiver.take([message("other", event(source, 1))], 0)
    channels.receiver.take([message("other", event(source, seq)) for seq in (2, 3, 3, 5)], 0)
    assert [seq for _, _, seq, _ in channels.delivered] == ["1", "2", "3", "5"]
    assert channels.receiver.duplicates == 1


def test_a_history_whose_name_is_not_known_yet_is_looked_up_before_its_first_event_counts() -> None:
    channels = Channels()
    channels.cursors["news"].named(None)
    channels.receiver.take(history("news", PRODUCERS[:1] * 2), 0)
    assert channels.missed == [("news", "new")]
    assert (channels.delivered, channels.receiver.gaps) == ([], 0)


@pytest.mark.parametrize("name", ["notifications", "__keyspace@0__:x"])
def test_a_pattern_leaves_out_reserved_channels_unless_it_names_them(name: str) -> None:
    channels = Channels()
    channels.receiver.take([[b"pmessage", b"*", name.encode(), b"x"], [b"pmessage", b"__*", name.encode(), b"y"]], 0)
    assert [data for *_, data in channels.delivered] == (["x"] if name == "notifications" else ["y"])


def test_a_bare_message_on_an_unknown_channel_makes_no_state() -> None:
    channels = Channels()
    channels.receiver.take([[b"pmessage", b"*", f"reply.{n}".encode(), b"x"] for n in range(100)], 0)
    assert len(channels.delivered) == 100
    assert not channels.receiver._known


def test_what_arrives_on_a_channel_that_was_left_is_dropped() -> None:
    channels = Channels()
    channels.receiver.listen(["sport"])
    channels.receiver.take(history("sport", PRODUCERS[3:4]), 0)
    channels.receiver.leave("sport")
    channels.receiver.take(history("sport", PRODUCERS[3:4] * 2)[1:], 0)
    assert [(channel, seq) for channel, _, seq, _ in channels.delivered] == [("sport", "1")]
    assert channels.missed == []
