"""Reads and checks environment variables, one by one; an error says what is allowed."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from fanout.errors import SecretError, SettingError
from fanout.keys import CHANNEL_RULE, check_channel

_DURATION = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}
_SIZE = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class Environment:
    """Reads variables one by one. A variable that is set but empty counts as not set.

    Every method raises SettingError for an invalid value.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._asked: set[str] = set()

    @classmethod
    def of_options(cls, options: Mapping[str, object]) -> "Environment":
        """Make an environment from keyword arguments: `history_size=0` sets HISTORY_SIZE, None counts as not set."""
        given = {name.upper(): value for name, value in options.items() if value is not None}
        return cls({name: _written(value) for name, value in given.items()})

    def check_known(self) -> None:
        """Raise TypeError if a variable is set that has not been read."""
        if unknown := sorted(name.lower() for name in self._variables.keys() - self._asked):
            allowed = ", ".join(sorted(name.lower() for name in self._asked))
            raise TypeError(f"unknown option {unknown[0]!r}; the options are {allowed}")

    def text(self, name: str, default: str = "") -> str:
        """Read text; blanks around it are ignored."""
        self._asked.add(name)
        return self._variables.get(name, "").strip() or default

    def secret(self, name: str, default: str = "") -> str:
        """Read a secret, unstripped: the variable, or the one-line file that NAME_FILE names (a Compose secret).

        Errors show neither the secret nor the file name, which may be the secret itself, set in the wrong place.
        """
        path = self.text(f"{name}_FILE")
        try:
            if not path:
                return _secret(self._variables[name].encode()) if self.text(name) else default
            if self.text(name):
                raise SecretError(f"{name}_FILE", f"is set together with {name}", "left out then")
            return _secret(Path(path).read_bytes())
        except OSError as error:
            why = f"names a file that cannot be read ({error.strerror})"
        except UnicodeError:
            why = "is not UTF-8 text"
        except ValueError as error:
            why = str(error)
        raise SecretError(f"{name}_FILE" if path else name, why, "one line of text without control characters")

    def choice(self, name: str, default: str, *allowed: str) -> str:
        """Read one of the allowed words."""
        value = self.text(name, default)
        if value not in allowed:
            raise SettingError(name, value, "one of " + ", ".join(allowed))
        return value

    def integer(self, name: str, default: int, low: int, high: int, *, also: str = "") -> int:
        """Read a whole number. `also` says in errors what else is allowed, or why."""
        value = self.text(name)
        if not value:
            return default
        if not re.fullmatch(r"\d{1,18}", value, re.ASCII) or not low <= int(value) <= high:
            raise SettingError(name, value, f"{also}a whole number from {low} to {high}")
        return int(value)

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """Read a number, whole or not."""
        value = self.text(name)
        if not value:
            return default
        return self._within(name, value, value, f"a number from {low:g} to {high:g}", low=low, high=high)

    def duration(self, name: str, default: str, low: float, high: float, *, also: str = "") -> float:
        """Read a duration with or without a unit (500ms, 5s, 10m, 24h, 30d); return seconds.

        `also` says in errors what else is allowed.
        """
        value = self.text(name, default)
        allowed = f"{also}a duration from {low:g} to {high:g} seconds, such as 500ms, 5s or 10m"
        return self._scaled(name, value, allowed, _DURATION, low=low, high=high)

    def size(self, name: str, default: str, low: int, high: int) -> int:
        """Read a size with or without a unit (64KiB, 1MB); return bytes."""
        value = self.text(name, default)
        allowed = f"a size from {low} to {high} bytes, such as 65536, 64KiB or 1MB"
        return int(self._scaled(name, value, allowed, _SIZE, low=low, high=high))

    def channels(self, name: str, default: str = "", *, what: str = "channel names") -> tuple[str, ...]:
        """Read names separated by commas; return each once, in the given order."""
        value = self.text(name, default)
        names = [part.strip() for part in value.split(",") if part.strip()]
        try:
            return tuple(dict.fromkeys(check_channel(part) for part in names))
        except ValueError:
            raise SettingError(name, value, f"{what} separated by commas, each {CHANNEL_RULE}") from None

    def fraction(self, name: str, default: str) -> float:
        """Read a fraction: `all` is 1, `none` is 0, and 1/100 is one in a hundred."""
        value = self.text(name, default)
        if value in ("all", "none"):
            return 1.0 if value == "all" else 0.0
        if match := re.fullmatch(r"1/([1-9]\d{0,8})", value, re.ASCII):
            return 1 / int(match[1])
        raise SettingError(name, value, "all, none, or a part such as 1/100")

    def _scaled(
        self, name: str, value: str, allowed: str, units: Mapping[str, float], *, low: float, high: float
    ) -> float:
        match = re.fullmatch(r"([0-9.]+)\s*([A-Za-z]*)", value)
        unit = (units.get(match[2]) or units.get(match[2].upper())) if match else None
        if not match or not unit:
            raise SettingError(name, value, allowed)
        return self._within(name, value, match[1], allowed, unit, low=low, high=high)

    @staticmethod
    def _within(name: str, value: str, digits: str, allowed: str, unit: float = 1, *, low: float, high: float) -> float:
        try:
            number = float(digits) * unit
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise SettingError(name, value, allowed)
        return number


def _written(value: object) -> str:
    if isinstance(value, str):
        return value
    return ",".join(map(str, value)) if isinstance(value, Iterable) else str(value)


def _secret(raw: bytes) -> str:
    """Return a secret without the line break at its end, as docker/redis/with-password.sh reads it too.

    Raises:
        ValueError: it is empty or not one line of text; the message says which.
    """
    text = raw.removesuffix(b"\n").removesuffix(b"\r" if raw.endswith(b"\n") else b"").decode()
    if not text.strip():
        raise ValueError("is empty")
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("has several lines, or control characters")
    return text
