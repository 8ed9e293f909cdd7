"""One text after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .corpus import Corpus
from .errors import MissingSplitError


class Mixed(Corpus):
    """The documents of several corpora, those of the first one first; training takes its windows in random order.

    A split has the text of every corpus that has the split; it is missing where none has it. Words are counted by the
    last corpus's rule.

    Args:
        corpora: at least one.
    """

    def __init__(self, corpora: Sequence[Corpus]) -> None:
        self.corpora = list(corpora)
        self.name = "+".join(corpus.name for corpus in corpora)
        self.word_rule = self.corpora[-1].word_rule

    def documents(self, split: str) -> Iterator[str]:
        """The documents of a split, corpus by corpus."""
        there = [corpus for corpus in self.corpora if corpus.has(split)]
        if not there:
            raise MissingSplitError(f"none of {self.name} has a {split} split")
        for corpus in there:
            yield from corpus.documents(split)

    def stamp(self, split: str) -> dict[str, object] | None:
        """The stamps of all corpora; None where one has none."""
        stamps = [corpus.stamp(split) for corpus in self.corpora]
        return None if any(stamp is None for stamp in stamps) else {"corpora": stamps, "rule": self.word_rule}
