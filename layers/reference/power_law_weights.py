"""The power-law weights as their paper writes them, and the loss that they make."""

from __future__ import annotations

import torch
from torch import Tensor


def power_law_weights(token_counts: Tensor, alpha: float, *, eps: float = 1e-7, smoothing: float = 1.0) -> Tensor:
    """w(t) = 1 / (count(t) + smoothing + eps)^alpha: (V) -> (V), one token at a time."""
    return torch.stack([1.0 / (count + smoothing + eps) ** alpha for count in token_counts])


def power_law_decay(
    nll: Tensor,
    target: Tensor,
    token_counts: Tensor,
    alpha: float,
    *,
    normalization: str = "corpus_mean",
    eps: float = 1e-7,
    smoothing: float = 1.0,
    max_weight: float | None = None,
) -> Tensor:
    """sum_n w(target_n) nll_n / Z: (N), (N), (V) -> scalar.

    Z is the sum of the weights met (``weighted_mean``), N times their mean over the corpus (``corpus_mean``) or 1
    (``sum``). A weight above ``max_weight`` times the corpus mean is set to that, before Z is taken.
    """
    weights = power_law_weights(token_counts, alpha, eps=eps, smoothing=smoothing)
    share = token_counts / token_counts.sum()
    if max_weight is not None:
        weights = torch.minimum(weights, max_weight * (share * weights).sum())
    total = sum(weights[t] * loss for t, loss in zip(target, nll))
    z = {
        "weighted_mean": sum(weights[t] for t in target),
        "corpus_mean": len(nll) * (share * weights).sum(),
        "sum": 1.0,
    }[normalization]
    return torch.as_tensor(total / z)
