"""Where numbers are cut, written to be read: the specification that the fast tokenizer pipeline is tested against."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import require
from .magnitudes import Magnitudes
from .schemes import DEFAULT_GROUP, NumberScheme, number_scheme

Piece = tuple[str, str]
"""Characters of the text, and the name of their magnitude marker or an empty string."""

_CHAIN = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_ONE_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_GLUE = frozenset(string.ascii_letters + "_.")


class Chain(NamedTuple):
    """Runs of ASCII digits with single points between them, as long as it gets, and the character before it."""

    text: str
    before: str

    @property
    def is_number(self) -> bool:
        """Whether this is one number, whose groups have magnitudes: one run, or two with a point between them.

        Not so a longer chain (1.2.3, 192.168.0.1), and whatever hangs on an ASCII letter or an underscore (v1.2, B52,
        0x10, 1e10) or on a point without a digit before it (.5, which may be a fraction of anything). These are cut
        into plain groups, a run after a point from its left and any other from its right. Signs, currency, thousands
        separators and units are text; so are the digits of other scripts.
        """
        return self.text.count(".") <= 1 and self.before not in _GLUE


def chains(text: str) -> Iterator[Chain]:
    """The chains of digits in a text, in order."""
    for match in _CHAIN.finditer(text):
        start = match.start()
        yield Chain(match.group(), text[start - 1] if start else "")


def segment_number(
    digits: str, scheme: str, *, group: int = DEFAULT_GROUP, pad_fraction: bool = False
) -> list[tuple[str, str]]:
    """Cut a number into its groups, each with the name of its magnitude marker.

    ``segment_number("12345678", "triadic") == [("12", "m"), ("345", "k"), ("678", "")]`` and
    ``segment_number("1.12345678", "triadic") == [("1", ""), (".", ""), ("123", "p"), ("456", "pp"), ("78", "ppp")]``.
    Every group keeps its own digits, leading and trailing zeros too, so the texts join to the number. Digits further
    from the point than the markers reach (18 before and 15 after it, with groups of three) are grouped in the same way
    and have no marker. For ``bpe`` a run of digits is one piece, whatever BPE makes of it.

    Args:
        digits: ASCII digits, with at most one point between two of them.
        scheme: one of ``NUMBER_SCHEMES``.
        group: digits in a group, 1 to 3; see :class:`Magnitudes` for the markers' names.
        pad_fraction: fill the last marked group of a fraction up with zeros, as the paper does: ``78`` becomes
            ``780``. This loses how many digits the number had.

    Returns:
        (text, marker) pairs in order; the point is a piece of its own; no marker is an empty string.

    Raises:
        ArgumentError: ``digits`` is not a number; no such scheme, or it does not take the options.
    """
    valid = isinstance(digits, str) and _ONE_NUMBER.fullmatch(digits) is not None
    require(valid, "digits", "ASCII digits with at most one point between two of them", digits)
    return segment_chain(
        Chain(digits, ""), number_scheme(scheme, group, pad_fraction=pad_fraction), group, pad_fraction
    )


def segment_chain(chain: Chain, scheme: NumberScheme, group: int, pad_fraction: bool) -> list[Piece]:
    """Cut a chain of digits, a number or not; see :func:`segment_number`. Points are pieces of their own."""
    first, *others = chain.text.split(".")
    if chain.is_number:
        pieces = _integer(first, scheme, group)
    else:
        pieces = segment_plain(first, scheme, group, after_point=chain.before == ".")
    for run in others:
        pieces.append((".", ""))
        if chain.is_number:
            pieces += _fraction(run, scheme, group, pad_fraction)
        else:
            pieces += segment_plain(run, scheme, group, after_point=True)
    return pieces


def segment_plain(run: str, scheme: NumberScheme, group: int, *, after_point: bool) -> list[Piece]:
    """Cut a run of digits that is not part of a number: the same groups without markers."""
    if scheme.cut == "none":
        return [(run, "")]
    if scheme.cut == "digits":
        return [(digit, "") for digit in run]
    texts = _from_left(run, group) if scheme.cut == "left" or after_point else _from_right(run, group)
    return [(text, "") for text in texts]


def _integer(digits: str, scheme: NumberScheme, group: int) -> list[Piece]:
    pieces = segment_plain(digits, scheme, group, after_point=False)
    if scheme.marker == "none":
        return pieces
    markers = ("", *Magnitudes(group).integer)
    from_right = [(text, markers[i] if i < len(markers) else "") for i, (text, _) in enumerate(reversed(pieces))]
    return from_right[::-1]


def _fraction(digits: str, scheme: NumberScheme, group: int, pad: bool) -> list[Piece]:
    pieces = segment_plain(digits, scheme, group, after_point=True)
    if scheme.marker == "none":
        return pieces
    markers = Magnitudes(group).fraction
    marked = [(text, markers[j] if j < len(markers) else "") for j, (text, _) in enumerate(pieces)]
    return [(text.ljust(group, "0") if pad and marker else text, marker) for text, marker in marked]


def _from_left(digits: str, group: int) -> list[str]:
    return [digits[i : i + group] for i in range(0, len(digits), group)]


def _from_right(digits: str, group: int) -> list[str]:
    head = len(digits) % group
    return ([digits[:head]] if head else []) + _from_left(digits[head:], group)
