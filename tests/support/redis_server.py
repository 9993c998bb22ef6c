"""A real Redis server for a test: started, killed, paused and started again at will."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis

from run.loopback import free_port, server_program
from support.waiting import eventually, missing


class RedisServer:
    def __init__(self, folder: Path, *options: str, program: str = "", env: Mapping[str, str] | None = None) -> None:
        self.folder, self.options, self.program = folder, options, program
        self.env = os.environ | (env or {})
        self.port = free_port(0)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None
        self._clients: list[redis.Redis] = []

    def start(self) -> "RedisServer":
        try:
            program = self.program or server_program()
        except SystemExit as error:
            missing(str(error))
        command = [program, "--port", str(self.port), "--dir", str(self.folder), "--save", "", "--bind", "127.0.0.1"]
        self.process = subprocess.Popen(
            [*command, *self.options], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(self.answers)
        return self

    def answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False

    def client(self, **options: Any) -> redis.Redis:
        self._clients.append(redis.Redis(port=self.port, socket_timeout=5, **options))
        return self._clients[-1]

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process
        self.process.wait()

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
