"""From start to exit code: signals, the event loop, and what is said at the end."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from types import FrameType
from typing import Any, TypeVar

from fanout import logs
from fanout.environment import Environment
from fanout.errors import ExitCode, FanoutError
from fanout.settings import Settings
from fanout.threads import EventLoop

S = TypeVar("S", bound=Settings)
Totals = Mapping[str, Any]


def run(
    service: str, read: Callable[[Environment], S], serve: Callable[[S, asyncio.Event], Awaitable[Totals]]
) -> ExitCode:
    """Runs a service until it ends or a signal ends it, and returns the process's exit code.

    `read` makes the settings; `serve` gets them and an event that SIGTERM and SIGINT set, and returns the totals of the
    `stopped` line. A second signal ends the process at once. A FanoutError becomes one line, `failed`, and its code.
    """
    env = Environment(os.environ)
    try:
        logs.configure(Environment({}), service, env.text("INSTANCE", service))
        settings = read(env)
        logs.configure(env, service, settings.instance)
        rare_collections()
        with asyncio.Runner(loop_factory=EventLoop) as runner:
            totals = runner.run(_until_stopped(settings, serve))
    except FanoutError as error:
        logs.get_logger().error("failed", reason=str(error), exit_code=error.exit_code.value)
        return error.exit_code
    except Exception as error:
        logs.log_crash(error)
        return ExitCode.CRASHED
    logs.get_logger().info("stopped", **totals)
    return ExitCode.OK


def rare_collections() -> None:
    """Has the garbage collector run seldom: hardly anything here is in cycles, and each run holds up all messages."""
    gc.freeze()  # what is there now stays: no collection need look at it again
    gc.set_threshold(50_000, 20, 20)


async def until(stop: asyncio.Event, *tasks: asyncio.Future[Any]) -> None:
    """Waits until `stop` is set or one of the tasks is done, and raises what that one raised."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    for task in done:
        task.result()


async def _until_stopped(settings: S, serve: Callable[[S, asyncio.Event], Awaitable[Totals]]) -> Totals:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    # signal.signal, not the loop's own: a second signal must work also while user code blocks the loop.
    def on_signal(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if stop.is_set():
            logs.get_logger().warning("forced", signal=name)
            sys.stdout.flush()
            os._exit(ExitCode.FORCED)
        logs.get_logger().info("stopping", signal=name)
        stop.set()
        loop.call_soon_threadsafe(lambda: None)  # wakes the loop up

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return await serve(settings, stop)
