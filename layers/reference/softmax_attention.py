"""Softmax attention, written out."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .visible import visible


def softmax_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bias: Tensor | None = None,
    key_mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Y = softmax(scale q k^T + bias + mask) v, causal, with the whole (B, H, Tq, Tk) matrix in memory.

    Args:
        query: (B, H, Tq, dh), standing at the end of the keys.
        key: (B, G, Tk, dh); head h uses group h G // H.
        value: as key.
        bias: added to the scores, broadcast to (H, Tq, Tk).
        key_mask: (B, Tk) bool, true = real token.
        scale: None is 1 / sqrt(dh).
    """
    repeats = query.size(1) // key.size(1)
    key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
    scores = query @ key.transpose(-1, -2) * (1.0 / math.sqrt(query.size(-1)) if scale is None else scale)
    if bias is not None:
        scores = scores + bias
    seen = visible(query.size(2), key.size(2), key_mask, query.device)
    return torch.softmax(scores.masked_fill(~seen, -torch.inf), dim=-1) @ value
