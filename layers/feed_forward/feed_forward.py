"""The plain feed-forward layer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import require
from ..common.linear import Linear


class FeedForward(nn.Module):
    """y = W2 gelu(W1 x), the exact GELU (arXiv:1606.08415), without biases by default; x, y (B, T, d).

    Args:
        d_model: d, the width of x.
        hidden: width between the two projections; None is 4 d.
        bias: add a bias to both projections.

    Raises:
        ArgumentError: ``d_model`` or ``hidden`` is below 1.
    """

    def __init__(self, d_model: int, hidden: int | None = None, *, bias: bool = False) -> None:
        super().__init__()
        require(d_model >= 1, "d_model", "an integer of at least 1", d_model)
        hidden = 4 * d_model if hidden is None else hidden
        require(hidden >= 1, "hidden", "an integer of at least 1", hidden)
        self.d_model = d_model
        self.hidden = hidden
        self.bias = bias
        self.input = Linear(d_model, hidden, bias=bias)
        self.output = Linear(hidden, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token by itself."""
        y: Tensor = self.output(F.gelu(self.input(x)))
        return y
