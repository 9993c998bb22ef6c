"""Escapes text for a terminal: characters that move the cursor, reverse the text or are invisible."""

import re

_HIDDEN = (
    "\x7f-\x9f"  # DEL and C1: U+009B begins an escape sequence, as ESC [ does
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi controls
    "\u2028\u2029"  # line breaks
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0"
    "\ufe00-\ufe0d\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # zero-width: joiners,
    # fillers, tags; not U+FE0F, with which many emoji end
    "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U0001343f"  # other format characters
)
_IN_JSON = re.compile(f"[{_HIDDEN}]")
_IN_TEXT = re.compile(f"[\\x00-\\x08\\x0a-\\x1f{_HIDDEN}\\ud800-\\udfff]")


def escape(text: str) -> str:
    r"""Return text on one line that is safe for a terminal: an ESC becomes \x1b, for example."""
    return _IN_TEXT.sub(lambda found: ascii(found[0])[1:-1], text)


def escape_json(line: bytes) -> bytes:
    """Return equivalent JSON in which all such characters are escaped; JSON itself requires that only of C0."""
    if line.isascii() and b"\x7f" not in line:  # nearly always true, and much faster than the search
        return line
    return _IN_JSON.sub(_as_json, line.decode("utf-8", "backslashreplace")).encode()


def _as_json(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
