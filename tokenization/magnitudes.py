"""Magnitude markers: their names, and the characters that stand for them inside a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from .schemes import NumberScheme

# Control characters, which are one byte each, so that every marker has a token in a byte-level vocabulary from the
# start. A control character in a text is taken out before markers are put in, as a token of its own, so the two never
# meet. Tab, newline and carriage return are too common in text to be used; NUL comes last.
_CONTROLS = "".join(map(chr, [*range(0x0E, 0x20), *range(0x01, 0x09), 0x7F, 0x0B, 0x0C, 0x00]))

# group size -> markers of integers, markers of fractions
_COUNTS: Mapping[int, tuple[int, int]] = {3: (5, 5), 2: (8, 8), 1: (15, 15)}

_TRIADIC_INTEGER = ("k", "m", "b", "t", "q")


@dataclass(frozen=True)
class Magnitudes:
    """The markers for groups of ``group`` digits.

    A marker names the weight of its group's last digit. Integers are grouped from the right: the first group has no
    marker, group i + 1 has weight ``10^(group * i)``. Fractions are grouped from the point: group j has weight
    ``10^(-group * j)``, that of a full group also where the last one is shorter.

    ===== ==================================== ======================================== ==================
    group integer markers                      fraction markers                         digits they reach
    ===== ==================================== ======================================== ==================
    3     k m b t q (10^3 ... 10^15)           p pp ppp pppp ppppp (10^-3 ... 10^-15)   18 before, 15 after
    2     e2 e4 ... e16                        e-2 e-4 ... e-16                         18 before, 16 after
    1     e1 e2 ... e15                        e-1 e-2 ... e-15                         16 before, 15 after
    ===== ==================================== ======================================== ==================
    """

    group: int

    @property
    def integer(self) -> tuple[str, ...]:
        """Names of the integer markers, from the second group from the right on."""
        if self.group == 3:
            return _TRIADIC_INTEGER
        return tuple(f"e{self.group * i}" for i in range(1, _COUNTS[self.group][0] + 1))

    @property
    def fraction(self) -> tuple[str, ...]:
        """Names of the fraction markers, from the first group after the point on."""
        count = _COUNTS[self.group][1]
        if self.group == 3:
            return tuple("p" * j for j in range(1, count + 1))
        return tuple(f"e-{self.group * j}" for j in range(1, count + 1))

    @cached_property
    def characters(self) -> dict[str, str]:
        """Marker name -> its character, integer markers first; the position plus one is the magnitude's index."""
        names = (*self.integer, *self.fraction)
        return dict(zip(names, _CONTROLS[: len(names)], strict=True))


def magnitudes_of(scheme: NumberScheme, group: int) -> Magnitudes | None:
    """The markers that a scheme uses, or None."""
    return None if scheme.marker == "none" else Magnitudes(group)
