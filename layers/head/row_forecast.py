"""A forecast of what gradients the rows of a likelihood will get."""

from __future__ import annotations

import torch
from torch import Tensor


class RowForecast:
    """Whether all rows will get one gradient, as behind a mean: as it was last time, and yes at first.

    :func:`lmzoo.layers.functional.linear_nll` prepares accordingly. Time depends on it, values never do. Compiled code
    keeps the forecast with which it was compiled.
    """

    def __init__(self) -> None:
        self.uniform = True

    def watch(self, nll: Tensor) -> Tensor:
        """Learn from the gradient that comes back to ``nll`` (N); returns it."""
        if nll.requires_grad and not torch.compiler.is_compiling():
            nll.register_hook(self._learn)
        return nll

    def _learn(self, gradient: Tensor) -> None:
        if gradient.numel():
            self.uniform = bool((gradient == gradient[0]).all())


def relative(row_weight: Tensor) -> Tensor:
    """Weights in units of the largest: half precision would take those of frequent tokens, as 1e-9, for 0."""
    if row_weight.numel() == 0:
        return row_weight
    return row_weight / row_weight.abs().amax().clamp(min=torch.finfo(row_weight.dtype).tiny)


def proportion(gradient: Tensor, row_weight: Tensor) -> tuple[bool, Tensor]:
    """Whether ``gradient`` is a factor times ``row_weight``, up to what a few roundings leave, and the factor."""
    exact, weight = gradient.double(), row_weight.double()
    factor = (exact @ weight) / (weight @ weight).clamp(min=torch.finfo(torch.float64).tiny)
    rounding = 8 * torch.finfo(gradient.dtype).eps * exact.abs()
    return bool(((exact - factor * weight).abs() <= rounding).all()), factor.to(gradient.dtype)
