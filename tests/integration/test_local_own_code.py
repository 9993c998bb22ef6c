"""The examples of own code on the stack without containers, and the folder that they have there."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.local_stack import Local
from support.waiting import eventually


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    local = Local(tmp_path)
    yield local
    local.make("down")


def kept(file: Path) -> list[str]:
    database = sqlite3.connect(file)
    try:
        return [row[0] for row in database.execute("SELECT data FROM messages")]
    finally:
        database.close()


def test_what_a_handler_keeps_stays_when_the_stack_goes(local: Local) -> None:
    examples = {"HANDLER": "handlers.archive:Archive", "SOURCE": "sources.example:events"}
    local.make("up", SUBSCRIBERS="2", DETACH="1", **examples)
    eventually(lambda: local.received({"number": 1}) == ["subscriber-1", "subscriber-2"])
    local.make("down")
    assert (local.folder / "publisher-data").is_dir()
    for n in (1, 2):
        assert '{"number": 1}' in kept(local.folder / f"subscriber-data/fanout-subscriber-{n}.db")
    assert not [line for _, line in local.lines() if line["event"] in ("handler_failed", "teardown_failed")]
