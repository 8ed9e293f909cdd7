"""The user's own text files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from .articles import is_marked, marked_articles
from .corpus import WITHOUT, Corpus, CorpusError, MissingSplitError
from .reading import PACKED, file_stamp, read_lines, read_text
from .words import WordRule

PIECE_LENGTH = 1 << 20
"""Characters; keeps the memory for one document's encoding small."""

_REACH = 8  # a cut may move by an eighth of the text or piece it is in


def pieces(text: str, length: int = PIECE_LENGTH) -> Iterator[str]:
    """The text in pieces of about ``length`` characters, or whole if it is no longer than that.

    The concatenation of the pieces is the text. Cuts are made after a blank line, else after a line, else after a
    space, else anywhere.
    """
    start = 0
    while len(text) - start > length:
        end = cut_near(text, start + length, length // _REACH)
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def cut_by_position(text: str) -> dict[str, str]:
    """The text's first 90 % as ``train``, the next 5 % as ``validation``, the rest as ``test``; cuts as in pieces."""
    reach = int(len(text) * (1 - TRAIN_SHARE)) // _REACH
    first = cut_near(text, int(len(text) * TRAIN_SHARE), reach)
    second = cut_near(text, int(len(text) * (TRAIN_SHARE + VALIDATION_SHARE)), reach)
    return {"train": text[:first], "validation": text[first:second], "test": text[second:]}


def cut_near(text: str, position: int, reach: int) -> int:
    """The best place to cut at or up to ``reach`` characters before ``position``: the end of a separator."""
    for separator in ("\n\n", "\n", " "):
        found = text.rfind(separator, max(0, position - reach), position)
        if found >= 0:
            return found + len(separator) if found + len(separator) <= position else position
    return position


TRAIN_SHARE = 0.90
VALIDATION_SHARE = 0.05


def split_of(key: str) -> str:
    """``train`` (about 90 %), ``validation`` or ``test`` (about 5 % each), by a hash of ``key`` alone.

    A document keeps its split whatever else is in the corpus and in whatever order files are listed.
    """
    fraction = int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest()[:8], "big") / 2**64
    if fraction < TRAIN_SHARE:
        return "train"
    return "validation" if fraction < TRAIN_SHARE + VALIDATION_SHARE else "test"


TEXT_SUFFIXES = (".txt", ".text", ".md", ".rst", ".raw", ".tokens")
_SPLIT_FILE = re.compile(r"(?:wiki\.)?(train|valid|validation|val|dev|test)\.", re.IGNORECASE)
_SPLIT_NAMES = {"valid": "validation", "val": "validation", "dev": "validation"}


class TextFiles(Corpus):
    """Text files of the user's, UTF-8, plain or packed (.xz, .gz, .bz2).

    One of three forms:

    - explicit files, a mapping from split to path; what is not named is not there;
    - a folder, searched through for .txt, .text, .md, .rst, .raw and .tokens; where it holds a ``train.*`` file at its
      top, that and ``valid.*`` (``validation``, ``val``, ``dev``) and ``test.*`` are the splits, otherwise every file
      is a document and goes to a split by a hash of its text, about 90/5/5;
    - a single file: its first 90 % (by characters) train, the next 5 % validation, the rest test, cut at blank lines
      where there are any. It is held in memory for that.

    A file that begins with ``<doc id=...>`` holds articles between such lines and ``</doc>``: each is a document, and
    goes to a split by the hash of its text, also in a single file. A document longer than about a million characters is
    taken in pieces, cut at blank lines.

    Args:
        source: a path, or a mapping from split to path.
    """

    word_rule: WordRule = "whitespace"

    def __init__(self, source: Path | Mapping[str, Path]) -> None:
        self.source = source
        first = source if isinstance(source, Path) else next(iter(source.values()))
        self.name = f"files:{first.name}"

    def documents(self, split: str) -> Iterator[str]:
        """The documents of a split, in the order of the files' paths."""
        explicit = self._explicit()
        if explicit is not None:
            if split not in explicit:
                there = ", ".join(explicit)
                raise MissingSplitError(f"no {split} text: the source names {there} only{WITHOUT.get(split, '')}")
            yield from _file_documents(explicit[split])
            return
        assert isinstance(self.source, Path)
        if self.source.is_file() and not is_marked(_first_line(self.source)):
            yield from pieces(cut_by_position(read_text(self.source))[split])
            return
        for file in self._files():
            whole = not is_marked(_first_line(file))
            if whole:
                text = read_text(file)
                if split_of(text) == split:
                    yield from pieces(text)
            else:
                yield from (text for text in marked_articles(read_lines(file)) if split_of(text) == split)

    def stamp(self, split: str) -> dict[str, object]:
        """Paths, sizes and times of the files that are read."""
        explicit = self._explicit()
        if explicit is not None:
            return {"file": file_stamp(explicit[split]) if split in explicit else None}
        return {"files": [file_stamp(file) for file in self._files()], "split": split}

    def _explicit(self) -> dict[str, Path] | None:
        """Split -> file, where files are named by split."""
        if not isinstance(self.source, Path):
            return dict(self.source)
        if not self.source.is_dir():
            return None
        named: dict[str, Path] = {}
        others = []
        for file in sorted(p for p in self.source.iterdir() if _is_text(p)):
            match = _SPLIT_FILE.match(file.name)
            if match is None:
                others.append(file.name)
                continue
            name = match[1].lower()
            split = _SPLIT_NAMES.get(name, name)
            if split in named:
                raise CorpusError(f"{self.source}: both {named[split].name} and {file.name} could be the {split} split")
            named[split] = file
        if "train" not in named:
            return None
        if others:
            raise CorpusError(
                f"{self.source}: has a train file and also {', '.join(others[:5])}; name the files of each split"
            )
        return named

    def _files(self) -> list[Path]:
        assert isinstance(self.source, Path)
        if self.source.is_file():
            return [self.source]
        files = [path for path in self.source.rglob("*") if _is_text(path)]
        if not files:
            raise CorpusError(f"{self.source}: no text file ({', '.join(TEXT_SUFFIXES)}, also packed) in this folder")
        return sorted(files, key=lambda path: path.relative_to(self.source).as_posix())  # type: ignore[arg-type]


def _file_documents(path: Path) -> Iterator[str]:
    if is_marked(_first_line(path)):
        yield from marked_articles(read_lines(path))
    else:
        yield from pieces(read_text(path))


def _first_line(path: Path) -> str:
    return next(iter(read_lines(path)), "")


def _is_text(path: Path) -> bool:
    name = path.name.lower()
    for packed in PACKED[1:]:
        name = name.removesuffix(packed)
    return path.is_file() and not name.startswith(".") and name.endswith(TEXT_SUFFIXES)
