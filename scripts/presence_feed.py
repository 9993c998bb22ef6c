"""Who is there, a line of JSON a second, without end, also while Redis is away.

{"at": 1767225600.0, "view": {...}} is what presence.read found, {"at": ..., "cause": "..."} why it could not be asked.
It ends when its standard input does, since who reads its lines may be gone without its noticing (`docker exec`).

REDIS_URL and REDIS_PASSWORD, or their _FILE, say where Redis is. It needs nothing but the redis and fanout packages, so
that it can be given to `python -c` in a container.
"""

import asyncio
import os
import sys
import threading
import time
from pathlib import Path

import msgspec
from redis.exceptions import RedisError

if "__file__" in globals():  # not when it is given to `python -c`
    sys.path.append(str(Path(__file__).resolve().parent.parent / "services/fanout"))

from fanout import presence
from fanout.backoff import cause
from fanout.commands import Commands
from fanout.environment import Environment
from fanout.errors import ConnectionLost, FanoutError
from fanout.settings import read_settings

EVERY, WITHIN = 1.0, 2.0


class Line(msgspec.Struct, omit_defaults=True):
    """One line: when it was written, in seconds since 1970, and what was found, or why nothing was."""

    at: float
    view: presence.View | None = None
    cause: str = ""


async def feed() -> None:
    """Never returns.

    Raises:
        FanoutError: the settings are not what is allowed.
    """
    variables = {name: value for name, value in os.environ.items() if name.startswith("REDIS_")}
    settings = read_settings(Environment(variables | {"INSTANCE": "top"}), "top")
    redis: Commands | None = None
    while True:
        began, view, why = time.monotonic(), None, ""
        try:
            async with asyncio.timeout(WITHIN):
                redis = redis or await Commands.open(settings, WITHIN)
                view = await presence.read(redis)
        except (ConnectionLost, FanoutError, RedisError, OSError) as error:
            why = cause(error) if str(error) else f"no answer within {WITHIN:g} s"
            if redis:
                redis.close()
                redis = None
        print(msgspec.json.encode(Line(time.time(), view, why)).decode(), flush=True)
        await asyncio.sleep(max(0, EVERY - (time.monotonic() - began)))


def end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


def main() -> int:
    threading.Thread(target=end_with_input, daemon=True).start()
    try:
        asyncio.run(feed())
    except FanoutError as error:
        print(f"presence_feed.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
