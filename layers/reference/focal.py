"""The focal loss as its paper writes it."""

from __future__ import annotations

from torch import Tensor


def focal(nll: Tensor, gamma: float) -> Tensor:
    """mean_n (1 - p_n)^gamma nll_n, p = exp(-nll): (N) -> scalar."""
    return ((1.0 - (-nll).exp()) ** gamma * nll).mean()
