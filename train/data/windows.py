"""Windows on a prepared split: what a sample is."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .batch_samplers import window_shift
from .corpus import CorpusError
from .prepared import PreparedSplit


class TrainingWindows(Dataset[dict[str, Tensor]]):
    """Sample i of an epoch is tokens[o + i T : o + i T + T + 1], with o = ``window_shift(seed, epoch, T)``.

    Neighbouring windows share one token, the last target of one being the first input of the next. The number of
    samples, (N - T) // T of N tokens, is what fits at any shift; so up to 2 T tokens at the split's end, others in
    every epoch, are not trained on in an epoch. Separators are trained on like any token.

    Args:
        prepared: the training split.
        context_length: T.
        seed: of the shift.

    Raises:
        CorpusError: the split is shorter than two windows.
    """

    def __init__(self, prepared: PreparedSplit, context_length: int, seed: int) -> None:
        self.prepared = prepared
        self.context_length = context_length
        self.seed = seed
        self.samples = (prepared.length - context_length) // context_length
        if self.samples < 1:
            raise CorpusError(
                f"the {prepared.split} split of {prepared.corpus} has {prepared.length} tokens, fewer than two windows"
                f" of context_length={context_length}; take a smaller context_length or a longer text"
            )

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: tuple[int, int]) -> dict[str, Tensor]:
        """``{"input_ids": (T + 1,) int64}`` of sample ``index`` = (epoch, i)."""
        epoch, sample = index
        first = window_shift(self.seed, epoch, self.context_length) + sample * self.context_length
        window = self.prepared.tokens[first : first + self.context_length + 1]
        return {"input_ids": torch.from_numpy(window.astype(np.int64))}


class EvaluationWindows(Dataset[dict[str, Tensor]]):
    """The non-overlapping protocol: every token but the separators is a scored target exactly once.

    Window k has tokens[k T : k T + T + 1]; its T targets are the tokens after its first, so that one is context alone.
    The last window, and one with an index past the last, is filled up on the right with separators, which are not
    scored.

    Args:
        prepared: a split prepared with byte and word counts by token.
        context_length: T.
    """

    def __init__(self, prepared: PreparedSplit, context_length: int) -> None:
        self.prepared = prepared
        self.context_length = context_length

    def __len__(self) -> int:
        return math.ceil((self.prepared.length - 1) / self.context_length)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """``input_ids`` (T + 1,); of targets ``scored`` (T,) bool and ``bytes``, ``words``, ``document`` (T,) int64.

        Documents are numbered from 0; a separator is of the one that it stands before.
        """
        T = self.context_length
        first = min(index * T, self.prepared.length)
        last = min(first + T + 1, self.prepared.length)
        ids = np.full(T + 1, self.prepared.separator, dtype=np.int64)
        ids[: last - first] = self.prepared.tokens[first:last]

        scored = np.zeros(T, dtype=bool)
        size = np.zeros(T, dtype=np.int64)
        words = np.zeros(T, dtype=np.int64)
        document = np.zeros(T, dtype=np.int64)
        targets = slice(first + 1, last)
        n = max(last - first - 1, 0)
        scored[:n] = True
        scored[self.prepared.separators_in(first + 1, last) - (first + 1)] = False
        document[:n] = np.searchsorted(self.prepared.separators, np.arange(first + 1, last), side="right") - 1
        size[:n] = self.prepared.token_bytes[targets]
        words[:n] = self.prepared.token_words[targets]
        return {
            "input_ids": torch.from_numpy(ids),
            "scored": torch.from_numpy(scored),
            "bytes": torch.from_numpy(size),
            "words": torch.from_numpy(words),
            "document": torch.from_numpy(document),
        }
