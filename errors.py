"""The one error that every part raises for an argument it cannot use."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(Exception):
    """A configuration cannot be used: shown to the user as one message, without a traceback, with exit code 2."""

    def __init__(self, message: str, *, key: str | None = None, place: str | None = None) -> None:
        self.key = key
        self.place = place
        head = ": ".join(part for part in (place, key) if part)
        super().__init__(f"{head}: {message}" if head else message)


class ArgumentError(ValueError):
    """An argument is out of range or does not fit another one.

    The command line catches it and adds the file and the full key, so a message made here names
    the argument as the constructor knows it.

    Args:
        argument: the argument's name as in the signature, such as ``n_heads``.
        expected: what would be valid, in words.
        given: what came in.
    """

    def __init__(self, argument: str, expected: str, given: object) -> None:
        self.argument = argument
        self.expected = expected
        self.given = given
        super().__init__(f"{argument}: expected {expected}, got {given!r}")

    def __reduce__(self) -> tuple[type[ArgumentError], tuple[str, str, object]]:
        return type(self), (self.argument, self.expected, self.given)


def require(condition: bool, argument: str, expected: str, given: object) -> None:
    """Raise :class:`ArgumentError` unless ``condition`` holds."""
    if not condition:
        raise ArgumentError(argument, expected, given)


def nearest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """The ``n`` known names closest to a misspelt one, best first; all of a short list when none is close."""
    names = sorted(set(known))
    lowered = {k.lower(): k for k in names}
    close = [lowered[k] for k in difflib.get_close_matches(name.lower(), lowered, n=n, cutoff=0.5)]
    return close or names[:12]
