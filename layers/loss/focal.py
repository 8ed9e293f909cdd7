"""A loss that turns to what the model finds hard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import require
from .loss import Loss, mean


class Focal(Loss):
    """loss = sum_n (1 - p_n)^gamma nll_n / N, p_n = exp(-nll_n), in nats a token.

    The gradient flows through the factor too. gamma = 0 is cross-entropy to the last bit. The loss is not proper: its
    optimum is flatter than the data's distribution, in a way that no shift of the logits takes back.

    Args:
        gamma: how much less a token counts that is likely already.

    Raises:
        ArgumentError: gamma is negative or not finite.

    Source: Lin et al. 2017, arXiv:1708.02002.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"gamma": 0.0}

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        require(math.isfinite(gamma) and gamma >= 0, "gamma", "a finite number of at least 0 (0: cross-entropy)", gamma)
        self.gamma = gamma

    def forward(self, nll: Tensor, target: Tensor) -> Tensor:
        """The weighted mean of nll (N); the targets do not matter."""
        # 1 - p without cancellation near p = 1. Below the floor, where rounding may leave 0 or less, the power would
        # have an infinite gradient for gamma < 1 and none at all for negative numbers.
        miss = (-torch.expm1(-nll)).clamp(min=torch.finfo(nll.dtype).tiny)
        return mean(miss.pow(self.gamma) * nll)
