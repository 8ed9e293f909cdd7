"""What every text source promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from ...errors import ArgumentError, ConfigError, require
from ...tokenization.bpe import check_vocab_size
from ...tokenization.schemes import number_scheme
from .words import WordRule


class CorpusError(ConfigError):
    """A text, or a split of it, is missing, unreadable or too short; the message says what to do about it."""


class MissingSplitError(CorpusError):
    """The corpus has no text for this split, or none that can be reached."""


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
