"""Which arithmetic problems are drawn, as a pure function of a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

from ..errors import ArgumentError, nearest, require
from .arithmetic import KINDS, OPERATIONS, Problem, addition, comparison, magnitude, rounding, subtraction

GENERATOR_VERSION = 1
"""Part of every identity of generated text: to be raised with any change of what a seed draws."""

DEFAULT_MIX: Mapping[str, float] = MappingProxyType(
    {"addition": 0.45, "subtraction": 0.25, "comparison": 0.1, "rounding": 0.1, "magnitude": 0.1}
)

MOST_DIGITS = 18
TEST_SHARE = 0.10
VALIDATION_SHARE = 0.05

_LONGEST_FRACTION = 3
_ATTEMPTS = 200_000


class ArithmeticProblems:
    """Seeded problems in three splits that share none.

    A problem belongs to the split that a hash of its ``key`` alone gives it (85 % training, 5 % validation, 10 % test),
    so that no problem of one split stands in another, whatever the seed, the mix and the lengths; ``a + b`` and
    ``b + a`` are one problem. ``problem(split, index)`` is a pure function of (seed, split, index) and of nothing that
    was drawn before; it is the same in every process and Python version. Problems are drawn with replacement: those of
    few digits come again and again.

    Args:
        seed: at least 0.
        max_digits: operands have 1 to so many digits, every length as often, each operand's drawn for itself (rounding
            begins at 2); at most 18.
        mix: operation -> weight, normalised by their sum; operations not named are not drawn.

    Raises:
        ArgumentError: an argument is out of range.
    """

    def __init__(self, seed: int = 0, max_digits: int = 4, mix: Mapping[str, float] = DEFAULT_MIX) -> None:
        require(seed >= 0, "seed", "an integer of at least 0", seed)
        require(2 <= max_digits <= MOST_DIGITS, "max_digits", f"from 2 to {MOST_DIGITS}", max_digits)
        for name, weight in mix.items():
            expected = f"operations such as {', '.join(nearest(name, OPERATIONS))}"
            require(name in OPERATIONS, "mix", expected, name)
            require(weight >= 0, "mix", "weights of at least 0", weight)
        require(sum(mix.values()) > 0, "mix", "a weight above 0", dict(mix))
        self.seed = seed
        self.max_digits = max_digits
        self.mix = dict(mix)

    def problem(self, split: str, index: int) -> Problem:
        """The problem of that index in a split, ``train``, ``validation`` or ``test``."""
        label = f"{self.seed}/{split}/{index}"
        operation = self._operation(_Draws(label))
        for attempt in range(_ATTEMPTS):
            found = self._draw(operation, _Draws(f"{label}/{attempt}"), None)
            if found is not None and split_of_problem(found) == split:
                return found
        raise ArgumentError("max_digits", f"lengths at which {split} has a problem of {operation}", self.max_digits)

    def stratum(self, split: str, operation: str, digits: int, kind: str, count: int) -> list[Problem]:
        """Up to ``count`` different problems of one kind whose operands all have ``digits`` digits.

        Fewer where the split has no more, as among additions of one digit, or where they are too rare to be found
        among 200,000 draws. The length may exceed ``max_digits``.
        """
        require(operation in OPERATIONS, "operation", f"one of {', '.join(OPERATIONS)}", operation)
        require(kind in KINDS[operation], "kind", f"one of {'; '.join(KINDS[operation])}", kind)
        require(1 <= digits <= MOST_DIGITS, "digits", f"from 1 to {MOST_DIGITS}", digits)
        found: dict[str, Problem] = {}
        # a small space is searched through many times over, which finds all of it but for a chance of e^-40
        for index in range(min(_ATTEMPTS, 40 * 100**digits)):
            if len(found) >= count:
                break
            one = self._draw(operation, _Draws(f"{self.seed}/{split}/{operation}/{digits}/{index}"), digits)
            if one is not None and one.kind == kind and split_of_problem(one) == split:
                found.setdefault(one.key, one)
        return list(found.values())

    def _operation(self, draws: _Draws) -> str:
        point = draws.below(1 << 53) / (1 << 53) * sum(self.mix.values())
        for name, weight in self.mix.items():
            point -= weight
            if point < 0:
                return name
        return max(self.mix, key=lambda name: self.mix[name])  # rounding of the sum left the point at its very end

    def _draw(self, operation: str, draws: _Draws, digits: int | None) -> Problem | None:
        """One problem of an operation, its operands of ``digits`` digits or of any length; None for a failed draw."""
        length, other = (digits, digits) if digits is not None else (self._length(draws), self._length(draws))
        if operation == "addition":
            return addition(draws.number(length), draws.number(other))
        if operation == "subtraction":
            low, high = sorted((draws.number(length), draws.number(other)))
            return subtraction(high, low)
        if operation == "comparison":
            return _comparison(draws, length, other)
        if operation == "rounding":
            return rounding(draws.number(length), 10 ** (1 + draws.below(length - 1))) if length > 1 else None
        return magnitude(draws.number(length) or 1)

    def _length(self, draws: _Draws) -> int:
        return 1 + draws.below(self.max_digits)


def split_of_problem(problem: Problem) -> str:
    """The one split in which a problem may stand."""
    point = int.from_bytes(hashlib.blake2b(problem.key.encode(), digest_size=8).digest(), "big") / 2**64
    if point < TEST_SHARE:
        return "test"
    return "validation" if point < TEST_SHARE + VALIDATION_SHARE else "train"


def _comparison(draws: _Draws, length: int, other: int) -> Problem | None:
    """A third are integers; the others have one integer part and fractions of unlike lengths."""
    if draws.below(3) == 0:
        left, right = draws.number(length), draws.number(other)
        return comparison(str(left), str(right)) if left != right else None
    whole = draws.number(length)
    shorter = 1 + draws.below(_LONGEST_FRACTION - 1)
    longer = shorter + 1 + draws.below(_LONGEST_FRACTION - shorter)
    one = f"{whole}.{draws.below(10**shorter):0{shorter}d}"
    two = f"{whole}.{draws.below(10**longer):0{longer}d}"
    if one.ljust(len(two), "0") == two:
        return None
    return comparison(one, two) if draws.below(2) else comparison(two, one)


class _Draws:
    """Uniform integers from one 512-bit hash of a label.

    A random generator of the standard library would have to be seeded for every problem, which costs more, and its
    methods may change. Each draw takes the remainder of what is left; some 150 bits are used of 512, so that the bias
    of a remainder stays below 2^-100.
    """

    def __init__(self, label: str) -> None:
        self._left = int.from_bytes(hashlib.blake2b(label.encode()).digest(), "big")

    def below(self, n: int) -> int:
        """From 0 to n - 1."""
        self._left, drawn = divmod(self._left, n)
        return drawn

    def number(self, digits: int) -> int:
        """A number of so many digits; 0 has one."""
        if digits == 1:
            return self.below(10)
        smallest: int = 10 ** (digits - 1)
        return smallest + self.below(9 * smallest)
