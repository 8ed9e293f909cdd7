"""Attentions without a normaliser, with the whole (B, H, Tq, Tk) matrix in memory."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .visible import visible


def sigmoid_attention(
    query: Tensor, key: Tensor, value: Tensor, *, train_length: int, key_mask: Tensor | None = None
) -> Tensor:
    """sigmoid(q k^T / sqrt(dh) - log T) v; shapes as in :func:`softmax_attention`."""
    scores, value, seen = _scores(query, key, value, key_mask)
    return torch.sigmoid(scores - math.log(train_length)).masked_fill(~seen, 0.0) @ value


def relu_attention(query: Tensor, key: Tensor, value: Tensor, *, key_mask: Tensor | None = None) -> Tensor:
    """relu(q k^T / sqrt(dh)) v / N_i; shapes as in :func:`softmax_attention`."""
    scores, value, seen = _scores(query, key, value, key_mask)
    return torch.relu(scores).masked_fill(~seen, 0.0) @ value / seen.sum(dim=-1, keepdim=True)


def _scores(query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    repeats = query.size(1) // key.size(1)
    key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.size(-1))
    return scores, value, visible(query.size(2), key.size(2), key_mask, query.device)
