"""Vectors at unit length, times a number of their row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# A direction of rounding errors would have a gradient of 1 / _SHORTEST and more.
_SHORTEST = 1e-12


def unit_length(x: Tensor, scale: Tensor | None = None) -> Tensor:
    """Scale x (B, H, T, n) to c x / |x|; 0, and with gradient 0, where |x| <= 1e-12.

    Contiguous, but where c is learned or the call is compiled.

    Args:
        x: (B, H, T, n), in any layout.
        scale: c, of a shape that expands to (B, H, T, 1); None is 1.
    """
    if torch.compiler.is_compiling() or (scale is not None and scale.requires_grad):
        unit = x * _inverse_norm(x)
        return unit if scale is None else unit * scale
    scaled: Tensor = _ScaledUnit.apply(x, scale)  # type: ignore[no-untyped-call]
    return scaled


class _ScaledUnit(torch.autograd.Function):
    """One tensor of the size of x forward and one backward: fresh memory is what this costs, not arithmetic.

    With u = x / |x|, y = c u and g = dL/dy: dx = (c / |x|) (g - u (u.g)) = (c / |x|) g - (y.g) / (c |x|) y.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor | None) -> Tensor:
        inverse = _inverse_norm(x)
        factor = inverse if scale is None else inverse * scale
        y = torch.mul(x, factor, out=x.new_empty(x.shape))
        ctx.save_for_backward(y, inverse, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        y, inverse, scale = ctx.saved_tensors
        dx = torch.mul(y, gradient, out=torch.empty_like(y))
        along = dx.sum(dim=-1, keepdim=True).mul_(inverse)
        factor = inverse
        if scale is not None:
            # c = 0, of a row that sees one key, leaves no gradient, whatever y.g is divided by.
            along.div_(torch.where(scale == 0, 1.0, scale))
            factor = inverse * scale
        torch.mul(gradient, factor, out=dx)
        return dx.addcmul_(y, along, value=-1.0), None


def _inverse_norm(x: Tensor) -> Tensor:
    """1 / |x|, (B, H, T, 1), or 0 of a vector too short to have a direction."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    known = norm > _SHORTEST
    return torch.where(known, 1.0 / torch.where(known, norm, 1.0), 0.0)
