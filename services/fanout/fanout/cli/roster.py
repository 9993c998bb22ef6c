"""Prints the roster as one line of JSON a second, without end, also while Redis is away.

{"at": 1767225600.0, "view": {...}} is what roster.read found, {"at": ..., "cause": "..."} why Redis did not answer.
The program ends with its standard input, since under `docker exec` it would not notice that its reader is gone.

REDIS_URL and REDIS_PASSWORD, or their _FILE variants, say where Redis is.
"""

import argparse
import asyncio
import os
import sys
import threading
import time

import msgspec
from redis.exceptions import RedisError

from fanout._redis.commands import Commands
from fanout._redis.retry import cause
from fanout.environment import Environment
from fanout.errors import ConnectionLost, FanoutError
from fanout.service import roster
from fanout.settings import read_settings

EVERY, WITHIN = 1.0, 2.0


class Line(msgspec.Struct, omit_defaults=True):
    """One line: when it was written, in seconds since 1970, and the roster or why it could not be read."""

    at: float
    view: roster.View | None = None
    cause: str = ""


async def feed() -> None:
    """Print a line every second; never return.

    Raises:
        FanoutError: the settings are invalid.
    """
    variables = {name: value for name, value in os.environ.items() if name.startswith("REDIS_")}
    settings = read_settings(Environment(variables | {"INSTANCE": "top"}))
    redis: Commands | None = None
    while True:
        began, view, why = time.monotonic(), None, ""
        try:
            async with asyncio.timeout(WITHIN):
                redis = redis or await Commands.open(settings, WITHIN)
                view = await roster.read(redis)
        except (ConnectionLost, FanoutError, RedisError, OSError) as error:
            why = cause(error) if str(error) else f"no answer within {WITHIN:g} s"
            if redis:
                redis.close()
                redis = None
        print(msgspec.json.encode(Line(time.time(), view, why)).decode(), flush=True)
        await asyncio.sleep(max(0, EVERY - (time.monotonic() - began)))


def end_with_input() -> None:
    """End this process when its standard input ends."""
    sys.stdin.read()
    os._exit(0)


def main(parser: argparse.ArgumentParser) -> int:
    """Print lines until standard input ends and return the exit code."""
    parser.parse_args()
    threading.Thread(target=end_with_input, daemon=True).start()
    try:
        asyncio.run(feed())
    except FanoutError as error:
        print(f"roster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0
