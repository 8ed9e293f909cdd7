"""WikiText's spacing undone."""

from __future__ import annotations

import re

# In this order: the marked signs first, since they are exact; spacing that needs a guess after it.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r" @([-,.])@ ", r"\1"),
        (r" ([,.;:!?%)\]}])(?=\s|$)", r"\1"),  # before closing punctuation
        (r"(?<!\S)([(\[{$£€¥]) (?=\S)", r"\1"),  # after opening brackets and currency signs
        (r"(?<=\w) '(?=(?:s|t|re|ve|ll|d|m)\b)", r"'"),  # Jane 's, don 't
        (r"(?<=s) ' (?=\w)", r"' "),  # players ' rights
        (r"(?<=\d) ([–/]) (?=\d)", r"\1"),  # 2000 – 2005
        (r'(?<![^\s(\[{–—])" ([^"]*?) "(?!\w)', r'"\1"'),  # pairs of double quotes
    ]
)


def detokenize_wikitext(text: str) -> str:
    """Natural text from WikiText's tokens, line by line.

    Exact for the marked signs: ``role @-@ playing`` -> ``role-playing``, ``1 @,@ 000`` -> ``1,000``, ``3 @.@ 5`` ->
    ``3.5``. Approximate for the rest, since WikiText does not say where spaces stood: those before closing punctuation
    and after opening brackets and currency signs go, paired double quotes close around their words, contractions
    (``Jane 's``) and plural possessives (``players '``) join, and so do dashes and slashes between digits. Single
    quotes, dashes between words and foreign conventions stay as they are, and so does ``<unk>``. The spaces at either
    end of a line go; the lines themselves stay. Byte and word counts change: say so beside any figure.
    """
    return "\n".join(_line(line) for line in text.split("\n"))


def _line(line: str) -> str:
    line = line.strip(" ")
    for pattern, replacement in _RULES:
        line = pattern.sub(replacement, line)
    return line
