"""Number schemes: how a number is cut into groups of digits, and which groups carry their magnitude."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ..errors import nearest, require

DEFAULT_GROUP = 3
GROUPS = (1, 2, 3)


@dataclass(frozen=True)
class NumberScheme:
    """What tells one scheme from another.

    Args:
        name: as users write it.
        cut: ``none`` leaves digits to BPE, ``digits`` makes every digit a group, ``left`` groups every run of digits
            from its left, ``place`` integers from the right and what follows a point from the left.
        marker: ``none``; ``fused`` makes one token of a group and its magnitude, ``suffix`` one of each.
    """

    name: str
    cut: Literal["none", "digits", "left", "place"]
    marker: Literal["none", "fused", "suffix"] = "none"

    @property
    def takes_group(self) -> bool:
        """Whether the group size makes a difference."""
        return self.cut in ("left", "place")


_SCHEMES: Mapping[str, NumberScheme] = MappingProxyType(
    {
        scheme.name: scheme
        for scheme in (
            NumberScheme("bpe", "none"),
            NumberScheme("digits", "digits"),
            NumberScheme("l2r3", "left"),
            NumberScheme("r2l3", "place"),
            NumberScheme("triadic", "place", "fused"),
            NumberScheme("triadic_suffix", "place", "suffix"),
        )
    }
)

NUMBER_SCHEMES: tuple[str, ...] = tuple(_SCHEMES)
"""``bpe``: whatever byte-level BPE learns. ``digits``: one token a digit. ``l2r3``: groups of three from the left.
``r2l3``: groups of three from the right, fractions from the point. ``triadic``: as ``r2l3``, a group and its magnitude
one token. ``triadic_suffix``: as ``r2l3``, the magnitude a token after the group. The 3 is the default group size."""


def number_scheme(numbers: str, group: int = DEFAULT_GROUP, *, pad_fraction: bool = False) -> NumberScheme:
    """The scheme of this name.

    Raises:
        ArgumentError: there is none; ``group`` is not 1, 2 or 3, or makes no difference to the scheme;
            ``pad_fraction`` beside a scheme without magnitudes.
    """
    known = isinstance(numbers, str) and numbers in _SCHEMES
    require(known, "numbers", "one of " + ", ".join(nearest(str(numbers), NUMBER_SCHEMES)), numbers)
    scheme = _SCHEMES[numbers]
    if scheme.takes_group:
        valid = isinstance(group, int) and not isinstance(group, bool) and group in GROUPS
        require(valid, "group", "1, 2 or 3 digits", group)
    else:
        expected = f"{DEFAULT_GROUP}, its default, since numbers={numbers!r} has no groups to size"
        require(group == DEFAULT_GROUP, "group", expected, group)
    require(isinstance(pad_fraction, bool), "pad_fraction", "true or false", pad_fraction)
    if pad_fraction:
        expected = f"false, since numbers={numbers!r} marks no magnitudes (triadic and triadic_suffix do)"
        require(scheme.marker != "none", "pad_fraction", expected, pad_fraction)
    return scheme
