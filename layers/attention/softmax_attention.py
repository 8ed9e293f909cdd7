"""Softmax attention, the baseline, on PyTorch's fused kernels."""

from __future__ import annotations

import math

from torch import Tensor

from .attention import Attention
from .softmax_mix import softmax_mix
from .visibility import Visibility


class SoftmaxAttention(Attention):
    """A = softmax(q k^T / sqrt(dh) + bias + mask), y = A v (arXiv:1706.03762), with any position method.

    ``position=None`` is ``Rotary()``. Memory is O(T); a padded batch or a chunk behind a cache builds one bool mask
    (B, 1, Tq, Tk). Dropout on the attention weights is not supported.
    """

    position_kinds = frozenset({"query_key", "score", "nothing"})

    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        """softmax(q k^T / sqrt(dh) + bias) v over the visible keys."""
        scale = 1.0 / math.sqrt(query.size(-1))
        return softmax_mix(query, key, value, visibility, scale=scale, position=self.position)
