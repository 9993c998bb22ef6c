"""What reaches a terminal, escaped, and what must not be."""

import json
import unicodedata

from fanout.service.visible import escape, escape_json

EVERYTHING = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
SEEN = {0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
"""Format characters that are seen: signs above Arabic, Syriac and Kaithi numbers."""
HIEROGLYPHS = range(0x13430, 0x13440)


def invisible(text: str) -> list[str]:
    """Controls and format characters in it, but for what is seen, and tab."""
    found = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}} - {"\t"}
    return sorted(hex(ord(c)) for c in found if ord(c) not in SEEN and ord(c) not in HIEROGLYPHS)


def test_no_control_bidi_or_invisible_format_character_is_left_in_a_line() -> None:
    assert invisible(escape(EVERYTHING + "\ud800")) == []
    assert invisible(escape_json(json.dumps(EVERYTHING, ensure_ascii=False).encode()).decode()) == []


def test_each_is_spelled_out_and_what_people_write_stays() -> None:
    assert escape("a\x1b[2J\x7f\x9d\u202e\U000e0041") == r"a\x1b[2J\x7f\x9d\u202e\U000e0041"
    for text in ("Grüße, 世界\t👍🏽 ❤️ עברית عربي नमस्ते 한국어", r"C:\\x1b"):
        assert escape(text) == text
        assert escape_json(text.encode()) == text.encode()


def test_escaped_json_means_the_same() -> None:
    for value in (EVERYTHING, {"\x9b": ["\x7f", "\U000e0041", "\\\u202e", '"\u200b"']}, "plain"):
        line = json.dumps(value, ensure_ascii=False).encode()
        assert json.loads(escape_json(line)) == value
