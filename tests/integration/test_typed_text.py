"""What a person types reaches its place as it was typed: through make, the shell and argparse."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.local_stack import ROOT, Local
from support.waiting import eventually

TEXTS = [
    "price $100",
    "$(shell touch {mark}) $(error no)",
    "$(touch {mark}) `touch {mark}` ; touch {mark}",
    'it\'s "quoted" \\ twice  and ends in a blank ',
    "two\nlines",
    "-n --help",
    "# no comment",
    "100 % of $$ and %s, ü and \N{PARTY POPPER}",
    "a=b := c",
]


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    local = Local(tmp_path / "run")
    yield local
    local.make("down")


def test_make_send_publishes_what_was_typed(local: Local, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    texts = [text.replace("{mark}", str(mark)) for text in TEXTS]
    local.make("up", SUBSCRIBERS="1", DETACH="1")
    for text in texts:
        local.make("send", f"DATA={text}")
    local.make("send", DATA=" from $THE environment")
    received = [*texts, " from $THE environment"]
    eventually(lambda: all(local.received(text) for text in received), 30)
    refused = local.make("send", "DATA=x", "CHANNEL=a{$b}", code=2)
    assert "CHANNEL is 'a{$b}', but must be" in refused
    assert not mark.exists()


@pytest.mark.parametrize("name", ["SUBSCRIBERS", "LEVEL", "EVENT", "HANDLER", "NEVER_HEARD_OF"])
def test_every_variable_on_makes_command_line_is_text(tmp_path: Path, name: str) -> None:
    shown = tmp_path / "show.mk"
    shown.write_text(f"include {ROOT}/Makefile\nshow:\n\t@printenv {name}\n")
    text = "$(shell echo pwned) $100 '\"` \n#"
    command = ["make", "--no-print-directory", "-f", shown, "show", f"{name}={text}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{text}\n"
