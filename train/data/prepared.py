"""A tokenised split on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..storage import read_json

FORMAT_VERSION = 1

META = "meta.json"
TOKENS = "tokens.bin"
BYTES = "bytes.bin"
WORDS = "words.bin"
SEPARATORS = "separators.bin"

BYTES_DTYPE = np.dtype("<u2")
WORDS_DTYPE = np.dtype("u1")
POSITION_DTYPE = np.dtype("<i8")


class PreparedSplit:
    """Tokens of a split as memory maps: a separator before every document, its tokens after it.

    A word counts to the token in which it begins, however many tokens it goes on for; a byte to the token with which
    its character ends.

    The maps are opened at first use and not carried along when the object is pickled for a loader's worker.

    Args:
        folder: where the files are; see :func:`is_prepared`.
        meta: content of its ``meta.json``.
    """

    def __init__(self, folder: Path, meta: Mapping[str, Any]) -> None:
        self.folder = folder
        self.meta = dict(meta)
        self.corpus: str = meta["corpus"]
        self.split: str = meta["split"]
        self.length: int = meta["length"]
        self.separator: int = meta["separator"]

    @classmethod
    def open(cls, folder: Path) -> PreparedSplit:
        """The split in a folder that is known to be valid."""
        meta = read_json(folder / META)
        assert meta is not None
        return cls(folder, meta)

    @property
    def scored_tokens(self) -> int:
        """Tokens without the separators."""
        return self.length - int(self.meta["documents"])

    @cached_property
    def tokens(self) -> npt.NDArray[Any]:
        """Ids, (length,) uint16 or uint32."""
        return self._map(TOKENS, np.dtype(self.meta["dtype"]))

    @cached_property
    def token_bytes(self) -> npt.NDArray[np.uint16]:
        """UTF-8 bytes of the text that end with each token, (length,); 0 for separators."""
        return self._map(BYTES, BYTES_DTYPE)

    @cached_property
    def token_words(self) -> npt.NDArray[np.uint8]:
        """Words that begin in each token, wherever they end, (length,); 0 for separators."""
        return self._map(WORDS, WORDS_DTYPE)

    @cached_property
    def separators(self) -> npt.NDArray[np.int64]:
        """Positions of the separators, ascending, (documents,)."""
        return self._map(SEPARATORS, POSITION_DTYPE)

    def separators_in(self, first: int, last: int) -> npt.NDArray[np.int64]:
        """Positions of the separators in [first, last)."""
        begin, end = np.searchsorted(self.separators, [first, last])
        return np.asarray(self.separators[begin:end])

    def counts(self, vocab_size: int) -> npt.NDArray[np.int64]:
        """How often each id is a label, (vocab_size,): all tokens but the first, which none precedes."""
        total = np.zeros(vocab_size, dtype=np.int64)
        step = 1 << 24  # bincount works on 8-byte integers; a chunk of them is 128 MiB
        for first in range(1, self.length, step):
            total += np.bincount(self.tokens[first : first + step], minlength=vocab_size)
        return total

    def _map(self, name: str, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        return np.memmap(self.folder / name, dtype=dtype, mode="r")

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "meta": self.meta}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"], state["meta"])  # type: ignore[misc]


def is_prepared(folder: Path) -> bool:
    """Whether a folder holds a split in this format with every file at its full size."""
    meta = read_json(folder / META)
    if meta is None or meta.get("format") != FORMAT_VERSION:
        return False
    length = meta["length"]
    sizes = {TOKENS: length * np.dtype(meta["dtype"]).itemsize, SEPARATORS: meta["documents"] * POSITION_DTYPE.itemsize}
    if meta["counted"]:
        sizes |= {BYTES: length * BYTES_DTYPE.itemsize, WORDS: length * WORDS_DTYPE.itemsize}
    try:
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except OSError:
        return False
