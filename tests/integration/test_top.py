"""make top on the stack without containers, on a terminal and piped."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.local_stack import ROOT, Local
from support.terminal import Terminal
from support.waiting import eventually


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    # A project that has no containers, so that nothing is found where nothing runs.
    local = Local(tmp_path)
    local.env |= {"COMPOSE_PROJECT_NAME": f"fanout-test-top-{os.getpid()}"}
    yield local
    local.make("down")


@pytest.fixture
def terminal(local: Local) -> Iterator[Terminal]:
    terminal = Terminal("make", "--no-print-directory", "top", cwd=ROOT, env=local.env)
    yield terminal
    terminal.close()


def redis(local: Local, number: int) -> None:
    os.kill(json.loads((local.folder / "state.json").read_text())["processes"]["redis-1"], number)


def test_it_waits_for_the_stack_and_shows_replicas_come_and_go_and_redis_too(local: Local, terminal: Terminal) -> None:
    terminal.shows(r"^The stack cannot be reached \(\d+ s\): .+\n\n.*make up starts it")
    local.make("up", SUBSCRIBERS="2", DETACH="1")
    local.make("send", DATA="hello")
    live = r" +live +1 +\d+\.\d +0 +\d.* 0 +0 +0 +0 +\d+ s *$"
    shown = terminal.shows(rf"^subscriber-1{live}\nsubscriber-2{live}")
    assert re.search(r"^Redis connected  published \d.*  1 publisher, 2 subscribers", shown, re.MULTILINE)
    assert re.search(r"^notifications at 1 *$", shown, re.MULTILINE)
    assert re.search(r"^publisher-1 +live ", shown, re.MULTILINE)
    local.make("scale", SUBSCRIBERS="1")
    assert "subscriber-1" in terminal.shows(r"1 publisher, 1 subscriber *$")
    eventually(lambda: "subscriber-2" not in terminal.screen)

    redis(local, signal.SIGSTOP)
    terminal.shows(r"^Redis is away \(\d+ s\): no answer within 2 s")
    shown = terminal.shows(r"^subscriber-1 +\w+ \d+ s ago +1 ")
    assert "\x1b[2m" in terminal.output  # dimmed
    redis(local, signal.SIGCONT)
    terminal.shows(r"^Redis connected(.*\n)+subscriber-1 +live +1 ")
    terminal.type("q")
    assert terminal.ended() == 0


def test_ctrl_c_ends_it(terminal: Terminal) -> None:
    terminal.shows("q ends this view")
    terminal.type("\x03")
    terminal.ended()
    assert "Traceback" not in terminal.output


def test_piped_it_prints_one_table_or_says_why_not(local: Local) -> None:
    said = local.make("top", code=2)
    assert [line for line in said.splitlines() if line.startswith("top: ")][0].startswith(
        "top: the stack cannot be reached: "
    )
    assert "state" not in said
    local.make("up", SUBSCRIBERS="1", DETACH="1")
    local.make("send", DATA="hello")
    printed = eventually(lambda: "notifications at 1" in (text := local.make("top")) and text)
    first, channels, empty, heads, *rows = printed.splitlines()
    assert (channels, empty, heads.split()[:3]) == ("notifications at 1", "", ["name", "state", "messages"])
    assert first.startswith("Redis connected  published ")
    assert first.endswith("  1 publisher, 1 subscriber")
    assert [row.split()[:2] for row in rows] == [["publisher-1", "live"], ["subscriber-1", "live"]]
    assert "\x1b" not in printed
