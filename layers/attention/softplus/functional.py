"""Softplus attention with re-weighting as a function."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ....errors import require
from ...common.unit_length import unit_length
from ..visibility import Visibility
from .kernel import ACTIVATIONS, Problem
from .operator import attend


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
    """LSSAR, and LSSA with ``power=None`` (arXiv:2501.13428), causal, in memory O(T).

    ::

        s_ij   = log(dh) log(N_i) q_i.k_j / (|q_i| |k_j|)     natural logarithms; N_i = keys that row i sees
        phi_ij = softplus(s_ij)
        A_ij   = phi_ij / sum_j phi_ij                         power=None: y = A v
        W_ij   = relu(N_i A_ij - O_i)^p                        O_i = 0 where N_i <= free_rows, else 1
        B_ij   = W_ij / sum_j W_ij                             y = B v

    Three cases that the equations leave open: a row whose A are equal up to rounding, where W is 0, keeps A; a row
    whose phi are all 0 (``relu``) weighs its keys equally; a query or key shorter than 1e-12 counts as 0, and its
    gradient is 0. Everything behind q, k and v is computed in float32, or float64 for float64 inputs, in strips of
    some query rows against all their keys, forward and again backward.

    Args:
        query: (B, H, Tq, dh), already turned by its position, standing at the end of the keys.
        key: (B, G, Tk, dh), already turned; G divides H, and head h uses group h G // H.
        value: (B, G, Tk, dv).
        power: p > 0, a number, or (H,) with a gradient; None stops at A.
        activation: ``softplus``, or ``exp``, ``sigmoid``, ``relu`` as in the paper's ablation.
        length_scale: False leaves log(N_i) out of s; log(dh) and the unit lengths stay.
        free_rows: rows that see at most so many keys are not thresholded.
        key_mask: (B, Tk) bool, true = real token; a padded row sees itself besides, so that no row is empty.
        score_factor: (H,), a further factor on s, with a gradient.

    Returns:
        (B, H, Tq, dv) in the type of ``value``.

    Raises:
        ArgumentError: shapes do not fit, the activation is unknown, or a number is out of range.

    Not supported: second derivatives, forward-mode derivatives, dropout on the weights.
    """
    _check(query, key, value, power, score_factor, activation, free_rows)
    n_heads, n_queries, width = query.shape[1:]
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    seen = Visibility(n_queries, key.size(2), key_mask, query.device, batch=query.size(0))
    count = seen.counts().to(dtype)
    scale = (count.log() if length_scale else torch.ones_like(count))[:, None, :, None] * math.log(width)
    if score_factor is not None:
        scale = scale * score_factor.to(dtype)[:, None, None]
    powers = None if power is None else torch.as_tensor(power, dtype=dtype, device=query.device).expand(n_heads)
    problem = Problem(
        query=unit_length(query.to(dtype), scale),
        key=unit_length(key.to(dtype)),
        # A view would be copied forward and again backward, and keep the projection that it is cut from.
        value=value.to(dtype).contiguous(),
        power=powers,
        counts=count,
        key_mask=key_mask,
        activation=activation,
        free_rows=free_rows,
    )
    return attend(problem).to(value.dtype)


def _check(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    power: float | Tensor | None,
    score_factor: Tensor | None,
    activation: str,
    free_rows: int,
) -> None:
    require(query.dim() == 4, "query", "shape (B, H, Tq, dh)", tuple(query.shape))
    require(
        query.size(3) >= 2,
        "query",
        "heads of width 2 or more: log(dh) = 0 would make every score 0",
        tuple(query.shape),
    )
    fits = key.dim() == 4 and key.size(0) == query.size(0) and key.size(3) == query.size(3)
    fits = fits and key.size(2) >= query.size(2) and key.size(1) > 0 and query.size(1) % key.size(1) == 0
    expected = f"shape (B, G, Tk, dh) that fits queries {tuple(query.shape)}: G divides H, Tk >= Tq"
    require(fits, "key", expected, tuple(key.shape))
    require(value.shape[:3] == key.shape[:3], "value", f"shape {tuple(key.shape[:3])} + (dv,)", tuple(value.shape))
    require(activation in ACTIVATIONS, "activation", f"one of {', '.join(ACTIVATIONS)}", activation)
    require(free_rows >= 0, "free_rows", "0 or more", free_rows)
    if score_factor is not None:
        shape = (query.size(1),)
        require(score_factor.shape == shape, "score_factor", f"shape {shape}", tuple(score_factor.shape))
    if isinstance(power, Tensor):
        require(power.shape in ((), (query.size(1),)), "power", f"shape ({query.size(1)},)", tuple(power.shape))
    else:
        require(power is None or 0 < power < math.inf, "power", "None or a number above 0", power)
