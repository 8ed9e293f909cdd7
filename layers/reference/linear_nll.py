"""The linear head's loss with all logits at once."""

from __future__ import annotations

import torch
from torch import Tensor


def linear_nll(hidden: Tensor, weight: Tensor, target: Tensor, *, bias: Tensor | None = None) -> Tensor:
    """nll_n = logsumexp_v(h_n . w_v + b_v) - (h_n . w_t + b_t): (N, d), (V, d), (N) -> (N)."""
    logits = hidden @ weight.T
    if bias is not None:
        logits = logits + bias
    return torch.logsumexp(logits, dim=-1) - logits[torch.arange(len(target)), target]
