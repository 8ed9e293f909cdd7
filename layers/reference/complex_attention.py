"""Complex attention from the polar form of queries and keys, pair by pair."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .visible import visible


def complex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    delta: Tensor,
    bias: Tensor,
    *,
    base: float = 10000.0,
    scale: float | None = None,
    key_mask: Tensor | None = None,
) -> Tensor:
    """Y = softmax(S) v, causal, from the whole (B, H, Tq, Tk, dh/2) tensor of phase differences.

    Row m of head h scores key n with::

        scale sum_c lambdaQ[m,c] lambdaK[n,c] cos(delta[h,c] (thetaQ[m,c] - thetaK[n,c]) + b[h,c] + (m - n) g_c)

    Args:
        query: (B, H, Tq, dh), standing at the end of the keys; no pair of channels is (0, 0), where theta has no
            derivative.
        key: (B, G, Tk, dh); head h uses group h G // H.
        value: as key.
        delta: (H, dh/2) or (G, dh/2).
        bias: b, (H, dh/2).
        base: g_c = base^(-2c/dh).
        scale: None is 1 / sqrt(dh).
        key_mask: (B, Tk) bool, true = real token.
    """
    heads, n_queries, width = query.shape[1:]
    n_keys = key.size(2)
    key, value = (z.repeat_interleave(heads // z.size(1), dim=1) for z in (key, value))
    delta = delta.repeat_interleave(heads // delta.size(0), dim=0)
    (magnitude_q, theta_q), (magnitude_k, theta_k) = _polar(query), _polar(key)
    row = torch.arange(n_keys - n_queries, n_keys, dtype=query.dtype, device=query.device)
    column = torch.arange(n_keys, dtype=query.dtype, device=query.device)
    frequency = base ** (-torch.arange(0, width, 2, dtype=query.dtype, device=query.device) / width)
    phase = delta[:, None, None] * (theta_q[:, :, :, None] - theta_k[:, :, None])
    phase = phase + bias[:, None, None] + (row[:, None] - column)[..., None] * frequency
    pairs = magnitude_q[:, :, :, None] * magnitude_k[:, :, None] * torch.cos(phase)
    scores = pairs.sum(dim=-1) * (1.0 / math.sqrt(width) if scale is None else scale)
    seen = visible(n_queries, n_keys, key_mask, query.device)
    return torch.softmax(scores.masked_fill(~seen, -torch.inf), dim=-1) @ value


def _polar(x: Tensor) -> tuple[Tensor, Tensor]:
    r, s = x.chunk(2, dim=-1)
    return torch.sqrt(r**2 + s**2), torch.atan2(s, r)
