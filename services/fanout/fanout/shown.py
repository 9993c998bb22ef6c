"""How much log lines show of messages: which of them, and how much of their data."""

from typing import Any

import msgspec

from fanout import printable

SHOWN_DATA = 1000


class _Shown:
    length = SHOWN_DATA


_shown = _Shown()


def show_data(*, show: bool) -> None:
    """Set whether log lines may contain the data of messages."""
    _shown.length = SHOWN_DATA if show else -1


def every(fraction: float) -> int:
    """Return a fraction such as LOG_MESSAGES as a stride: each how many-th message is logged, 0 for none."""
    return round(1 / fraction) if fraction else 0


def shown_data() -> int:
    """Return how many characters of text a log line may show unchanged; -1 if it may show no data."""
    return _shown.length


def shown(data: Any) -> Any:
    """Return a message's data for a log line, cut at 1 kB; UNSET if log lines may show no data."""
    if _shown.length < 0:
        return msgspec.UNSET
    if isinstance(data, str):
        return data if len(data) <= SHOWN_DATA else data[:SHOWN_DATA]
    try:
        text = repr(data)
    except Exception:  # nested too deeply, a number with too many digits, an object whose repr raises
        return printable.text(data)
    return data if len(text) <= SHOWN_DATA and not isinstance(data, bytes) else text[:SHOWN_DATA]
