"""Cutting of long texts at places where a reader would."""

from __future__ import annotations

from collections.abc import Iterator

from .splitting import TRAIN_SHARE, VALIDATION_SHARE

PIECE_LENGTH = 1 << 20
"""Characters; keeps the memory for one document's encoding small."""

_REACH = 8  # a cut may move by an eighth of the text or piece it is in


def pieces(text: str, length: int = PIECE_LENGTH) -> Iterator[str]:
    """The text in pieces of about ``length`` characters, or whole if it is no longer than that.

    The concatenation of the pieces is the text. Cuts are made after a blank line, else after a line, else after a
    space, else anywhere.
    """
    start = 0
    while len(text) - start > length:
        end = cut_near(text, start + length, length // _REACH)
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def cut_by_position(text: str) -> dict[str, str]:
    """The text's first 90 % as ``train``, the next 5 % as ``validation``, the rest as ``test``; cuts as in pieces."""
    reach = int(len(text) * (1 - TRAIN_SHARE)) // _REACH
    first = cut_near(text, int(len(text) * TRAIN_SHARE), reach)
    second = cut_near(text, int(len(text) * (TRAIN_SHARE + VALIDATION_SHARE)), reach)
    return {"train": text[:first], "validation": text[first:second], "test": text[second:]}


def cut_near(text: str, position: int, reach: int) -> int:
    """The best place to cut at or up to ``reach`` characters before ``position``: the end of a separator."""
    for separator in ("\n\n", "\n", " "):
        found = text.rfind(separator, max(0, position - reach), position)
        if found >= 0:
            return found + len(separator) if found + len(separator) <= position else position
    return position
