"""Structured logs: one JSON object a line on stdout, from our code, libraries and uncaught exceptions."""

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

from fanout import printable
from fanout._event.encode import timestamp
from fanout.environment import Environment
from fanout.errors import ExitCode
from fanout.service.visible import escape, escape_json
from fanout.shown import show_data

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_json = msgspec.json.Encoder(enc_hook=repr).encode
_lines = msgspec.json.Encoder(enc_hook=repr).encode_lines

Fields = structlog.typing.EventDict


class Output:
    """Writes each line to standard output at once. When its reader is gone the process ends, as SIGPIPE would do."""

    def __init__(self) -> None:
        self._write = sys.stdout.buffer.write
        self._flush = sys.stdout.buffer.flush

    def msg(self, line: bytes | str) -> None:
        """Write a rendered line; the method that structlog calls."""
        self.write((line if isinstance(line, bytes) else line.encode("utf-8", "backslashreplace")) + b"\n")

    def write(self, text: bytes) -> None:
        """Write complete lines."""
        try:
            self._write(text)
            self._flush()
        except BrokenPipeError:
            os._exit(ExitCode.CRASHED)

    debug = info = warning = error = critical = exception = log = msg


class _State:
    lines: "Lines | None" = None


_state = _State()


def configure(env: Environment, service: str, instance: str) -> None:
    """Set up structlog, the standard library's logging and the hooks for uncaught exceptions.

    Raises:
        SettingError: LOG_LEVEL, LOG_FORMAT or LOG_DATA is invalid.
    """
    level = LEVELS[env.choice("LOG_LEVEL", "info", *LEVELS)]
    form = env.choice("LOG_FORMAT", "auto", "auto", "json", "console")
    show_data(show=env.choice("LOG_DATA", "on", "on", "off") == "on")
    console = form == "console" or (form == "auto" and sys.stdout.isatty())
    output = Output()
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            _format_exception,
            _ordered(service, instance),
            _console() if console else _render_json,
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
    """A line of a log event that is very frequent; a subclass adds its fields.

    `always` is the encoded text of the fields with which every line begins, without the name of the first one.
    """

    always: msgspec.Raw = msgspec.field(name="timestamp")


class Lines:
    """Writes the lines of frequent events without structlog, all lines of a batch at once."""

    def __init__(self, service: str, instance: str, output: Output) -> None:
        self._service, self._instance, self._output = service, instance, output
        self._after_time = functools.cache(self._constant)

    def always(self, event: str, now: float) -> msgspec.Raw:
        """Return the field `always` of lines of level info; `now` is their timestamp, in seconds since 1970."""
        return msgspec.Raw(b'"%b%b' % (timestamp(now).encode(), self._after_time(event)))

    def _constant(self, event: str) -> bytes:
        fields = _json(_always("", "info", event, self._service, self._instance))
        return fields.removeprefix(b'{"timestamp":"').removesuffix(b"}")

    def write(self, lines: Sequence[Line]) -> None:
        """Write lines. Values that JSON cannot hold are written as text; they affect no other line."""
        try:
            text = _lines(lines)
        except Exception:
            text = b"".join([_line(line) for line in lines])
        self._output.write(escape_json(text))


def lines() -> Lines | None:
    """Return the writer for frequent events; None if the log is not JSON or the level is above info."""
    return _state.lines


def log_crash(error: BaseException | None) -> None:
    """Log an unexpected error that ends the process or a thread."""
    structlog.get_logger().critical("crashed", exc_info=error)


def _ordered(service: str, instance: str) -> Callable[[Any, str, Fields], Fields]:
    def processor(_logger: Any, _method: str, fields: Fields) -> Fields:
        level, event = fields.pop("level"), fields.pop("event")
        given = {name: value for name, value in fields.items() if value is not msgspec.UNSET}
        return _always(timestamp(time.time()), level, event, service, instance) | given

    return processor


def _always(timestamp: str, level: str, event: str, service: str, instance: str) -> dict[str, Any]:
    return {"timestamp": timestamp, "level": level, "event": event, "service": service, "instance": instance}


def _render_json(_logger: Any, _method: str, fields: Fields) -> bytes:
    try:
        line = _json(fields)
    except Exception:  # text with lone surrogates, keys that are not text, numbers with too many digits, ...
        line = _json({printable.value(name): printable.value(value) for name, value in fields.items()})
    return escape_json(line)


def _line(line: Line) -> bytes:
    try:
        return _json(line) + b"\n"
    except Exception:
        for name, value in msgspec.structs.asdict(line).items():
            if not isinstance(value, msgspec.Raw):
                setattr(line, name, printable.value(value))
        return _json(line) + b"\n"


def _console() -> Callable[[Any, str, Fields], str]:
    renderer = structlog.dev.ConsoleRenderer(pad_event_to=24)

    def render(logger: Any, method: str, fields: Fields) -> str:
        exception = fields.pop("exception", None)
        shown = {
            escape(name): escape(value if isinstance(value, str) else printable.text(value, repr))
            for name, value in fields.items()
        }
        line = renderer(logger, method, shown)
        return "\n".join([line, *map(escape, exception.split("\n"))]) if exception else line

    return render


def _format_exception(logger: Any, method: str, fields: Fields) -> Fields:
    error = fields.get("exc_info")
    try:
        structlog.processors.format_exc_info(logger, method, fields)
    except Exception:  # its __str__ or the traceback raises
        fields["exception"] = f"{type(error).__name__}, whose traceback cannot be written"
    return fields


class _LibraryHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        level = "info" if record.levelno < logging.WARNING else record.levelname.lower()
        log = getattr(structlog.get_logger(), level, structlog.get_logger().error)
        try:
            message = record.getMessage()
        except Exception:  # an argument that does not fit
            message = printable.text(record.msg)
        log("library_log", logger=record.name, message=message, exc_info=record.exc_info)
