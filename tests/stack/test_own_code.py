"""A newcomer's own code in a copy of the project: a source, and a SQLite handler that needs a package more."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.compose_stack import ROOT
from support.waiting import eventually, missing

NAME = f"fanout-test-{os.getpid()}-own-code"
PACKAGE = "python-ulid"
LOCKS = ("tests", "scripts", "services/publisher", "services/subscriber", "services/gateway", "docker/compose")

SOURCE = """
import os, pathlib

place = pathlib.Path(os.environ["DATA_DIR"]) / "place"

def events():
    for n in range(int(place.read_text()) if place.exists() else 1, 4):
        yield "orders", {"order": n}
        place.write_text(str(n + 1))
"""
HANDLER = """
import os, sqlite3
from ulid import ULID

class Store:
    def setup(self):
        self.database = sqlite3.connect(os.path.join(os.environ["DATA_DIR"], os.environ["INSTANCE"] + ".db"))
        self.database.execute("CREATE TABLE IF NOT EXISTS orders (ulid, number)")

    def handle(self, message):
        with self.database:
            self.database.execute("INSERT INTO orders VALUES (?, ?)", [str(ULID()), message.data["order"]])

    def teardown(self):
        self.database.close()
"""
LOOK = """
import json, pathlib, sqlite3
files = {one.stem: sqlite3.connect(one).execute("SELECT ulid, number FROM orders").fetchall()
         for one in pathlib.Path("/data").glob("*.db")}
print(json.dumps(files))
"""

Run = Callable[..., str]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for part in (".env", "Makefile", "tests/requirements.in", "tests/requirements.txt"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / part, tmp_path / part)
    for part in ("scripts", "compose", "docker", "services"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("secrets", "__pycache__"))
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "services/publisher/sources/mine.py").write_text(SOURCE)
    (tmp_path / "services/subscriber/handlers/mine.py").write_text(HANDLER)
    with (tmp_path / "services/subscriber/requirements.in").open("a") as requirements:
        requirements.write(f"{PACKAGE}\n")
    return tmp_path


@pytest.fixture
def run(copy: Path) -> Run:
    """Runs a command in the copy; returns what it prints."""
    env = os.environ | {"COMPOSE_PROJECT_NAME": NAME, "RUNTIME": "compose", "LAYERS": "base", "DETACH": "1"}
    env |= {"COMPOSE_FILE": "compose/base.yaml", "SOURCE": "sources.mine:events", "HANDLER": "handlers.mine:Store"}
    env |= {"CHANNELS": "orders", "START_FROM": "earliest", "SUBSCRIBERS": "2"}

    def call(*command: str) -> str:
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return call


def versions(folder: Path) -> dict[str, dict[str, str]]:
    """Of each locked package in each file."""
    return {
        lock: dict(
            re.findall(r"^([\w.-]+)==([^\s\\]+)", (folder / lock / "requirements.txt").read_text(), re.MULTILINE)
        )
        for lock in LOCKS
    }


def test_make_lock_adds_one_package_and_leaves_all_others(copy: Path, run: Run) -> None:
    run("make", "lock")
    before, now = versions(ROOT), versions(copy)
    assert PACKAGE in now["services/subscriber"]
    assert PACKAGE not in now["services/publisher"] | now["services/gateway"] | now["docker/compose"]
    for lock in LOCKS:
        assert now[lock] | before[lock] == now[lock]


@pytest.fixture
def stack(copy: Path, run: Run) -> Iterator[Run]:
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode:
        missing("no container engine in reach")
    run("make", "lock")
    try:
        run("make", "up")
        yield run
    finally:
        run("docker", "compose", "down", "--volumes", "--timeout", "3")
        if ours := run("docker", "image", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={NAME}"):
            run("docker", "rmi", "--force", *set(ours.split()))


def stored(run: Run) -> dict[str, list[list[str | int]]]:
    return dict(json.loads(run("docker", "compose", "exec", "-T", "subscriber", "python", "-c", LOOK)))


def test_a_source_and_a_sqlite_handler_with_a_package_of_its_own(stack: Run) -> None:
    names = [f"{NAME}-subscriber-{n}" for n in (1, 2)]
    eventually(lambda: {name: len(rows) for name, rows in stored(stack).items()} == dict.fromkeys(names, 3), 30)
    for rows in stored(stack).values():
        assert [number for _, number in rows] == [1, 2, 3]
        assert all(re.fullmatch(r"[0-9A-Z]{26}", str(ulid)) for ulid, _ in rows)

    stack("make", "down")
    volumes = stack(
        "docker", "volume", "ls", "--filter", f"label=com.docker.compose.project={NAME}", "--format", "{{.Name}}"
    )
    assert {f"{NAME}_publisher-data", f"{NAME}_subscriber-data"} <= set(volumes.split())
    stack("make", "up")
    logs = stack("docker", "compose", "logs", "--no-log-prefix", "publisher")
    assert '"event":"source_finished"' in logs
    assert '"count":0' in logs  # it went on where it was
    assert {len(rows) for rows in stored(stack).values()} == {3}
