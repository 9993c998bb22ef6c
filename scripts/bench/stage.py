"""One run's own Redis and processes: all of it new, on loopback, and gone at the end of the block."""

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import redis

from bench.child import Child
from bench.programs import Program
from bench.wire import CHANNEL, RunError
from run.loopback import free_port, server_program

UP_WITHIN = 30.0
SOCKET = "redis.sock"


class Stage:
    """A Redis server with an AOF (`everysec`) or without, and the processes started beside it.

    The server never lets a slow subscriber go (its output buffers have no limit) and never rewrites the AOF: both would
    be measured by chance.
    """

    def __init__(self, *, aof: bool) -> None:
        self._aof = aof
        self._ends = contextlib.ExitStack()
        self._started = 0

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as ends:
            self.folder = Path(tempfile.mkdtemp(prefix="fanout-bench-"))
            ends.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.port = free_port(0)
            options = f"""--port {self.port} --bind 127.0.0.1 --unixsocket {self.folder / SOCKET}
                --dir {self.folder} --loglevel warning
                --appendonly {"yes" if self._aof else "no"} --appendfsync everysec --auto-aof-rewrite-percentage 0
                --client-output-buffer-limit pubsub 0 0 0 --save"""
            server = Child([server_program(), *options.split(), ""], os.environ, self.folder)
            ends.callback(server.kill)  # nobody needs its data any more
            self.redis: Any = redis.Redis(port=self.port, socket_timeout=UP_WITHIN)
            ends.callback(self.redis.close)
            server.wait("answering", self._answers, UP_WITHIN)
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def start(self, program: Program, *, keep: bool = False) -> Child:
        """Starts a program; it is ended at the end of the block at the latest."""
        self._started += 1
        path = str(self.folder / SOCKET)
        command = [part.replace("PORT", str(self.port)).replace("SOCKET", path) for part in program.command]
        given = {name: value.replace("SOCKET", path) for name, value in program.env.items()}
        own = {"REDIS_URL": f"redis://127.0.0.1:{self.port}/0", "HEARTBEAT_FILE": f"heartbeat-{self._started}"}
        env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        child = Child(command, {**env, **own, **given}, self.folder, program.line, program.mark, keep=keep)
        self._ends.callback(child.kill)
        return child

    def subscribed(self, count: int, *children: Child, streams: bool = False) -> float:
        """Waits until the channel has that many subscribers, or so many wait for an entry of a stream.

        Returns when (monotonic) that was seen.
        """
        deadline = time.monotonic() + UP_WITHIN
        while (found := self._waiting() if streams else self.redis.pubsub_numsub(CHANNEL)[0][1]) < count:
            if any(child.ended for child in children):
                raise RunError(
                    f"ended before subscribing: {[child.output[-400:] for child in children if child.ended]}"
                )
            if time.monotonic() > deadline:
                raise RunError(f"{found} of {count} subscribers within {UP_WITHIN:g} s")
            time.sleep(0.001)
        return time.monotonic()

    def server_cpu(self) -> float:
        """Seconds of processor time that the server has used."""
        used = self.redis.info("cpu")
        return float(used["used_cpu_user"] + used["used_cpu_sys"])

    def _waiting(self) -> int:
        return int(self.redis.info("clients")["blocked_clients"])

    def _answers(self) -> bool:
        try:
            return bool(self.redis.ping())
        except redis.RedisError:
            return False
