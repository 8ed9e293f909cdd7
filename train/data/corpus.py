"""What every text source promises, what its text is in figures, and how words are counted."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ...errors import ArgumentError, ConfigError, require
from ...tokenization.bpe import check_vocab_size
from ...tokenization.schemes import number_scheme
from ..arguments import say
from ..storage import read_json, write_json
from .cache import fingerprint


class CorpusError(ConfigError):
    """A text, or a split of it, is missing, unreadable or too short; the message says what to do about it."""


class MissingSplitError(CorpusError):
    """The corpus has no text for this split, or none that can be reached."""


SPLITS: tuple[str, ...] = ("train", "validation", "test")

WordRule = Literal["whitespace", "whitespace+eol"]
"""``whitespace``: strings between ASCII white space. ``whitespace+eol``: the same and one for every newline, which
is how WikiText's published counts (245,569 words of test) and word-level perplexities are made."""

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
    word_rule: WordRule = "whitespace"

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

    def stamp(self, split: str) -> dict[str, object] | None:
        """A cheap identity of the split's input, such as paths with size and time of change; None if there is none.

        Equal stamps mean equal documents, in the sense in which build tools trust a file's time and size.
        """
        return None


def at_least(argument: str, value: int, least: int) -> int:
    """``value``, if it is an integer of at least ``least``; else :class:`ArgumentError`."""
    valid = isinstance(value, int) and not isinstance(value, bool) and value >= least
    require(valid, argument, f"an integer of at least {least}", value)
    return value


def given_or(value: int | None, default: int) -> int:
    """``value`` unless it is None; 0 is a value, if a wrong one."""
    return default if value is None else value


def check_tokenizer_choice(
    tokenizer: str | None, vocab_size: int | None, numbers: str, group: int, *, pad_fraction: bool, all_groups: bool
) -> None:
    """Raise :class:`ArgumentError` unless there is a tokenizer to train or, as far as the name tells, one to load."""
    number_scheme(numbers, group, pad_fraction=pad_fraction)
    if tokenizer is None:
        if vocab_size is None:
            raise ArgumentError("vocab_size", "an integer, unless tokenizer names a saved one", None)
        check_vocab_size(vocab_size, numbers, group, pad_fraction=pad_fraction, all_groups=all_groups)
        return
    require(numbers == "bpe", "numbers", "bpe (its default) beside tokenizer, which brings its own scheme", numbers)
    require(not all_groups, "all_groups", "false beside tokenizer, which brings its own vocabulary", all_groups)
    path = Path(tokenizer).expanduser()
    looks_local = path.exists() or tokenizer.startswith((".", "/", "~")) or tokenizer.count("/") > 1
    if looks_local and not (path / "tokenizer.json").is_file():
        raise ArgumentError("tokenizer", "a folder with a tokenizer.json, or a name on the hub", tokenizer)


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
        """Take in the next document, in UTF-8."""
        self._hash.update(len(document).to_bytes(8, "big"))
        self._hash.update(document)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class TextMeter:
    """Adds up the facts of a text, document by document."""

    def __init__(self, word_rule: WordRule) -> None:
        self.word_rule = word_rule
        self.documents = self.words = self.bytes = 0
        self._hash = TextHash()

    def add(self, document: str) -> None:
        encoded = document.encode("utf-8")
        self._hash.add(encoded)
        self.documents += 1
        self.words += count_words(document, self.word_rule)
        self.bytes += len(encoded)

    def facts(self) -> TextFacts:
        return TextFacts(self._hash.hexdigest(), self.documents, self.words, self.bytes)


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
    meter = TextMeter(corpus.word_rule)
    for document in corpus.documents(split):
        meter.add(document)
    facts = meter.facts()
    if facts.documents == 0:
        raise MissingSplitError(
            f"the {split} split of {corpus.name} holds no text; name a file for it or take a longer text"
        )
    if memo is not None:
        memo.parent.mkdir(parents=True, exist_ok=True)
        write_json(memo, asdict(facts))
    return facts


def count_words(text: str, rule: WordRule) -> int:
    """The number of words in a text."""
    # bytes.split() parts at ASCII white space alone, str.split() would also part at no-break spaces.
    words = len(text.encode("utf-8").split())
    return words + text.count("\n") if rule == "whitespace+eol" else words
