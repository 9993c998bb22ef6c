"""Environment variables, read one by one: each is what is allowed, or the error says what would be."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

from fanout.errors import SettingError
from fanout.keys import CHANNEL_RULE, check_channel

_DURATION = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}
_SIZE = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class Environment:
    """Reads variables one by one. A variable that is set but empty counts as not set.

    Every method raises SettingError for a value that is not allowed.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str, default: str = "") -> str:
        return self._variables.get(name, "").strip() or default

    def secret(self, name: str, default: str = "") -> str:
        """The variable, or what stands in the file that NAME_FILE names (Compose secrets)."""
        path = self.text(f"{name}_FILE")
        if not path:
            return self.text(name, default)
        if self.text(name):
            raise SettingError(f"{name}_FILE", path, f"left out while {name} is set")
        try:
            return Path(path).read_text().strip()
        except (OSError, ValueError) as error:
            raise SettingError(f"{name}_FILE", path, f"a file with text that can be read ({error})") from None

    def choice(self, name: str, default: str, *allowed: str) -> str:
        value = self.text(name, default)
        if value not in allowed:
            raise SettingError(name, value, "one of " + ", ".join(allowed))
        return value

    def integer(self, name: str, default: int, low: int, high: int, *, also: str = "") -> int:
        """A whole number. `also` names what else is allowed."""
        value = self.text(name)
        if not value:
            return default
        if not re.fullmatch(r"\d{1,18}", value, re.ASCII) or not low <= int(value) <= high:
            raise SettingError(name, value, f"{also}a whole number from {low} to {high}")
        return int(value)

    def number(self, name: str, default: float, low: float, high: float) -> float:
        value = self.text(name)
        return self._within(name, value, value, f"a number from {low:g} to {high:g}", low, high) if value else default

    def duration(self, name: str, default: str, low: float, high: float, *, also: str = "") -> float:
        """Seconds; written with a unit (500ms, 5s, 10m, 24h, 30d) or without. `also` names what else is allowed."""
        value = self.text(name, default)
        allowed = f"{also}a duration from {low:g} to {high:g} seconds, such as 500ms, 5s or 10m"
        return self._scaled(name, value, allowed, _DURATION, low, high)

    def size(self, name: str, default: str, low: int, high: int) -> int:
        """Bytes; written with a unit (64KiB, 1MB) or without."""
        value = self.text(name, default)
        allowed = f"a size from {low} to {high} bytes, such as 65536, 64KiB or 1MB"
        return int(self._scaled(name, value, allowed, _SIZE, low, high))

    def channels(self, name: str, default: str = "", *, what: str = "channel names") -> tuple[str, ...]:
        """Names separated by commas, each once, in the order given."""
        value = self.text(name, default)
        names = [part.strip() for part in value.split(",") if part.strip()]
        try:
            return tuple(dict.fromkeys(check_channel(part) for part in names))
        except ValueError:
            raise SettingError(name, value, f"{what} separated by commas, each {CHANNEL_RULE}") from None

    def fraction(self, name: str, default: str) -> float:
        """`all` is 1, `none` is 0, and 1/100 is one in a hundred."""
        value = self.text(name, default)
        if value in ("all", "none"):
            return 1.0 if value == "all" else 0.0
        if match := re.fullmatch(r"1/([1-9]\d{0,8})", value, re.ASCII):
            return 1 / int(match[1])
        raise SettingError(name, value, "all, none, or a part such as 1/100")

    def _scaled(
        self, name: str, value: str, allowed: str, units: Mapping[str, float], low: float, high: float
    ) -> float:
        match = re.fullmatch(r"([0-9.]+)\s*([A-Za-z]*)", value)
        unit = (units.get(match[2]) or units.get(match[2].upper())) if match else None
        if not match or not unit:
            raise SettingError(name, value, allowed)
        return self._within(name, value, match[1], allowed, low, high, unit)

    @staticmethod
    def _within(name: str, value: str, digits: str, allowed: str, low: float, high: float, unit: float = 1) -> float:
        try:
            number = float(digits) * unit
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise SettingError(name, value, allowed)
        return number
