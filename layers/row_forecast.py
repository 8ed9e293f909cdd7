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
