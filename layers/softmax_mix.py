"""Softmax over the visible keys, on PyTorch's fused kernels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .score_bias import fold_key_bias
from .visibility import Visibility


def softmax_mix(
    query: Tensor, key: Tensor, value: Tensor, visibility: Visibility, *, scale: float, bias: Tensor | None = None
) -> Tensor:
    """softmax(scale q k^T + bias) v over the visible keys: query (B, H, Tq, dh), key, value (B, G, Tk, dh).

    Args:
        query: (B, H, Tq, dh).
        key: (B, G, Tk, dh).
        value: as key.
        visibility: which keys each row sees.
        scale: factor of the scores.
        bias: added to the scaled scores: (H, 1, Tk), which costs no (Tq, Tk) memory, or (H, Tq, Tk).
    """
    width = query.size(-1)
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
