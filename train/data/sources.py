"""From what a configuration says to a corpus."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...errors import ArgumentError, nearest, require
from .arithmetic import Arithmetic, ArithmeticSettings
from .corpus import SPLITS, Corpus, MissingSplitError
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
