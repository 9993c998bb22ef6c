"""A handler that raises on every message looks well nowhere: on the stack without containers."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.local_stack import Local
from support.waiting import eventually


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    local = Local(tmp_path)
    local.env |= {"COMPOSE_PROJECT_NAME": f"fanout-test-failing-{os.getpid()}"}
    yield local
    local.make("down")


def test_report_top_and_status_show_a_handler_that_raises_on_every_message(local: Local) -> None:
    local.make("up", SUBSCRIBERS="2", DETACH="1", HANDLER="json:loads")  # which takes no Message
    text = local.make("report", COUNT="5", code=2)
    for n in (1, 2):
        assert re.search(rf"^subscriber-{n} +5 +0 +0 +0 +5 +0( +[\d.]+){{4}}$", text, re.MULTILINE), text
    assert "FAILED: 10 failed (subscriber-1: 5, subscriber-2: 5)" in text
    assert len([line for _, line in local.lines() if line["event"] == "handler_failed"]) == 10

    def top() -> list[str]:
        head, *rows = [line for line in local.make("top").splitlines() if re.match("name|subscriber", line)]
        end = head.index("failed") + len("failed")
        return [row[:end].split()[-1] for row in rows]

    eventually(lambda: top() == ["5", "5"])
    assert len(re.findall(r"its handler failed on 5 of 5 messages$", local.make("status"), re.MULTILINE)) == 2
