"""Softmax attention, the baseline, on PyTorch's fused kernels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import Attention
from .score_bias import fold_key_bias
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
        width = query.size(-1)
        scale = 1.0 / math.sqrt(width)
        bias = self.position.score_bias(visibility.n_queries, visibility.n_keys, query)
        if bias is not None and bias.size(1) == 1:
            query, key, value = fold_key_bias(query, key, value, bias / scale)
            bias = None
        mask = None if visibility.is_full or visibility.is_square_causal else visibility.mask()
        if bias is not None:
            seen = visibility.mask()
            mask = bias.to(query.dtype).expand(seen.size(0), -1, -1, -1).masked_fill(~seen, -torch.inf)
        y = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            is_causal=mask is None and not visibility.is_full,
            scale=scale,
            enable_gqa=key.size(1) != query.size(1),
        )
        return y[..., :width]
