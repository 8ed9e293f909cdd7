"""Loss on the numbers of a text apart from the rest of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedTokenizerBase

from ....models import Decoder
from ...data.encode import PreparedSplit, text_pipeline
from ...data.windows import EvaluationWindows

# White space and the word after it. Pre-tokenizers put a space before a word into the word's first token or into one
# of its own, and none joins a word with what follows it: so no token lies in two of these, whatever the number scheme.
_WORD = re.compile(r"\s*\S+")
_DIGIT = re.compile(r"[0-9]")


@dataclass(frozen=True)
class NumberTokens:
    """Which tokens of a split stand for numbers.

    Attributes:
        is_number: (length,) bool, over the split's tokens; false for separators.
        words: words that hold a digit.
        straddling: tokens that lie in a word with a digit and in one without; they count as numbers.
    """

    is_number: npt.NDArray[np.bool_]
    words: int
    straddling: int


def number_tokens(documents: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> NumberTokens:
    """Mark the tokens of words that hold an ASCII digit, a word being what stands between white space.

    A number's own characters would not do: whether the space before it, a bracket or a unit shares a token with it
    differs between tokenizers, and with it what would be counted. Words part the text in one way for all of them.

    Args:
        documents: the split's, in its order.
        tokenizer: the one that the split was tokenised with.
    """
    pipeline = text_pipeline(tokenizer)
    flags: list[npt.NDArray[np.bool_]] = []
    words = straddling = 0
    for text in documents:
        inside = np.zeros(len(text), dtype=np.int64)
        for word in _WORD.finditer(text):
            if _DIGIT.search(text, word.start(), word.end()):
                inside[word.start() : word.end()] = 1
                words += 1
        offsets = pipeline.encode(text, add_special_tokens=False).offsets
        ends = np.maximum.accumulate(np.array([0, *(end for _, end in offsets)]))
        ends[-1] = len(text)
        size = np.diff(ends)
        numbers = np.diff(np.concatenate([[0], np.cumsum(inside)])[ends])
        straddling += int(((numbers > 0) & (numbers < size)).sum())
        # a token without characters, such as a later byte of one, goes with the token before it
        last = np.maximum.accumulate(np.where(size > 0, np.arange(size.size), 0))
        flags += [np.zeros(1, dtype=bool), (numbers > 0)[last]]
    return NumberTokens(np.concatenate(flags), words, straddling)


@torch.no_grad()
def number_loss(
    network: Decoder,
    prepared: PreparedSplit,
    numbers: NumberTokens,
    *,
    context_length: int,
    batch_size: int,
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """Sums over a split in the non-overlapping protocol, for words with a digit (``number_``) and the ``rest_``.

    Bits per byte count in bytes of the same text for every tokenizer; the two parts' sums add up to the whole's.

    Args:
        network: in evaluation mode.
        prepared: a split with the bytes of every token.
        numbers: which of its tokens stand for numbers.
        context_length: tokens that a window predicts.
        batch_size: windows scored together.
        advance: told the number of windows done.
    """
    if numbers.is_number.size != prepared.length:
        raise AssertionError(f"{numbers.is_number.size} tokens were marked, and the split has {prepared.length}")
    windows = EvaluationWindows(prepared, context_length)
    sums = np.zeros(2)
    counts = np.zeros((2, 2), dtype=np.int64)  # of the rest and of numbers: tokens, bytes
    for first in range(0, len(windows), batch_size):
        batch = range(first, min(first + batch_size, len(windows)))
        items = [windows[i] for i in batch]
        nll = network.nll(torch.stack([item["input_ids"] for item in items])).double().numpy()
        for row, i, item in zip(nll, batch, items, strict=True):
            begin = i * context_length + 1
            mask = np.zeros(context_length, dtype=bool)
            part = numbers.is_number[begin : begin + context_length]
            mask[: part.size] = part
            scored = item["scored"].numpy()
            for k, own in enumerate((scored & ~mask, scored & mask)):
                sums[k] += row[own].sum()
                counts[k] += int(own.sum()), int(item["bytes"].numpy()[own].sum())
        advance(len(batch))
    figures: dict[str, Any] = {}
    for name, nll_sum, (tokens, size) in (
        ("", sums.sum(), counts.sum(axis=0)),
        ("number_", sums[1], counts[1]),
        ("rest_", sums[0], counts[0]),
    ):
        figures |= {f"{name}nll": float(nll_sum), f"{name}tokens": int(tokens), f"{name}bytes": int(size)}
        figures[f"{name}bits_per_byte"] = float(nll_sum) / (math.log(2) * int(size)) if size else math.nan
    return figures | {"number_words": numbers.words, "straddling_tokens": numbers.straddling}
