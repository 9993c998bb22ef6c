"""The errors that Fanout raises, each with the exit code of a service that it ends."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the services; the README lists them."""

    OK = 0
    CRASHED = 1
    BAD_INPUT = 2
    REFUSED_BY_REDIS = 3
    UNDELIVERED = 4
    NAME_TAKEN = 5
    FORCED = 130


class FanoutError(Exception):
    """The base class of Fanout's errors. One that ends a service is logged as one line, without a traceback."""

    exit_code = ExitCode.CRASHED


class SettingError(FanoutError):
    """A setting or an argument is invalid; the message names it, its value and what is allowed."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(f"{name} is {value!r}, but must be {allowed}")


class SecretError(SettingError):
    """A setting that may hold a password is invalid; the message says why without showing any part of the value."""

    def __init__(self, name: str, wrong: str, allowed: str) -> None:
        FanoutError.__init__(self, f"{name} {wrong}, but must be {allowed}")


class BadInput(FanoutError):
    """Some lines of standard input cannot be published."""

    exit_code = ExitCode.BAD_INPUT


class UnsupportedLibrary(FanoutError):
    """The installed redis-py lacks something that this version of Fanout needs."""

    exit_code = ExitCode.BAD_INPUT


class RefusedByRedis(FanoutError):
    """Redis refuses, and trying again would not help: wrong password, too old a server, or no permission."""

    exit_code = ExitCode.REFUSED_BY_REDIS


class NameTaken(FanoutError):
    """Another subscriber saves its position under the same name."""

    exit_code = ExitCode.NAME_TAKEN


class Undelivered(FanoutError):
    """The process had to end while Redis had not accepted all of its events."""

    exit_code = ExitCode.UNDELIVERED


class ConnectionLost(Exception):
    """The connection to Redis is lost; the message says why."""


class NotAccepted(FanoutError):
    """An event that was given to the publisher did not reach Redis, or it is unknown whether it did."""


class InDoubt(NotAccepted, TimeoutError):
    """An event was not accepted in time but is already on its way: it may or may not be published."""


class TooManyChannels(NotAccepted):
    """MAX_CHANNELS channels are open, and none of them is idle."""


class KeyReused(NotAccepted):
    """The Idempotency-Key was used before with other data: the event is not published."""


class ChannelRefused(NotAccepted):
    """Redis does not permit the channel, or cannot use its keys: nothing is published or received there."""


class ChannelNotAllowed(FanoutError, ValueError):
    """CHANNELS_ALLOWED does not include the channel."""


class EventTooLarge(FanoutError, ValueError):
    """An event is larger than MAX_EVENT."""
