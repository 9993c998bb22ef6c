"""Structured logs: one JSON object a line on stdout, from our code, from libraries and from what nobody caught."""

import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog

from fanout.environment import Environment
from fanout.errors import ExitCode
from fanout.message import timestamp

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
SHOWN_DATA = 1000
_json = msgspec.json.Encoder(enc_hook=repr).encode
_lines = msgspec.json.Encoder(enc_hook=repr).encode_lines

Logger = structlog.typing.FilteringBoundLogger
Fields = structlog.typing.EventDict


class Output:
    """Where the lines go: standard output, a write a line. When its reader is gone the process ends, as by SIGPIPE."""

    def __init__(self) -> None:
        self._write = sys.stdout.buffer.write
        self._flush = sys.stdout.buffer.flush

    def msg(self, line: bytes | str) -> None:
        self.write((line if isinstance(line, bytes) else line.encode("utf-8", "backslashreplace")) + b"\n")

    def write(self, text: bytes) -> None:
        """Writes whole lines."""
        try:
            self._write(text)
            self._flush()
        except BrokenPipeError:
            os._exit(ExitCode.CRASHED)

    debug = info = warning = error = critical = exception = log = msg


class _State:
    lines: "Lines | None" = None


_state = _State()


def get_logger() -> Logger:
    """The logger that all events go through."""
    logger: Logger = structlog.get_logger()
    return logger


def configure(env: Environment, service: str, instance: str) -> None:
    """Sets up structlog, the standard library's logging and the hooks for uncaught exceptions.

    Raises:
        SettingError: LOG_LEVEL or LOG_FORMAT is not what is allowed.
    """
    level = LEVELS[env.choice("LOG_LEVEL", "info", *LEVELS)]
    form = env.choice("LOG_FORMAT", "auto", "auto", "json", "console")
    console = form == "console" or (form == "auto" and sys.stdout.isatty())
    output = Output()
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            _ordered(service, instance),
            structlog.dev.ConsoleRenderer(pad_event_to=24) if console else _render_json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: output,
        cache_logger_on_first_use=False,
    )
    _state.lines = None if console or level > logging.INFO else Lines(service, instance, output)
    logging.captureWarnings(True)
    logging.basicConfig(handlers=[_LibraryHandler()], level=max(level, logging.INFO), force=True)
    sys.excepthook = lambda _kind, error, _trace: log_crash(error)
    threading.excepthook = lambda args: log_crash(args.exc_value)


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """A line of an event of which there are very many; a class of its own adds its fields.

    `always` are the fields that every line begins with, ready for the output, but for the name of the first of them.
    """

    always: msgspec.Raw = msgspec.field(name="timestamp")


class Lines:
    """A way past structlog for such events: all the lines of a batch are written at once."""

    def __init__(self, service: str, instance: str, output: Output) -> None:
        self._service, self._instance, self._output = service, instance, output
        self._behind_the_time = functools.cache(self._constant)

    def always(self, event: str, now: float) -> msgspec.Raw:
        """For lines of level info; `now` is their timestamp, in seconds since 1970."""
        return msgspec.Raw(b'"%b%b' % (timestamp(now).encode(), self._behind_the_time(event)))

    def _constant(self, event: str) -> bytes:
        fields = _json(_always("", "info", event, self._service, self._instance))
        return fields.removeprefix(b'{"timestamp":"').removesuffix(b"}")

    def write(self, lines: Sequence[Line]) -> None:
        """Writes them."""
        self._output.write(_lines(lines))


def lines() -> Lines | None:
    """The way past structlog; None where the log is not JSON, or takes no events of level info."""
    return _state.lines


def every(fraction: float) -> int:
    """LOG_MESSAGES as a stride: log each n-th message; 0 is none."""
    return round(1 / fraction) if fraction else 0


def shown(data: Any) -> Any:
    """A message's data as it stands in a log line, cut at 1 kB."""
    if isinstance(data, str):
        return data if len(data) <= SHOWN_DATA else data[:SHOWN_DATA]
    text = repr(data)
    return data if len(text) <= SHOWN_DATA and not isinstance(data, bytes) else text[:SHOWN_DATA]


def log_crash(error: BaseException | None) -> None:
    """The last line of a process, or of a thread, that something unforeseen ended."""
    get_logger().critical("crashed", exc_info=error)


def _ordered(service: str, instance: str) -> Callable[[Any, str, Fields], Fields]:
    def processor(_logger: Any, _method: str, fields: Fields) -> Fields:
        level, event = fields.pop("level"), fields.pop("event")
        return _always(timestamp(time.time()), level, event, service, instance) | dict(fields)

    return processor


def _always(timestamp: str, level: str, event: str, service: str, instance: str) -> dict[str, Any]:
    return {"timestamp": timestamp, "level": level, "event": event, "service": service, "instance": instance}


def _render_json(_logger: Any, _method: str, fields: Fields) -> bytes:
    try:
        return _json(fields)
    except (TypeError, ValueError, RecursionError):  # text with lone surrogates, keys that are no text
        return _json({str(key): _printable(value) for key, value in fields.items()})


def _printable(value: object) -> object:
    return value if isinstance(value, int | float | None) else str(value).encode("utf-8", "backslashreplace").decode()


class _LibraryHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        level = "info" if record.levelno < logging.WARNING else record.levelname.lower()
        log = getattr(get_logger(), level, get_logger().error)
        log("library_log", logger=record.name, message=record.getMessage(), exc_info=record.exc_info)
