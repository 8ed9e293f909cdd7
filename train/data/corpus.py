"""What every text source promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from .errors import MissingSplitError
from .words import WordRule

SPLITS: tuple[str, ...] = ("train", "validation", "test")


# What to do where a corpus has no text for a split; for the others there is nothing but to name a text.
WITHOUT = {"validation": "; --trainer.limit_val_batches 0 trains without validation"}


class Corpus(ABC):
    """Documents in three splits.

    Splits are looked up when asked for, not before: a corpus with nothing but a test split serves for testing.

    Attributes:
        name: what a passport calls the corpus.
        word_rule: how its words are counted.
    """

    name: str
    word_rule: WordRule

    @abstractmethod
    def documents(self, split: str) -> Iterator[str]:
        """The documents of a split, in a fixed order, read anew at each call; none is empty.

        Raises:
            MissingSplitError: it is known that there is no text for the split.
            CorpusError: the text is unreadable, or out of reach, so that nothing is known about the split.
        """

    def has(self, split: str) -> bool:
        """Whether there is text for a split; found out by reading its first document.

        Raises:
            CorpusError: it cannot be found out, as without a connection.
        """
        try:
            return next(self.documents(split), None) is not None
        except MissingSplitError:
            return False

    @abstractmethod
    def stamp(self, split: str) -> dict[str, object] | None:
        """A cheap identity of the split's input, such as paths with size and time of change; None if there is none.

        Equal stamps mean equal documents, in the sense in which build tools trust a file's time and size.
        """
