"""Root-mean-square normalisation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import require


class RMSNorm(nn.Module):
    """y = x / sqrt(mean(x^2) + eps) * weight over the last dimension (arXiv:1910.07467); float32 inside half precision.

    Args:
        d_model: d, the size of the last dimension.
        eps: keeps a row of zeros finite.

    Raises:
        ArgumentError: ``d_model`` is below 1, or ``eps`` is not above 0.
    """

    def __init__(self, d_model: int, eps: float = 1e-6) -> None:
        super().__init__()
        require(d_model >= 1, "d_model", "an integer of at least 1", d_model)
        require(eps > 0, "eps", "a number above 0", eps)
        self.d_model = d_model
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (..., d)."""
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.rms_norm(x, (self.d_model,), self.weight, self.eps)
        # On a CPU F.rms_norm is a chain of elementary operations; the fused vector norm makes a shorter one.
        dtype = torch.promote_types(x.dtype, torch.float32)
        square_sum = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=dtype).square()
        normalised = x * torch.rsqrt(square_sum / self.d_model + self.eps)
        return (normalised * self.weight).to(x.dtype)
