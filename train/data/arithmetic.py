"""Generated arithmetic as a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

from ...errors import require
from ...tokenization.arithmetic_problems import DEFAULT_MIX, GENERATOR_VERSION, MOST_DIGITS, ArithmeticProblems
from .corpus import Corpus, at_least

LINES = 16
"""Problems in a document."""


@dataclass(frozen=True)
class ArithmeticSettings:
    """What ``source: arithmetic`` holds; see :class:`ArithmeticProblems` for what is drawn.

    Args:
        train_problems: lines of the training split.
        test_problems: lines of the validation split, and of the test split.
        train_digits: digits of the longest operand; longer ones are left to the number probe.
        mix: operation (addition, subtraction, comparison, rounding, magnitude) -> weight.
        problem_seed: of the problems; the order of training follows ``seed_everything`` as with any text.

    Raises:
        ArgumentError: a value is out of range.
    """

    train_problems: int = 200_000
    test_problems: int = 4_000
    train_digits: int = 4
    mix: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_MIX))
    problem_seed: int = 0

    def __post_init__(self) -> None:
        at_least("train_problems", self.train_problems, 1)
        at_least("test_problems", self.test_problems, 1)
        valid = 2 <= self.train_digits <= MOST_DIGITS
        require(valid, "train_digits", f"an integer from 2 to {MOST_DIGITS}", self.train_digits)
        self.problems()

    def problems(self) -> ArithmeticProblems:
        return ArithmeticProblems(self.problem_seed, self.train_digits, self.mix)

    def identity(self) -> dict[str, object]:
        """What decides the text, JSON-ready."""
        return {"generator": GENERATOR_VERSION, **asdict(self)}


class Arithmetic(Corpus):
    """Arithmetic problems, one a line, 16 lines a document; no line of one split stands in another.

    Args:
        settings: how many problems and which.
    """

    name = "arithmetic"

    def __init__(self, settings: ArithmeticSettings) -> None:
        self.settings = settings

    def documents(self, split: str) -> Iterator[str]:
        """The problems of a split in the order of their index, generated as they are read."""
        problems = self.settings.problems()
        count = self.settings.train_problems if split == "train" else self.settings.test_problems
        for first in range(0, count, LINES):
            yield "".join(problems.problem(split, i).text for i in range(first, min(first + LINES, count)))

    def stamp(self, split: str) -> dict[str, object]:
        return {**self.settings.identity(), "split": split}
