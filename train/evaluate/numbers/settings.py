"""What a probe of a run's numbers asks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ....errors import require
from ....tokenization.arithmetic_problems import MOST_DIGITS
from ...data.corpus import SPLITS, Corpus, CorpusError
from ...data.sources import load_source
from ...data.wikitext import WIKITEXT_NAMES


@dataclass(frozen=True)
class NumbersSettings:
    """What is asked.

    Args:
        problems: of each operation, length and kind; 0 leaves arithmetic out.
        digits: of the longest operands; two more than ``data.arithmetic.train_digits`` by default.
        text: source of the text whose loss is taken apart, as ``data.source``; the run's own text by default. WikiText
            is detokenised.
        split: of the text, validation or test.
        seed: of the problems.
        batch_size: problems answered, or windows scored, together.

    Raises:
        ArgumentError: a value is out of range.
    """

    problems: int = 100
    digits: int | None = None
    text: str | None = None
    split: str = "test"
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        require(self.problems >= 0, "problems", "0 or more", self.problems)
        valid = self.digits is None or 1 <= self.digits <= MOST_DIGITS
        require(valid, "digits", f"null or from 1 to {MOST_DIGITS}", self.digits)
        require(self.split in SPLITS[1:], "split", " or ".join(SPLITS[1:]), self.split)
        require(self.seed >= 0, "seed", "0 or more", self.seed)
        require(self.batch_size >= 1, "batch_size", "1 or more", self.batch_size)

    @property
    def detokenize(self) -> bool:
        """Whether the text's spacing is undone: number schemes need numbers as they are written."""
        return self.text in WIKITEXT_NAMES

    def check_text(self) -> None:
        """Raise :class:`CorpusError` or :class:`ArgumentError` if the named text is not to be had."""
        if self.text is None:
            return
        corpus: Corpus = load_source(self.text, detokenize=self.detokenize)
        if not corpus.has(self.split):
            raise CorpusError(f"{corpus.name} has no {self.split} text to take the loss on numbers from")

    def as_words(self) -> list[str]:
        """The options of ``lmzoo numbers`` that ask for the same."""
        return [word for key, value in asdict(self).items() if value is not None for word in (f"--{key}", str(value))]

    def as_passport(self) -> dict[str, Any]:
        """What decides the figures."""
        return {key: value for key, value in asdict(self).items() if key != "batch_size"}
