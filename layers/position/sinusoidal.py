"""Fixed sine and cosine waves added to the embedding."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import require
from .position import Position


class Sinusoidal(Position):
    """Sinusoidal absolute positions (arXiv:1706.03762), defined at any length.

    PE(t, 2c) = sin(t base^(-2c/d)), PE(t, 2c + 1) = cos(t base^(-2c/d)); angles are computed in float64, so that they
    stay exact far beyond any training length. No parameters.

    Args:
        base: the longest wave has 2 pi base tokens.

    Raises:
        ArgumentError: ``base`` is not above 0, or the model's width is odd.
    """

    acts_on = "embedding"

    def __init__(self, base: float = 10000.0) -> None:
        super().__init__()
        require(base > 0, "base", "a number above 0", base)
        self.base = base

    def configure(self, d_model: int, n_heads: int) -> None:
        """Keep the width."""
        require(d_model % 2 == 0, "d_model", "an even width for sinusoidal positions", d_model)
        self.d_model = d_model

    def encode(self, index: Tensor, like: Tensor) -> Tensor:
        """Waves (..., d) at token indices (...)."""
        channel = torch.arange(0, self.d_model, 2, dtype=torch.float64, device=index.device)
        angle = index[..., None].to(torch.float64) * self.base ** (-channel / self.d_model)
        return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2).to(like.dtype)
