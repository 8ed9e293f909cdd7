"""The number probe's strings: arithmetic problems, each a line of text that ends in its answer."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from ..errors import require

KINDS = MappingProxyType(
    {
        "addition": ("no carry", "carry", "carry, longer answer"),
        "subtraction": ("no borrow", "borrow"),
        "comparison": ("integers", "longer fraction larger", "longer fraction smaller"),
        "rounding": ("down", "up", "up, carry"),
        "magnitude": ("any",),
    }
)
"""Operation -> the kinds of its problems. What is hard in a kind: a carry that runs to the left through the answer; an
answer longer than its addends, in which groups counted from the left lose their place; 9.9 against 9.11."""

OPERATIONS: tuple[str, ...] = tuple(KINDS)


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        operation: one of ``OPERATIONS``.
        prompt: the line up to the sign ``=``, such as ``123 + 4567 =``.
        answer: what follows it, with the space before it: `` 4690``.
        digits: of the longest operand; of its integer part in a comparison.
        carries: places that carry (addition, rounding up) or borrow (subtraction); 0 elsewhere.
        kind: one of ``KINDS[operation]``.
        key: equal for problems that are the same but for the order of interchangeable operands.
    """

    operation: str
    prompt: str
    answer: str
    digits: int
    carries: int
    kind: str
    key: str

    @property
    def text(self) -> str:
        """The whole line."""
        return f"{self.prompt}{self.answer}\n"


def addition(a: int, b: int) -> Problem:
    """``a + b = `` for a, b at least 0."""
    low, high = sorted((a, b))
    total, digits, carries = a + b, len(str(high)), _carries(a, b)
    longer = len(str(total)) > digits
    kind = ("carry, longer answer" if longer else "carry") if carries else "no carry"
    return Problem("addition", f"{a} + {b} =", f" {total}", digits, carries, kind, f"+ {low} {high}")


def subtraction(a: int, b: int) -> Problem:
    """``a - b = `` for a at least b, b at least 0: the answer has no sign."""
    require(a >= b, "a", f"at least b = {b}", a)
    borrows = _carries(a - b, b)
    kind = "borrow" if borrows else "no borrow"
    return Problem("subtraction", f"{a} - {b} =", f" {a - b}", len(str(a)), borrows, kind, f"- {a} {b}")


def comparison(left: str, right: str) -> Problem:
    """``left ? right = `` with the answer ``<`` or ``>``, for two different values, at least 0, written as decimals."""
    require(Decimal(left) != Decimal(right), "right", f"a value other than {left}", right)
    answer = " <" if Decimal(left) < Decimal(right) else " >"
    (whole, _, fraction), (other, _, other_fraction) = left.partition("."), right.partition(".")
    if not fraction and not other_fraction:
        kind = "integers"
    else:
        left_longer = len(fraction) > len(other_fraction)
        kind = f"longer fraction {'larger' if left_longer == (answer == ' >') else 'smaller'}"
    low, high = sorted((left, right))
    digits = max(len(whole), len(other))
    return Problem("comparison", f"{left} ? {right} =", answer, digits, 0, kind, f"? {low} {high}")


def rounding(a: int, unit: int) -> Problem:
    """``round a to unit = ``: to the nearest multiple of a power of ten, half of it upwards."""
    rest = a % unit
    up = 2 * rest >= unit
    carries = _carries(a - rest, unit) if up else 0
    kind = ("up, carry" if carries else "up") if up else "down"
    answer = a - rest + (unit if up else 0)
    return Problem("rounding", f"round {a} to {unit} =", f" {answer}", len(str(a)), carries, kind, f"~ {a} {unit}")


def magnitude(a: int) -> Problem:
    """``magnitude a = ``: the largest power of ten that is not above a, for a at least 1."""
    digits = len(str(a))
    return Problem("magnitude", f"magnitude {a} =", f" {10 ** (digits - 1)}", digits, 0, "any", f"^ {a}")


def _carries(a: int, b: int) -> int:
    """Places that carry in a + b: each takes ten from its place and gives one to the next, nine off the digit sum."""
    return (_digit_sum(a) + _digit_sum(b) - _digit_sum(a + b)) // 9


def _digit_sum(a: int) -> int:
    return sum(map(int, str(a)))
