"""From what a configuration says to a corpus, also one that is made of others."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from ...errors import ArgumentError, nearest, require
from .arithmetic import Arithmetic, ArithmeticSettings
from .corpus import SPLITS, Corpus, CorpusError, MissingSplitError
from .files import TextFiles
from .hub import HubText
from .python_docs import PythonDocs
from .wikitext import WIKITEXT_NAMES, WikiText


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
        there = [corpus for corpus in self.corpora if corpus.has(split)]
        if not there:
            raise MissingSplitError(f"none of {self.name} has a {split} split")
        for corpus in there:
            yield from corpus.documents(split)

    def stamp(self, split: str) -> dict[str, object] | None:
        """The stamps of all corpora; None where one has none."""
        stamps = [corpus.stamp(split) for corpus in self.corpora]
        return None if any(stamp is None for stamp in stamps) else {"corpora": stamps, "rule": self.word_rule}


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


SOURCE_NAMES = ("python-docs", *WIKITEXT_NAMES, "arithmetic")
_EXPECTED = (
    "python-docs, wikitext-2, wikitext-103, arithmetic, arithmetic+ one of the others, a text file or folder, or "
    "hub:owner/name[:config]"
)
_WITH_ARITHMETIC = "arithmetic+"


def load_source(
    source: str | Mapping[str, str],
    *,
    raw: bool = False,
    detokenize: bool = False,
    arithmetic: ArithmeticSettings | None = None,
) -> Corpus:
    """The corpus that ``source`` names. Reads no text yet; that comes with the documents of a split.

    Args:
        source: ``python-docs``, ``wikitext-2``, ``wikitext-103``; ``arithmetic``, generated, or ``arithmetic+`` and the
            name of another source, the documents of both; ``hub:owner/name`` or ``hub:owner/name:config``; the path of
            a text file or folder, as it stands or below ``$LMZOO_DATA``; or a mapping from split (``train``,
            ``validation``, ``test``) to the path of its file.
        raw: WikiText without ``<unk>``.
        detokenize: WikiText with its spacing undone, approximately.
        arithmetic: how much arithmetic and which, where the source has it.

    Raises:
        ArgumentError: the source is unknown, a path does not exist, or an option does not fit the source.
    """
    generated = Arithmetic(arithmetic or ArithmeticSettings())
    if isinstance(source, str) and source.startswith(_WITH_ARITHMETIC):
        return Mixed([generated, load_source(source.removeprefix(_WITH_ARITHMETIC), raw=raw, detokenize=detokenize)])
    if isinstance(source, str) and source in WIKITEXT_NAMES:
        return WikiText(source, raw=raw, detokenize=detokenize)
    require(not raw, "raw", "false for a source other than WikiText", raw)
    require(not detokenize, "detokenize", "false for a source other than WikiText", detokenize)
    if isinstance(source, Mapping):
        return _explicit(source)
    require(isinstance(source, str) and bool(source), "source", _EXPECTED, source)
    if source == "python-docs":
        return PythonDocs()
    if source == "arithmetic":
        return generated
    if source.startswith("hub:"):
        return _hub(source)
    path = find_path(source)
    if path is None:
        hint = f" (there is no such path; did you mean {' or '.join(nearest(source, SOURCE_NAMES))}?)"
        raise ArgumentError("source", _EXPECTED + hint, source)
    return TextFiles(path)


def find_path(source: str) -> Path | None:
    """An existing file or folder: the path as it stands, else below ``$LMZOO_DATA``; None if there is neither."""
    candidates = [Path(source).expanduser()]
    if root := os.environ.get("LMZOO_DATA"):
        candidates.append(Path(root) / source)
    return next((path for path in candidates if path.exists()), None)


def _explicit(source: Mapping[str, str]) -> TextFiles:
    require(bool(source), "source", "a mapping from split to file with at least one split", dict(source))
    files = {}
    for split, name in source.items():
        require(split in SPLITS, "source", f"splits {', '.join(SPLITS)} as keys", split)
        path = find_path(name) if isinstance(name, str) else None
        if path is None or not path.is_file():
            raise ArgumentError(f"source.{split}", "the path of an existing text file", name)
        files[split] = path
    return TextFiles(files)


def _hub(source: str) -> HubText:
    match source.removeprefix("hub:").split(":"):
        case [path] | [path, ""] if path.count("/") <= 1 and path.strip("/"):
            return HubText(path)
        case [path, config] if path.count("/") <= 1 and path.strip("/"):
            return HubText(path, config)
        case _:
            raise ArgumentError("source", "hub:owner/name or hub:owner/name:config", source)
