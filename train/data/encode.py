"""Tokenising documents straight onto the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedTokenizerBase

from ...errors import ArgumentError
from .facts import TextHash
from .prepared import BYTES, BYTES_DTYPE, POSITION_DTYPE, SEPARATORS, TOKENS, WORDS, WORDS_DTYPE
from .words import WordRule, codepoints, count_words, cumulative_bytes, cumulative_words

BATCH_CHARACTERS = 1 << 21
"""Text encoded at once: enough to keep many cores busy, small beside any machine's memory."""

BATCH_DOCUMENTS = 4096


class SplitEncoder:
    """Writes ids, and where asked for the bytes and words of every token, of a stream of documents.

    Documents are encoded in batches, which the ``tokenizers`` library spreads over the cores; a document is never cut
    for that, so its ids are those of a plain call.

    Args:
        tokenizer: a fast tokenizer; a copy of its pipeline is used, with special tokens in the text taken as text and
            truncation and padding off.
        word_rule: how words are counted.
        counted: whether to write bytes and words of every token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, word_rule: WordRule, *, counted: bool) -> None:
        self._pipeline = text_pipeline(tokenizer)
        self.separator = separator_id(tokenizer)
        self.word_rule = word_rule
        self.counted = counted
        largest = max(self._pipeline.get_vocab(with_added_tokens=True).values())
        self.dtype = np.dtype("<u2" if largest < 1 << 16 else "<u4")

    def write(self, documents: Iterable[str], folder: Path, advance: Callable[[int], None]) -> dict[str, Any]:
        """Write the files of a split into ``folder``.

        Args:
            documents: the text.
            folder: an existing folder.
            advance: told the bytes of text done after each batch.

        Returns:
            length (in tokens, separators included), separator, dtype, and what was met of the text: text_sha256,
            documents, words, bytes.
        """
        text_hash = TextHash()
        length = count = words = size = 0
        with ExitStack() as stack:
            names = [TOKENS, SEPARATORS, *([BYTES, WORDS] if self.counted else [])]
            files = {name: stack.enter_context((folder / name).open("wb")) for name in names}
            for batch in _batches(documents):
                encode = self._pipeline.encode_batch if self.counted else self._pipeline.encode_batch_fast
                done = 0
                for text, encoding in zip(batch, encode(batch, add_special_tokens=False)):
                    encoded = text.encode("utf-8")
                    text_hash.add(encoded)
                    ids = np.array([self.separator, *encoding.ids], dtype=self.dtype)
                    if ids.size == 1:
                        raise ArgumentError("tokenizer", "one that gives every text tokens", f"none for {text[:40]!r}")
                    ids.tofile(files[TOKENS])
                    np.array([length], dtype=POSITION_DTYPE).tofile(files[SEPARATORS])
                    if self.counted:
                        token_bytes, token_words = self._token_counts(text, encoding)
                        token_bytes.tofile(files[BYTES])
                        token_words.tofile(files[WORDS])
                    length += ids.size
                    count += 1
                    words += count_words(text, self.word_rule)
                    done += len(encoded)
                size += done
                advance(done)
        return {
            "length": length,
            "separator": self.separator,
            "dtype": self.dtype.str,
            "text_sha256": text_hash.hexdigest(),
            "documents": count,
            "words": words,
            "bytes": size,
        }

    def _token_counts(
        self, text: str, encoding: Encoding
    ) -> tuple[npt.NDArray[np.unsignedinteger[Any]], npt.NDArray[np.unsignedinteger[Any]]]:
        """Bytes and words of the separator and of every token, (1 + n,) each; see :func:`prepare_split`."""
        points = codepoints(text)
        ends = np.array([0, 0, *(end for _, end in encoding.offsets)])
        ends[-1] = len(points)
        ends = np.maximum.accumulate(ends)
        token_bytes = np.diff(cumulative_bytes(points)[ends])
        token_words = np.diff(cumulative_words(points, self.word_rule)[ends])
        whole = (len(text.encode("utf-8")), count_words(text, self.word_rule))
        if (int(token_bytes.sum()), int(token_words.sum())) != whole:
            raise AssertionError(f"bytes and words by token do not add up to those of the document {text[:40]!r}")
        return _narrow(token_bytes, BYTES_DTYPE, "bytes"), _narrow(token_words, WORDS_DTYPE, "words")


def text_pipeline(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """A copy of a fast tokenizer's pipeline that takes special tokens in a text as text, and cuts and pads nothing."""
    backend: Any = tokenizer.backend_tokenizer
    pipeline = Tokenizer.from_str(backend.to_str())
    pipeline.no_truncation()
    pipeline.no_padding()
    pipeline.encode_special_tokens = True
    return pipeline


def separator_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that parts documents: eos, else bos."""
    for token in (tokenizer.eos_token_id, tokenizer.bos_token_id):
        if isinstance(token, int):
            return token
    raise ArgumentError("tokenizer", "a tokenizer with an eos or bos token to part documents", type(tokenizer).__name__)


def _narrow(counts: npt.NDArray[np.int64], dtype: np.dtype[Any], unit: str) -> npt.NDArray[np.unsignedinteger[Any]]:
    most = np.iinfo(dtype).max
    if int(counts.max()) > most:
        raise ArgumentError("tokenizer", f"at most {most} {unit} in a token", int(counts.max()))
    return counts.astype(dtype)


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for document in documents:
        if batch and (characters + len(document) > BATCH_CHARACTERS or len(batch) >= BATCH_DOCUMENTS):
            yield batch
            batch, characters = [], 0
        batch.append(document)
        characters += len(document)
    if batch:
        yield batch
