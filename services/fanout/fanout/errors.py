"""What can go wrong, and the exit code that a service ends with because of it."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a process ended; the README lists them."""

    OK = 0
    CRASHED = 1
    BAD_INPUT = 2
    REFUSED_BY_REDIS = 3
    UNDELIVERED = 4
    NAME_TAKEN = 5
    FORCED = 130


class FanoutError(Exception):
    """Ends the process with a clear line in place of a traceback."""

    exit_code = ExitCode.CRASHED


class SettingError(FanoutError):
    """A setting or an argument is not what is allowed; the message names it, its value and what would be right."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(f"{name} is {value!r}, but must be {allowed}")


class BadInput(FanoutError):
    """Some of what was given on standard input cannot be published."""

    exit_code = ExitCode.BAD_INPUT


class RefusedByRedis(FanoutError):
    """Redis answered, and no later attempt would be answered otherwise: wrong password, too old, not permitted."""

    exit_code = ExitCode.REFUSED_BY_REDIS


class NameTaken(FanoutError):
    """Another subscriber saves its position under the same name."""

    exit_code = ExitCode.NAME_TAKEN


class Undelivered(FanoutError):
    """The process had to end with events that Redis has not accepted."""

    exit_code = ExitCode.UNDELIVERED


class ConnectionLost(Exception):
    """The connection to Redis is gone; the message says how that showed."""


class NotAccepted(Exception):
    """An event that was given to the writer did not reach Redis, or nobody knows whether it did."""
