"""The library from `pip install ./services/fanout`, in an environment of its own."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support import library
from support.redis_server import RedisServer
from support.waiting import missing


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a virtual environment that has the library and nothing that it does not ask for."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    python = folder / "bin/python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    ran = subprocess.run([*install, str(library.LIBRARY)], check=False, capture_output=True, text=True, timeout=600)
    if ran.returncode:
        missing(f"pip cannot install the library here: {(ran.stderr.strip() or 'no reason').splitlines()[-1]}")
    return python


def run(python: Path, program: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(python), "-W", "error", "-c", program]
    return subprocess.run(command, env={}, cwd=folder, check=False, capture_output=True, text=True, timeout=60)


def test_the_program_of_the_readme_runs_as_it_stands(python: Path, server: RedisServer, tmp_path: Path) -> None:
    ran = run(python, library.readme_program(server.url), tmp_path)
    assert (ran.stdout, library.errors(ran.stderr)) == (library.PRINTS, "")


def test_what_is_installed_has_its_types_its_scripts_and_its_version(python: Path, tmp_path: Path) -> None:
    program = """
        from importlib.metadata import version
        from pathlib import Path
        import fanout, fanout.blocking, fanout.testing
        folder = Path(fanout.__file__).parent
        assert {file.name for file in folder.rglob("*") if file.suffix == ".lua"} == {"publish.lua", "save.lua"}
        assert (folder / "py.typed").exists()
        print(fanout.__version__ == version("fanout-kit"))
    """
    ran = run(python, textwrap.dedent(program), tmp_path)
    assert (ran.stdout, library.errors(ran.stderr)) == ("True\n", "")


@pytest.mark.parametrize(
    ("without", "says"),
    [
        (
            "del redis._parsers.hiredis.NOT_ENOUGH_DATA",
            "cannot import name 'NOT_ENOUGH_DATA' from 'redis._parsers.hiredis'",
        ),
        ("sys.modules['redis.maint_notifications'] = None", "redis.maint_notifications"),
    ],
)
def test_a_redis_py_without_what_is_read_of_it_is_one_clear_line(
    python: Path, tmp_path: Path, without: str, says: str
) -> None:
    program = f"""
        import sys, redis._parsers.hiredis
        redis.__version__ = "9.0.0"
        {without}
        import fanout
    """
    ran = run(python, textwrap.dedent(program), tmp_path)
    *_, last = ran.stderr.splitlines()
    assert "fanout reads through private parts of redis-py" in last
    assert "which this redis-py 9.0.0 lacks (" in last
    assert says in last


def test_a_connection_without_what_is_read_of_it_is_one_clear_error(
    python: Path, server: RedisServer, tmp_path: Path
) -> None:
    program = f"""
        import asyncio
        import redis.asyncio.connection as connection
        import fanout

        read = connection.AbstractConnection.read_response
        async def renamed(self, *args, **options):
            reply = await read(self, *args, **options)
            if b"redis_version" in reply:
                self._parser = object()
            return reply
        connection.AbstractConnection.read_response = renamed

        async def main():
            async with fanout.Publisher({server.url!r}) as publisher:
                await publisher.publish("orders", 1)
        try:
            asyncio.run(main())
        except fanout.FanoutError as error:
            print(error)
    """
    ran = run(python, textwrap.dedent(program), tmp_path)
    assert ran.stdout.startswith("fanout reads through private parts of redis-py"), ran.stderr
    assert ran.stdout.endswith("lacks ('object' object has no attribute '_reader')\n")
