"""The user's own text files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from .articles import is_marked, marked_articles
from .corpus import WITHOUT, Corpus
from .errors import CorpusError, MissingSplitError
from .pieces import cut_by_position, pieces
from .reading import PACKED, file_stamp, read_lines, read_text
from .splitting import split_of
from .words import WordRule

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
