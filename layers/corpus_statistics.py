"""What a part may know of the corpus before training starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class CorpusStatistics:
    """Facts of the training data, for parts that define ``use_corpus(statistics)``.

    Costly ones are functions and are computed only for the part that asks.

    Args:
        token_counts: (V,) int64, how often each id is a label in the training data.
        cooccurrence: rank -> token vectors (V, rank) float32, a truncated SVD of the training tokens' PPMI matrix.
        embedding: (V, d), rows of a trained full head (or tied embedding) when training starts from an exported model.
        cluster: (rows (V, d), K, seed) -> code ids (V,) int64 in 0..K-1.
    """

    token_counts: Tensor
    cooccurrence: Callable[[int], Tensor] | None = None
    embedding: Tensor | None = None
    cluster: Callable[[Tensor, int, int], Tensor] | None = None
