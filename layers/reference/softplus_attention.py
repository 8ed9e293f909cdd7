"""Softplus attention with re-weighting, written out."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .visible import visible


def softplus_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    power: float | Tensor | None = 15.0,
    activation: str = "softplus",
    length_scale: bool = True,
    free_rows: int = 3,
    key_mask: Tensor | None = None,
    score_factor: Tensor | None = None,
) -> Tensor:
    """LSSAR (LSSA with ``power=None``), causal, with the whole (B, H, Tq, Tk) matrix in memory; arXiv:2501.13428.

    s = log(dh) log(N_i) q.k / (|q| |k|), phi = softplus(s), A = phi / sum_j phi, W = relu(N_i A - O_i)^p,
    B = W / sum_j W, y = B v. N_i counts the keys that row i sees; O_i is 0 where N_i <= ``free_rows``, else 1.
    A row whose A are all equal keeps A, a row whose phi are all 0 weighs its keys equally, and a query or key shorter
    than 1e-12 counts as 0, with gradient 0.

    Args:
        query: (B, H, Tq, dh), standing at the end of the keys.
        key: (B, G, Tk, dh); head h uses group h G // H.
        value: as key.
        power: p, a number or (H,); None stops at A.
        activation: what makes the scores positive: softplus, exp, sigmoid or relu.
        length_scale: without it log(N_i) is left out of s.
        free_rows: rows that see so few keys are not thresholded.
        key_mask: (B, Tk) bool, true = real token.
        score_factor: (H,), a further factor on s.
    """
    n_heads, width = query.size(1), query.size(-1)
    repeats = n_heads // key.size(1)
    key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
    seen = visible(query.size(2), key.size(2), key_mask, query.device)
    count = seen.sum(dim=-1, keepdim=True).to(query.dtype)
    scores = math.log(width) * (_unit(query) @ _unit(key).transpose(-1, -2))
    if length_scale:
        scores = scores * count.log()
    if score_factor is not None:
        scores = scores * score_factor[:, None, None]
    phi = _positive(scores.masked_fill(~seen, -torch.inf), activation)
    total = phi.sum(dim=-1, keepdim=True)
    a = torch.where(total > 0, phi / torch.where(total > 0, total, 1.0), seen / count)
    if power is None:
        return a @ value
    p = power[:, None, None] if isinstance(power, Tensor) else power
    excess = torch.relu(a * count - (count > free_rows).to(a.dtype)) * seen
    largest = excess.amax(dim=-1, keepdim=True).detach()
    # Equal weights differ by rounding, which must not be amplified.
    flat = (largest <= 128 * torch.finfo(a.dtype).eps) | (total <= 0)
    kept = (excess > 0) & ~flat
    # The row maximum cancels in B, and keeps the powers inside the range of the type.
    w = torch.where(kept, torch.where(kept, excess / torch.where(flat, 1.0, largest), 1.0) ** p, 0.0)
    norm = torch.where(flat, 1.0, w.sum(dim=-1, keepdim=True))
    return torch.where(flat, a, w / norm) @ value


def _unit(x: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    known = norm > 1e-12
    return torch.where(known, x / torch.where(known, norm, 1.0), 0.0)


def _positive(scores: Tensor, activation: str) -> Tensor:
    if activation == "softplus":
        return torch.logaddexp(scores, torch.zeros_like(scores))
    if activation == "exp":
        # A common factor of a row cancels in A.
        return torch.exp(scores - scores.amax(dim=-1, keepdim=True).detach())
    return torch.sigmoid(scores) if activation == "sigmoid" else torch.relu(scores)
