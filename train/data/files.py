"""Text files: reading, the documents in them, and a corpus of the user's own."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .corpus import WITHOUT, Corpus, CorpusError, MissingSplitError

_UNPACKED: dict[str, Callable[[Path], Any]] = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}
PACKED = ("", *_UNPACKED)
"""Suffixes of a text file's name that are understood after its own."""


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file with their ends as they stand (CRLF stays CRLF); the join of all lines is the file.

    Lines end at a newline byte only, not at the further line separators that Unicode knows.

    Raises:
        CorpusError: the file cannot be read, is damaged, or is not UTF-8.
    """
    done = 0
    try:
        with io.BufferedReader(_UNPACKED.get(path.suffix, io.FileIO)(path)) as file:
            for line in file:
                yield line.decode("utf-8")
                done += 1
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: line {done + 1} is not UTF-8 ({error.reason}); convert the file first") from error
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise CorpusError(f"{path}: cannot be read ({error})") from error


def read_text(path: Path) -> str:
    """The whole of a UTF-8 file; see :func:`read_lines`."""
    return "".join(read_lines(path))


def file_stamp(path: Path) -> list[object]:
    """Path, size and time of change of a file, as build tools use them to tell whether it is still the same."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


_TITLE = re.compile(r" = [^=\s].* = \r?\n")
_MARKER = re.compile(r"<doc id=[^>\n]*>\r?\n?")
_END_MARKER = re.compile(r"</doc>\r?\n?")


def wikitext_articles(lines: Iterable[str]) -> Iterator[str]:
    """Cut WikiText's lines into articles; their concatenation is the input, character for character.

    A title is a line `` = Title = `` (no second equals sign, which would make it a section's heading) that has a blank
    line before and after it. The form alone is not enough: WikiText-2 has lines of body text such as
    `` = 1 <unk> and <unk> C = ``, left over from formulas and tables, that no blank line parts from their neighbours.
    An article begins with the blank line before its title; text before the first title is a document of its own.
    """
    article: list[str] = []
    for line in lines:
        # Known for a title only now that the line after it is here.
        titled = article and _TITLE.fullmatch(article[-1]) and (len(article) == 1 or _is_blank(article[-2]))
        if titled and _is_blank(line) and len(article) > 2:
            yield "".join(article[:-2])
            article = article[-2:]
        article.append(line)
    if article:
        yield "".join(article)


def _is_blank(line: str) -> bool:
    return not line.strip(" \r\n")


def is_marked(first_line: str) -> bool:
    """Whether a file that begins with this line holds articles between ``<doc id=...>`` and ``</doc>`` lines."""
    return _MARKER.fullmatch(first_line) is not None


def marked_articles(lines: Iterable[str]) -> Iterator[str]:
    """Articles between marker lines ``<doc id=...>`` and ``</doc>``; the markers are no part of the text.

    Blank lines at both ends of an article, which the extractor adds, are left out; text outside the markers is an
    article too, so nothing but markers and blank lines is lost. An article without text is none.
    """
    article: list[str] = []
    for line in lines:
        if _MARKER.fullmatch(line) or _END_MARKER.fullmatch(line):
            yield from _trimmed(article)
            article = []
        else:
            article.append(line)
    yield from _trimmed(article)


def _trimmed(article: list[str]) -> Iterator[str]:
    text = "".join(article).strip("\r\n")
    if text.strip():
        yield text + "\n"


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

    def __init__(self, source: Path | Mapping[str, Path]) -> None:
        self.source = source
        first = source if isinstance(source, Path) else next(iter(source.values()))
        self.name = f"files:{first.name}"

    def documents(self, split: str) -> Iterator[str]:
        explicit = self._explicit()
        if explicit is not None:
            if split not in explicit:
                named = ", ".join(explicit)
                raise MissingSplitError(f"no {split} text: the source names {named} only{WITHOUT.get(split, '')}")
            file = explicit[split]
            yield from marked_articles(read_lines(file)) if is_marked(_first_line(file)) else pieces(read_text(file))
            return
        assert isinstance(self.source, Path)
        if self.source.is_file() and not is_marked(_first_line(self.source)):
            yield from pieces(cut_by_position(read_text(self.source))[split])
            return
        for file in self._files():
            if is_marked(_first_line(file)):
                yield from (text for text in marked_articles(read_lines(file)) if split_of(text) == split)
            elif split_of(text := read_text(file)) == split:
                yield from pieces(text)

    def stamp(self, split: str) -> dict[str, object]:
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


def _first_line(path: Path) -> str:
    return next(iter(read_lines(path)), "")


def _is_text(path: Path) -> bool:
    name = path.name.lower()
    for packed in PACKED[1:]:
        name = name.removesuffix(packed)
    return path.is_file() and not name.startswith(".") and name.endswith(TEXT_SUFFIXES)
