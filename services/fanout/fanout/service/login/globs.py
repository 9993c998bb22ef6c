"""Glob patterns of channel names in a token: `*` is any text, `?` any character, `{sub}` the token's subject."""

from collections.abc import Iterable, Sequence
from enum import Enum

SUBJECT = "{sub}"


class Wild(Enum):
    """What stands in a pattern for something else than itself."""

    ANY = "*"
    ONE = "?"


Pattern = tuple[str | Wild, ...]
"""A glob pattern, character by character."""


class Globs:
    """A set of patterns, matched against whole names, case-sensitively.

    Names without wildcards, which most are, take one look-up however many there are.
    """

    def __init__(self, globs: Iterable[str], subject: str = "", *, literal: Iterable[str] = ()) -> None:
        """Make a set.

        Args:
            globs: the patterns.
            subject: what `{sub}` stands for, to the letter; if it is empty, patterns with `{sub}` match nothing.
            literal: names that are matched as they are.
        """
        patterns = [parse(glob, subject) for glob in globs if subject or SUBJECT not in glob]
        self._all = any(pattern and set(pattern) == {Wild.ANY} for pattern in patterns)
        exact = ["".join(map(str, pattern)) for pattern in patterns if not _wild(pattern)]
        self._exact = frozenset([*exact, *literal])
        self._patterns = [pattern for pattern in patterns if _wild(pattern)]

    def match(self, name: str) -> bool:
        """Return whether a pattern matches the name."""
        return self._all or name in self._exact or any(matches(pattern, name) for pattern in self._patterns)


def parse(glob: str, subject: str) -> Pattern:
    """Return a glob as a pattern, in which the subject's own `*` and `?` are ordinary characters."""
    pattern: list[str | Wild] = []
    for number, part in enumerate(glob.split(SUBJECT)):
        if number:
            pattern += subject
        for char in part:
            if char not in "*?":
                pattern.append(char)
            elif char == "?" or pattern[-1:] != [Wild.ANY]:
                pattern.append(Wild(char))
    return tuple(pattern)


def matches(pattern: Sequence[str | Wild], name: str) -> bool:
    """Return whether a pattern matches a whole name.

    When the text after a `*` does not fit, only the latest `*` takes one character more: that finds every match, in no
    more than as many steps as the two lengths multiplied, whatever the pattern is.
    """
    at = here = 0
    star, taken = -1, 0
    while here < len(name):
        if at < len(pattern) and pattern[at] is Wild.ANY:
            star, taken = at, here
            at += 1
        elif at < len(pattern) and pattern[at] in {Wild.ONE, name[here]}:
            at += 1
            here += 1
        elif star >= 0:
            taken += 1
            at, here = star + 1, taken
        else:
            return False
    return all(one is Wild.ANY for one in pattern[at:])


def _wild(pattern: Pattern) -> bool:
    return any(isinstance(one, Wild) for one in pattern)
