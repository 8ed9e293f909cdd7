"""What a split's text is, before any tokenizer."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from ..arguments import say
from ..storage import read_json, write_json
from .cache import fingerprint
from .corpus import Corpus, MissingSplitError
from .words import count_words

FACTS_VERSION = 1


@dataclass(frozen=True)
class TextFacts:
    """A split's text in figures.

    Attributes:
        text_sha256: see :class:`TextHash`.
        documents, words, bytes: totals over the documents.
    """

    text_sha256: str
    documents: int
    words: int
    bytes: int


class TextHash:
    """SHA-256 over documents, each preceded by its length in bytes as 8 bytes, big-endian.

    The length tells ("ab", "c") from ("a", "bc"), which no separator in the text itself could.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, document: bytes) -> None:
        """Take in the next document, as UTF-8."""
        self._hash.update(len(document).to_bytes(8, "big"))
        self._hash.update(document)

    def hexdigest(self) -> str:
        """The hash of all documents so far."""
        return self._hash.hexdigest()


def text_facts(corpus: Corpus, split: str, cache: Path) -> TextFacts:
    """The facts of a split, read from its text or, where the corpus has a stamp of its input, remembered by that.

    Raises:
        MissingSplitError: there is no text for the split.
        CorpusError: the text is unreadable.
    """
    stamp = corpus.stamp(split)
    memo = None
    if stamp is not None:
        key = fingerprint({"version": FACTS_VERSION, "corpus": corpus.name, "rule": corpus.word_rule, "stamp": stamp})
        memo = cache / "texts" / f"{key}.json"
        known = read_json(memo)
        if known is not None:
            return TextFacts(**known)
    say(f"{corpus.name}: reading the {split} split")
    facts = _measure(corpus, split)
    if memo is not None:
        memo.parent.mkdir(parents=True, exist_ok=True)
        write_json(memo, asdict(facts))
    return facts


def _measure(corpus: Corpus, split: str) -> TextFacts:
    text_hash = TextHash()
    documents = words = size = 0
    for document in corpus.documents(split):
        encoded = document.encode("utf-8")
        text_hash.add(encoded)
        documents += 1
        words += count_words(document, corpus.word_rule)
        size += len(encoded)
    if documents == 0:
        raise MissingSplitError(
            f"the {split} split of {corpus.name} holds no text; name a file for it or take a longer text"
        )
    return TextFacts(text_hash.hexdigest(), documents, words, size)
