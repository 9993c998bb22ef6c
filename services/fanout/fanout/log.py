"""The library's logger: structlog if the program has configured it, else the standard library's `fanout` logger."""

import logging
from typing import Any

import structlog


def get_logger() -> Any:
    """Return the logger for an object that is being created."""
    if structlog.is_configured():
        return structlog.get_logger()
    return structlog.wrap_logger(
        logging.getLogger("fanout"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.stdlib.filter_by_level, _line],
    )


def _line(_logger: Any, _method: str, fields: structlog.typing.EventDict) -> str:
    event = fields.pop("event")
    return " ".join([event, *(f"{name}={value!r}" for name, value in fields.items())])
