"""A channel's place: what is held back there, and what is saved of it."""

from typing import Any

import pytest

from fanout._subscribe import cursor
from fanout._subscribe.cursor import ORIGIN, Cursor, HeldBack, Position
from fanout._subscribe.inbox import Inbox
from fanout._subscribe.record import Record
from fanout.message import Message, source_of
from fanout.settings import Timings

SOURCE = source_of("news", "0" * 16)


def test_all_channels_together_hold_back_no_more_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursor, "HELD_BYTES", 1000)
    held = HeldBack()
    channels = [Cursor(f"c{n}", Record(position=ORIGIN), 10, held) for n in range(40)]
    for one in channels:
        one.hold_back(Message(), 400)
    assert held.bytes == 1200
    assert [one.overflowed for one in channels] == [False] * 3 + [True] * 37
    channels[0].release()
    channels[0].release()
    channels[5].hold_back(Message(), 400)
    assert (held.bytes, channels[5].held_back) == (1200, 1)


def events(seqs: range) -> list[Message]:
    return [
        Message(channel="news", source=SOURCE, id=str(n), streamid=f"1-{n}", streamseq=str(n), streamprev=f"1-{n - 1}")
        for n in seqs
    ]


async def test_a_handler_that_changes_its_message_moves_no_position() -> None:
    inbox, cursor = Inbox(100), Cursor("news", Record(position=ORIGIN), 10)
    inbox.extend(events(range(1, 4)), 10)
    cursor.position = Position("1-3", 3)
    cursor.duplicates.note(SOURCE, 3)
    async for batch in inbox.batches():
        for message in batch:
            message.channel = message.source = message.id = "changed"
            message.streamid = message.streamseq = message.streamprev = None
        batch.clear()
        inbox.handled += 1
        break
    record = cursor.record(inbox.unhandled())
    assert record.position == ("1-1", 1)
    assert record.producers == {SOURCE: 1}


async def test_a_message_that_stands_in_no_history_lowers_no_producer() -> None:
    inbox, cursor = Inbox(100), Cursor("news", Record(position=ORIGIN), 10)
    inbox.extend([Message(channel="news", source=SOURCE, id="1"), *events(range(7, 8))], 10)
    cursor.position = Position("1-7", 7)
    cursor.duplicates.note(SOURCE, 7)
    record = cursor.record(inbox.unhandled())
    assert (record.position, record.producers) == (("1-6", 6), {SOURCE: 6})


def opened(position: Position = ORIGIN, limit: int = 10, **more: Any) -> Cursor:
    return Cursor("news", Record(position=position, **more), limit)


def test_a_new_channel_is_before_everything() -> None:
    assert opened().position == ORIGIN


def test_what_an_earlier_process_has_saved_is_taken_over() -> None:
    checkpoints = [(f"1-{n}", n) for n in range(1, 100)]
    cursor = opened(Position("1-99", 99), checkpoints=checkpoints, producers={SOURCE: 7}, replid="abc", fell_back=True)
    assert (cursor.position, cursor.kept, cursor.replid, cursor.fell_back) == (("1-99", 99), 99, "abc", True)
    assert list(cursor.checkpoints) == checkpoints[-60:]
    assert (cursor.duplicates.seen(SOURCE, "7"), cursor.duplicates.seen(SOURCE, "8")) == (True, False)
    assert cursor.loose.empty


def test_another_process_goes_on_from_the_record_as_this_one_would() -> None:
    cursor = opened(Position("1-5", 5), checkpoints=[("1-4", 4)], producers={SOURCE: 5}, replid="abc", fell_back=True)
    record = cursor.record([])
    assert (
        opened(
            **{name: getattr(record, name) for name in ("position", "checkpoints", "producers", "replid", "fell_back")}
        ).record([])
        == record
    )
    assert record.checkpoints == [("1-4", 4), ("1-5", 5)]


def test_saving_makes_the_position_a_checkpoint_once_and_keeps_the_last_sixty() -> None:
    cursor = opened()
    for n in range(1, 101):
        cursor.position = Position(f"1-{n}", n)
        cursor.record([])
        cursor.record([])
    assert list(cursor.checkpoints) == [(f"1-{n}", n) for n in range(41, 101)]


def test_a_channel_is_looked_at_ever_less_often_while_it_is_silent() -> None:
    timings = Timings(first_idle=3, longest_idle=20)
    cursor, now, looks = opened(), 0.0, []
    while now < 80:
        now += 1
        if cursor.silent(now, timings):
            cursor.looked(now, timings)
            looks.append(now)
    assert looks == [4, 11, 24, 45, 66]
    assert cursor.idle_wait == 20


def test_a_live_event_or_a_wish_makes_the_next_look_come_soon() -> None:
    timings = Timings(first_idle=3, longest_idle=20)
    cursor = opened()
    for now in (4.0, 11.0):
        cursor.looked(now, timings)
    assert not cursor.silent(15, timings)
    cursor.look_soon()
    assert cursor.silent(15, timings)
    cursor.looked(15, timings)
    cursor.looked(30, timings)
    cursor.heard = 31.0
    assert (cursor.silent(34, timings), cursor.silent(34.1, timings)) == (False, True)


@pytest.mark.parametrize("state", ["catching_up", "refused"])
def test_a_channel_that_is_being_read_or_may_not_be_is_not_looked_at(state: str) -> None:
    cursor = opened()
    assert cursor.silent(1000, Timings())
    setattr(cursor, state, True)
    assert not cursor.silent(1000, Timings())


def test_other_histories_are_remembered_until_ours_has_another_name() -> None:
    cursor = opened()
    cursor.named("ours")
    for n in range(20):
        cursor.add_foreign(str(n))
    assert cursor.foreign == tuple(str(n) for n in range(4, 20))
    cursor.named("ours")
    assert len(cursor.foreign) == 16
    cursor.named("another")
    assert (cursor.streamname, cursor.foreign) == ("another", ())


def test_what_is_held_back_comes_out_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursor, "HELD_BACK", 3)
    one, held = opened(), [Message(id=str(n)) for n in range(4)]
    for message in held:
        assert not one.overflowed
        one.hold_back(message, 10)
    assert (one.held_back, one.overflowed) == (3, True)
    assert [message for message, _ in one.release()] == held[:3]
    assert (one.held_back, list(one.release())) == (0, [])
    one.hold_back(held[3], 10)
    assert one.held_back == 1
