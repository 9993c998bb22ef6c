"""What the live connection brings is sorted in runs; that may change nothing but the time it takes."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.inbox import Inbox
from fanout.live import Live
from fanout.message import Message, source_of
from fanout.position import ORIGIN, Progress, Record

NAMES = ("news", "sport")
PRODUCERS = [source_of(name, f"{n:016x}") for name in NAMES for n in range(3)]


class Channels:
    """What a subscription gives to Live: the progress of its channels, and a note of what was missing."""

    def __init__(self, space: int = 1000, *, history: bool = True) -> None:
        self.inbox = Inbox(space)
        self.progress = {name: Progress(name, Record(position=ORIGIN), 1000) for name in (*NAMES, "other")}
        self.missed: list[tuple[str, str]] = []
        self.delivered: list[tuple[str, Any, str, Any]] = []
        self.inbox.direct = self.deliver
        self.live = Live(
            ("news",), self.inbox, history=history, progress_of=self.progress.__getitem__, missing=self.missing
        )

    def deliver(self, messages: list[Message]) -> None:
        self.delivered += [(m.channel, m.pattern, m.id, m.data) for m in messages]

    def missing(self, progress: Progress, cause: str, _message: Message | None) -> None:
        self.missed.append((progress.channel, cause))
        progress.catching_up = True

    def outcome(self) -> tuple[object, ...]:
        progress = {name: (p.position, p.catching_up, len(p.release())) for name, p in self.progress.items()}
        return self.delivered, self.missed, self.live.duplicates, self.live.gaps, self.live.dropped, progress


def event(source: str, seq: int, at: int | None = None, before: int | None = None, **more: object) -> bytes:
    fields: dict[str, object] = {"specversion": "1.0", "type": "t", "source": source, "id": str(seq), "data": f"{seq}"}
    if at is not None:
        fields |= {"streamid": f"1-{at}", "streamseq": str(at), "streamprev": f"1-{before}" if before else "0-0"}
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
    st.lists(st.integers(1, 6), max_size=5).map(
        lambda seqs: [message("other", event(source_of("other", "a" * 16), seq)) for seq in seqs]
    ),
    st.sampled_from(
        [
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
    at_once.live.take(arrived, 0)
    for reply in arrived:
        singly.live.take([reply], 0)
    for start, end in itertools.pairwise([0, *sorted(cuts), len(arrived)]):
        chunked.live.take(arrived[start:end], 0)
    assert at_once.outcome() == singly.outcome() == chunked.outcome()


def test_a_run_of_several_producers_is_delivered_in_its_order() -> None:
    channels = Channels()
    channels.live.take(history("news", PRODUCERS[:3] * 100), 0)
    assert [seq for _, _, seq, _ in channels.delivered] == [str(n) for n in range(1, 101) for _ in range(3)]
    assert (channels.live.duplicates, channels.missed) == (0, [])


@pytest.mark.parametrize("missing", [0, 1, 150, 298])
def test_what_does_not_follow_is_missing_from_there_on(missing: int) -> None:
    channels = Channels()
    arrived = history("news", PRODUCERS[:1] * 300)
    del arrived[missing]
    channels.live.take(arrived, 0)
    assert len(channels.delivered) == missing
    assert channels.missed == [("news", "gap")]
    assert len(channels.progress["news"].release()) == len(arrived) - missing


def test_a_run_that_was_delivered_before_is_dropped() -> None:
    channels = Channels()
    channels.live.take(history("news", PRODUCERS[:1] * 300), 0)
    again = [message("news", event(PRODUCERS[0], seq, seq + 300, seq + 299)) for seq in range(1, 301)]
    channels.live.take(again, 0)
    assert (len(channels.delivered), channels.live.duplicates) == (300, 300)
    assert channels.progress["news"].position == ("1-600", 600)


def test_a_run_without_history_that_repeats_an_event_delivers_it_once() -> None:
    channels = Channels()
    source = source_of("other", "a" * 16)
    channels.live.take([message("other", event(source, 1))], 0)
    channels.live.take([message("other", event(source, seq)) for seq in (2, 3, 3, 5)], 0)
    assert [seq for _, _, seq, _ in channels.delivered] == ["1", "2", "3", "5"]
    assert channels.live.duplicates == 1
