"""Softmax attention, the baseline, on PyTorch's fused kernels."""

from __future__ import annotations

import math

from torch import Tensor

from .attention import Attention
from .softmax_mix import softmax_mix
from .visibility import Visibility


class SoftmaxAttention(Attention):
    """A = softmax(q k^T / sqrt(dh) + bias + mask), y = A v (arXiv:1706.03762), with any position method.

    ``position=None`` is ``Rotary()``. Memory is O(T) for rotary, ALiBi and no positions; a padded batch or a chunk
    behind a cache builds one bool mask (B, 1, Tq, Tk), a dense position bias (H, Tq, Tk). Dropout on the attention
    weights is not supported.
    """

    position_kinds = frozenset({"query_key", "score", "nothing"})

    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        """softmax(q k^T / sqrt(dh) + bias) v over the visible keys."""
        bias = self.position.score_bias(visibility.n_queries, visibility.n_keys, query)
        return softmax_mix(query, key, value, visibility, scale=1.0 / math.sqrt(query.size(-1)), bias=bias)
