"""WikiText-2 and WikiText-103."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from .corpus import SPLITS, WITHOUT, Corpus, CorpusError, MissingSplitError, WordRule
from .files import PACKED, file_stamp, read_lines, wikitext_articles
from .hub import hub_offline, hub_rows

# In this order: the marked signs first, since they are exact; spacing that needs a guess after it.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r" @([-,.])@ ", r"\1"),
        (r" ([,.;:!?%)\]}])(?=\s|$)", r"\1"),  # before closing punctuation
        (r"(?<!\S)([(\[{$£€¥]) (?=\S)", r"\1"),  # after opening brackets and currency signs
        (r"(?<=\w) '(?=(?:s|t|re|ve|ll|d|m)\b)", r"'"),  # Jane 's, don 't
        (r"(?<=s) ' (?=\w)", r"' "),  # players ' rights
        (r"(?<=\d) ([–/]) (?=\d)", r"\1"),  # 2000 – 2005
        (r'(?<![^\s(\[{–—])" ([^"]*?) "(?!\w)', r'"\1"'),  # pairs of double quotes
    ]
)


def detokenize_wikitext(text: str) -> str:
    """Natural text from WikiText's tokens, line by line.

    Exact for the marked signs: ``role @-@ playing`` -> ``role-playing``, ``1 @,@ 000`` -> ``1,000``, ``3 @.@ 5`` ->
    ``3.5``. Approximate for the rest, since WikiText does not say where spaces stood: those before closing punctuation
    and after opening brackets and currency signs go, paired double quotes close around their words, contractions
    (``Jane 's``) and plural possessives (``players '``) join, and so do dashes and slashes between digits. Single
    quotes, dashes between words and foreign conventions stay as they are, and so does ``<unk>``. The spaces at either
    end of a line go; the lines themselves stay. Byte and word counts change: say so beside any figure.
    """
    return "\n".join(_line(line) for line in text.split("\n"))


def _line(line: str) -> str:
    line = line.strip(" ")
    for pattern, replacement in _RULES:
        line = pattern.sub(replacement, line)
    return line


WIKITEXT_NAMES = ("wikitext-2", "wikitext-103")

_SHORT = {"train": "train", "validation": "valid", "test": "test"}


class WikiText(Corpus):
    """Merity et al. 2016, arXiv:1609.07843. A document is an article, its spacing as published.

    A local copy under the folder ``$LMZOO_DATA`` comes first, looked up split by split: ``wikitext-103/`` (or
    ``wikitext-103-v1/``) with ``wiki.train.tokens`` or ``train.txt``, ``wikitext-103-raw/`` (or ``-raw-v1/``) with
    ``wiki.train.raw`` or ``train.txt``, each also packed (.xz, .gz, .bz2). A part of a split under another name is not
    taken for the split. Otherwise the hub's ``Salesforce/wikitext``, whose rows are lines with blank ones emptied;
    they are put together again to what the official file has. The hub has every split, so that one which cannot be had
    from there is out of reach, not missing. It counts as missing where there is a local copy of other splits and
    ``HF_HUB_OFFLINE=1`` says to do without the hub.

    Args:
        name: ``wikitext-2`` or ``wikitext-103``.
        raw: the form without ``<unk>``; tokenised all the same.
        detokenize: undo the spacing; see :func:`detokenize_wikitext`, which is approximate.
    """

    word_rule: WordRule = "whitespace+eol"

    def __init__(self, name: str, *, raw: bool = False, detokenize: bool = False) -> None:
        self.variant = name + ("-raw" if raw else "")
        self.name = self.variant + ("-detokenized" if detokenize else "")
        self.raw = raw
        self.detokenize = detokenize

    def documents(self, split: str) -> Iterator[str]:
        file = self.local_file(split)
        articles = wikitext_articles(read_lines(file) if file is not None else self._hub_lines(split))
        return map(detokenize_wikitext, articles) if self.detokenize else articles

    def stamp(self, split: str) -> dict[str, object] | None:
        """The local file's size and time; None for the hub's copy."""
        file = self.local_file(split)
        return None if file is None else {"file": file_stamp(file), "detokenize": self.detokenize}

    def local_file(self, split: str) -> Path | None:
        """The split's file under ``$LMZOO_DATA``, or None."""
        names = [name + packed for name in self._file_names(split) for packed in PACKED]
        candidates = (folder / name for folder in self._folders() for name in names)
        return next((path for path in candidates if path.is_file()), None)

    def _folders(self) -> list[Path]:
        root = os.environ.get("LMZOO_DATA")
        return [Path(root) / self.variant, Path(root) / f"{self.variant}-v1"] if root else []

    def _file_names(self, split: str) -> list[str]:
        short = _SHORT[split]
        return [f"wiki.{short}.{'raw' if self.raw else 'tokens'}", f"{short}.txt"]

    def _hub_lines(self, split: str) -> Iterator[str]:
        try:
            for row in hub_rows("Salesforce/wikitext", f"{self.variant}-v1", split):
                # The hub's copy empties blank lines; the official file has a space in them.
                yield (row if row.endswith("\n") else row + "\n") if row else " \n"
        except CorpusError as error:
            message = f"{self.variant}, split {split}: {self._looked_for(split)}; {error}"
            if self._is_local() and hub_offline():
                raise MissingSplitError(message + WITHOUT.get(split, "")) from error
            raise CorpusError(message) from error

    def _is_local(self) -> bool:
        """Whether there is a local copy of any split."""
        return any(self.local_file(split) is not None for split in SPLITS)

    def _looked_for(self, split: str) -> str:
        folders = self._folders()
        if not folders:
            return "LMZOO_DATA is not set, so no local copy was looked for"
        files = [file for folder in folders if folder.is_dir() for file in sorted(folder.iterdir())]
        present = ", ".join(f"{file.parent.name}/{file.name}" for file in files) or "nothing"
        return (
            f"no file {' or '.join(self._file_names(split))} (nor packed as {', '.join(PACKED[1:])}) in "
            f"{' or '.join(map(str, folders))} (there: {present})"
        )
