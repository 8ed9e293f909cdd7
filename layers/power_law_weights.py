"""Weights that fall with a token's frequency as a power law."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import require


def power_law_weights(token_counts: Tensor, alpha: float, *, eps: float = 1e-7, smoothing: float = 1.0) -> Tensor:
    """w(t) = 1 / (count(t) + smoothing + eps)^alpha.

    A token never seen has a finite weight, 1 under the default smoothing (at 0 it would be eps^-alpha, ten million at
    alpha = 1). alpha = 0 is 1 everywhere, exactly.

    Args:
        token_counts: (V), how often each id is a label in the training data.
        alpha: the power, 0 or more.
        eps: keeps the base above 0 without smoothing.
        smoothing: added to every count.

    Returns:
        (V) float64.

    Raises:
        ArgumentError: a count or an argument is negative or not finite, or eps and smoothing are both 0.

    Source: power-law decay loss, arXiv:2505.16900, which has smoothing = 0.
    """
    for name, value in (("alpha", alpha), ("eps", eps), ("smoothing", smoothing)):
        require(math.isfinite(value) and value >= 0, name, "a finite number of at least 0", value)
    require(eps + smoothing > 0, "smoothing", "above 0 where eps is 0: a count of 0 would weigh infinitely", smoothing)
    if token_counts.numel():
        least, most = (float(c) for c in token_counts.aminmax())
        require(least >= 0 and math.isfinite(most), "token_counts", "finite counts of at least 0", (least, most))
    return decay(token_counts, alpha, smoothing + eps)


def decay(counts: Tensor, alpha: float, offset: float) -> Tensor:
    """(count + offset)^-alpha in float64, unchecked: a check would have to wait for the device."""
    return (counts.to(torch.float64) + offset).pow(-alpha)
