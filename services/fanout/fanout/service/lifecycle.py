"""Runs a service from its start to its exit code: signals, the event loop, and the last log line."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from types import FrameType
from typing import Any, TypeVar

import structlog

from fanout.environment import Environment
from fanout.errors import ExitCode, FanoutError
from fanout.service import logs, spare_memory
from fanout.service.event_loop import EventLoop
from fanout.service.settings import ServiceSettings

S = TypeVar("S", bound=ServiceSettings)
Totals = Mapping[str, Any]


def run(
    service: str, read: Callable[[Environment], S], serve: Callable[[S, asyncio.Event], Awaitable[Totals]]
) -> ExitCode:
    """Run a service until it ends or a signal stops it, and return the process's exit code.

    A second signal ends the process at once. A FanoutError is logged as one line, `failed`, and gives the exit code.

    Args:
        service: the service's name.
        read: makes the settings.
        serve: runs the service; gets the settings and an event that SIGTERM and SIGINT set, and returns the totals for
            the line `stopped`.
    """
    env = Environment(os.environ)
    try:
        logs.configure(Environment({}), service, env.text("INSTANCE", service))
        settings = read(env)
        logs.configure(env, service, settings.instance)
        os.environ["INSTANCE"] = settings.instance  # for the user's code
        rare_collections()
        with asyncio.Runner(loop_factory=EventLoop) as runner:
            totals = runner.run(_until_stopped(settings, serve))
    except FanoutError as error:
        structlog.get_logger().error("failed", reason=str(error), exit_code=error.exit_code.value)
        return error.exit_code
    except (Exception, SystemExit) as error:  # the code of a sys.exit() in user code would look like one of ours
        logs.log_crash(error)
        return ExitCode.CRASHED
    structlog.get_logger().info("stopped", **totals)
    return ExitCode.OK


def rare_collections() -> None:
    """Make the garbage collector run rarely: few objects here form cycles, and each run delays all messages."""
    gc.freeze()  # objects that exist by now stay, so no collection needs to look at them
    gc.set_threshold(50_000, 20, 20)


async def until(stop: asyncio.Event, *tasks: asyncio.Future[Any]) -> None:
    """Wait until `stop` is set or one of the tasks is done; raise that task's exception."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    for task in done:
        task.result()


async def _until_stopped(settings: S, serve: Callable[[S, asyncio.Event], Awaitable[Totals]]) -> Totals:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    # signal.signal, not the loop's handlers: a second signal must work even while user code blocks the loop.
    def on_signal(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if stop.is_set():
            structlog.get_logger().warning("forced", signal=name)
            sys.stdout.flush()
            os._exit(ExitCode.FORCED)
        structlog.get_logger().info("stopping", signal=name)
        stop.set()
        loop.call_soon_threadsafe(lambda: None)  # wakes the loop up

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    giving_back = asyncio.create_task(spare_memory.give_back())
    try:
        return await serve(settings, stop)
    finally:
        giving_back.cancel()
