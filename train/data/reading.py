"""Text files, plain or packed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from .corpus import CorpusError

PACKED = ("", ".xz", ".gz", ".bz2")
"""Suffixes of a text file's name that are understood after its own."""


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file with their ends as they stand (CRLF stays CRLF); the join of all lines is the file.

    Lines end at a newline byte only, not at the further line separators that Unicode knows.

    Raises:
        CorpusError: the file cannot be read, is damaged, or is not UTF-8.
    """
    done = 0
    try:
        with _open(path) as file:
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


def _open(path: Path) -> IO[bytes]:
    match path.suffix:
        case ".xz":
            return io.BufferedReader(cast(io.RawIOBase, lzma.open(path, "rb")))
        case ".gz":
            return io.BufferedReader(cast(io.RawIOBase, gzip.open(path, "rb")))
        case ".bz2":
            return io.BufferedReader(cast(io.RawIOBase, bz2.open(path, "rb")))
        case _:
            return path.open("rb")
