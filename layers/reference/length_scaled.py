"""Softmax attentions that sharpen with the logarithm of the number of visible keys, written out."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .visible import visible


def qk_norm_attention(
    query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None = None, key_mask: Tensor | None = None
) -> Tensor:
    """softmax(log(dh) log(N_i) q.k / (|q| |k|) + bias) v; shapes as in :func:`softmax_attention`, no vector is 0."""
    query, key = (z / torch.sqrt((z**2).sum(dim=-1, keepdim=True)) for z in (query, key))
    factor = torch.full((query.size(1),), math.log(query.size(-1)), dtype=query.dtype, device=query.device)
    return _mix(query, key, value, factor, bias, key_mask)


def ssmax_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    length_scale: Tensor,
    *,
    bias: Tensor | None = None,
    key_mask: Tensor | None = None,
) -> Tensor:
    """softmax(s_h log(N_i) q.k / sqrt(dh) + bias) v; s (H), other shapes as in :func:`softmax_attention`."""
    return _mix(query, key, value, length_scale / math.sqrt(query.size(-1)), bias, key_mask)


def _mix(
    query: Tensor, key: Tensor, value: Tensor, factor: Tensor, bias: Tensor | None, key_mask: Tensor | None
) -> Tensor:
    repeats = query.size(1) // key.size(1)
    key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
    seen = visible(query.size(2), key.size(2), key_mask, query.device)
    count = seen.sum(dim=-1, keepdim=True).to(query.dtype)
    scores = factor[:, None, None] * torch.log(count) * (query @ key.transpose(-1, -2))
    if bias is not None:
        scores = scores + bias
    return torch.softmax(scores.masked_fill(~seen, -torch.inf), dim=-1) @ value
