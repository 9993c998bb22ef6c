"""How the operator's programs start commands and processes beside them."""

import os
import signal
import sys
from pathlib import Path

import pytest

from run.child import COMPOSE, Child, Trouble, output
from support.waiting import eventually

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_command_is_given_its_text_and_answers() -> None:
    assert output("cat", text="grüße\n") == "grüße\n"
    assert output("sh", "-c", "echo said; exit 3", check=False) == "said\n"


def test_a_command_that_fails_says_how_and_why() -> None:
    with pytest.raises(Trouble, match=r"^sh -c echo no >&2; exit 3 ended with 3: no$"):
        output("sh", "-c", "echo no >&2; exit 3")


def test_compose_is_named_without_the_shell_that_finds_it() -> None:
    with pytest.raises(Trouble, match=r"^compose no-such-command ended with "):
        output(*COMPOSE, "no-such-command")


def test_a_command_that_takes_too_long_ends_with_all_that_it_has_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(Trouble, match="did not end within 1 s"):
        output("sh", "-c", f"sleep 60 & echo $! > {note}; wait", within=1)
    eventually(lambda: not alive(int(note.read_text())))


def test_lines_are_read_whole_as_they_come_and_the_last_one_without_its_break() -> None:
    child = Child("sh", "-c", r"printf 'one\ntw'; sleep 0.1; printf 'o\n\377\nlast'")
    lines: list[str] = []
    while not child.ended:
        lines += child.read()
    assert lines == ["one", "two", "\\xff", "last"]
    assert child.end() == 0


def test_who_does_not_heed_sigterm_is_killed() -> None:
    child = Child(sys.executable, "-c", DEAF)
    assert eventually(child.read) == ["deaf"]
    assert child.end(within=0.2) == -signal.SIGKILL


def test_a_tied_child_ends_with_its_parent() -> None:
    program = (
        "import time\nfrom run.child import Child\n"
        "print(Child('sleep', '60', tied=15).process.pid, flush=True)\ntime.sleep(60)"
    )
    parent = Child(sys.executable, "-c", program, env=os.environ | {"PYTHONPATH": "scripts"})
    (pid,) = eventually(parent.read)
    assert alive(int(pid))
    os.kill(parent.process.pid, signal.SIGKILL)
    parent.wait()
    eventually(lambda: not alive(int(pid)))
