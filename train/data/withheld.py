"""A part of the training text kept back, to choose settings by."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from functools import cached_property

from ...errors import require
from .corpus import Corpus, CorpusError, MissingSplitError

# What parts this choice from that of a split, which is made by a hash of the text as well.
_SALT = b"tuning\n"


class Withheld(Corpus):
    """A corpus whose validation split is a share of another one's training documents, which training goes without.

    Of n documents the ceil(``fraction`` n) with the smallest hash of their text are kept back, so that equal documents
    stay together and the order of documents has no say. The other corpus's validation and test splits are not there:
    whatever is chosen by this one's validation loss has not seen them.

    Args:
        corpus: with at least two different training documents.
        fraction: the share, above 0 and below 1.

    Raises:
        ArgumentError: ``fraction`` is out of range.
    """

    def __init__(self, corpus: Corpus, fraction: float) -> None:
        require(0 < fraction < 1, "tuning_fraction", "null or a share between 0 and 1", fraction)
        self.corpus = corpus
        self.fraction = fraction
        self.name = f"{corpus.name}, {100 * fraction:g} % of train withheld"
        self.word_rule = corpus.word_rule

    def documents(self, split: str) -> Iterator[str]:
        """The documents of a split, in the order of the other corpus's training split."""
        if split == "test":
            raise MissingSplitError(f"{self.name}: there is no test split beside a validation split to tune by")
        wanted = split == "validation"
        for document in self.corpus.documents("train"):
            if (_rank(document) <= self._last) == wanted:
                yield document

    def stamp(self, split: str) -> dict[str, object] | None:
        """That of the other corpus's training split, and the share."""
        stamp = self.corpus.stamp("train")
        return None if stamp is None else {"train": stamp, "withheld": self.fraction, "split": split}

    @cached_property
    def _last(self) -> bytes:
        """The largest hash of a document that is kept back."""
        ranks = sorted(map(_rank, self.corpus.documents("train")))
        last = ranks[math.ceil(self.fraction * len(ranks)) - 1]
        if last == ranks[-1]:
            raise CorpusError(
                f"{self.name}: nothing would be left to train on, of {len(ranks)} training documents; "
                "take a smaller share, or a text of more documents"
            )
        return last


def _rank(document: str) -> bytes:
    return hashlib.sha256(_SALT + document.encode("utf-8")).digest()
