"""What top shows of a view."""

import re
import time

import pytest
from rich.console import Console

from fanout.cli.roster import Line
from fanout.service import roster
from top.view import Board, screen

EVIL = "\x1b[2J\x9b31m\u202e\u200b\U000e0041"


def replica(instance: str, **fields: object) -> roster.Replica:
    return roster.Replica(service="subscriber", instance=instance, state="live", since=1.0, **fields)  # type: ignore[arg-type]


def shown(*replicas: roster.Replica, width: int = 200, colour: bool = False, **view: object) -> str:
    board = Board()
    board.take(Line(time.time(), roster.View(list(replicas), {}, **view)))  # type: ignore[arg-type]
    console = Console(width=width, force_terminal=colour, color_system="standard" if colour else None)
    with console.capture() as capture:
        console.print(screen(board, width, 50))
    return capture.get()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_a_failing_handler_has_a_column_and_stands_out(width: int) -> None:
    text = shown(replica("s-1", received=1500, failed=1234), replica("s-2"), width=width)
    head, first, second = (line for line in text.splitlines() if re.match("name|subscriber", line))
    end = head.index("failed") + len("failed")
    assert (first[:end].split()[-1], second[:end].split()[-1]) == ("1,234", "0")
    assert "\x1b[1;31m" in shown(replica("s-1", failed=1), colour=True)
    assert "\x1b[1;31m" not in shown(replica("s-1"), colour=True)


def test_names_of_others_move_no_cursor() -> None:
    evil = replica(f"s{EVIL}", channels={f"c{EVIL}": 1})
    board = Board()
    board.take(Line(time.time(), roster.View([evil], {f"c{EVIL}": 1}, 3)))
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(screen(board, 200, 50))
    text = capture.get()
    assert not [c for c in text if c != "\n" and not c.isprintable()]
    assert r"\x1b[2J\x9b31m\u202e" in text
    assert "3 records of the roster that are not Fanout's" in text
