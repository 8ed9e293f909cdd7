"""What a head or a loss may ask of the training data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class CorpusStatistics:
    """What the training data, or the model that training starts from, tells about each token.

    A part that wants to know defines ``use_corpus(self, statistics)``; see
    :meth:`lmzoo.layers.common.part.Part.use_corpus`.

    Args:
        token_counts: (V,) int64: how often each id is a label in the training data.
        cooccurrence: rank -> token vectors (V, rank) float32, computed on demand from the training tokens: a truncated
            singular value decomposition of their positive pointwise mutual information.
        embedding: (V, d): the rows of a trained full head, or of a tied embedding, where training starts from a model.
        cluster: (rows (V, d), K, seed) -> a cluster id 0..K-1 for each row, (V,) int64, with no cluster empty.
    """

    token_counts: Tensor
    cooccurrence: Callable[[int], Tensor] | None = None
    embedding: Tensor | None = None
    cluster: Callable[[Tensor, int, int], Tensor] | None = None
