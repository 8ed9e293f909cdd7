"""A text as the evaluator scores it: tokens in a row, and what of the original text each of them stands for."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from ....errors import require
from ...data.corpus import WordRule
from ...data.encode import PreparedSplit, SplitEncoder

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TextStream:
    """N tokens of a text, in order; token 0 is context only, as nothing precedes it.

    Attributes:
        tokens: ids, (N,).
        scored: whether a token counts as a target, (N,); false for token 0 and, but for conventions that score them,
            for separators.
        document: index of the document a token belongs to, ascending, (N,).
        bytes, words: bytes and words of the original text that a token stands for, (N,); 0 where it is not scored.
        documents: how many there are.
        text_sha256: hash of the documents, see :class:`~lmzoo.train.data.encode.TextHash`.
        word_rule: how words were counted.
    """

    tokens: Ints
    scored: npt.NDArray[np.bool_]
    document: Ints
    bytes: Ints
    words: Ints
    documents: int
    text_sha256: str
    word_rule: str

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def targets(self) -> int:
        """How many tokens can be scored."""
        return int(self.scored.sum())


@dataclass(frozen=True)
class Text:
    """What is to be scored, and what a passport says of it.

    Attributes:
        documents: the text, none of them empty.
        corpus: its name.
        word_rule: how words are counted.
        more: further fields of the passport, such as the split.
        prepared: the same documents, tokenised before; they are then not tokenised again.
    """

    documents: Sequence[str]
    corpus: str = "text"
    word_rule: WordRule = "whitespace"
    more: dict[str, Any] = field(default_factory=dict)
    prepared: PreparedSplit | None = None


def text_stream(tokenizer: PreTrainedTokenizerBase, text: Text) -> TextStream:
    """Tokenise documents just as the splits of a corpus are: a separator, which is never scored, before each.

    Raises:
        ArgumentError: there is no text, or the tokenizer cannot serve.
    """
    if text.prepared is not None:
        return _stream_of(text.prepared)
    check_documents(text.documents)
    encoder = SplitEncoder(tokenizer, text.word_rule, counted=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        meta: dict[str, Any] = encoder.write(text.documents, folder, lambda size: None)
        meta |= {"corpus": text.corpus, "split": "text", "word_rule": text.word_rule}
        return _stream_of(PreparedSplit(folder, meta))


def check_documents(documents: Sequence[str]) -> None:
    """Raise :class:`ArgumentError` unless there are documents and none is empty."""
    require(bool(documents) and all(documents), "text", "at least one document, none of them empty", documents[:3])


def _stream_of(prepared: PreparedSplit) -> TextStream:
    tokens = np.asarray(prepared.tokens, dtype=np.int64)
    starts = np.asarray(prepared.separators)
    begins = np.zeros(len(tokens), dtype=np.int64)
    begins[starts] = 1
    return TextStream(
        tokens=tokens,
        scored=begins == 0,
        document=np.cumsum(begins) - 1,
        bytes=np.asarray(prepared.token_bytes, dtype=np.int64),
        words=np.asarray(prepared.token_words, dtype=np.int64),
        documents=len(starts),
        text_sha256=str(prepared.meta["text_sha256"]),
        word_rule=str(prepared.meta["word_rule"]),
    )
