"""The gated feed-forward layer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import require
from ..common.linear import Linear


class SwiGLU(nn.Module):
    """y = W3 (silu(W1 x) * W2 x) (arXiv:2002.05202); x, y (B, T, d). W1 and W2 are one product.

    Args:
        d_model: d, the width of x.
        hidden: width of the gate; None is 8 d / 3, the parameters of a plain layer of width 4 d, rounded up to a
            multiple of 16, which is as fast as any larger multiple on the kernels measured.
        bias: add a bias to all projections.

    Raises:
        ArgumentError: ``d_model`` or ``hidden`` is below 1.
    """

    def __init__(self, d_model: int, hidden: int | None = None, *, bias: bool = False) -> None:
        super().__init__()
        require(d_model >= 1, "d_model", "an integer of at least 1", d_model)
        hidden = -(-8 * d_model // 48) * 16 if hidden is None else hidden
        require(hidden >= 1, "hidden", "an integer of at least 1", hidden)
        self.d_model = d_model
        self.hidden = hidden
        self.bias = bias
        self.input = Linear(d_model, 2 * hidden, bias=bias)
        self.output = Linear(hidden, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token by itself."""
        gate, up = self.input(x).chunk(2, dim=-1)
        y: Tensor = self.output(F.silu(gate) * up)
        return y
