"""The same question asked twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def check_repeats(run: Callable[[], Tensor], leaves: Sequence[Tensor]) -> None:
    """``run()`` gives the same bits twice, and the same gradients."""
    first, second = (_value_and_gradients(run, leaves) for _ in range(2))
    for i, (a, b) in enumerate(zip(first, second)):
        what = "the output" if i == 0 else "a gradient"
        difference = float((a - b).detach().abs().max())
        # a NaN is no repetition of anything
        assert torch.equal(a, b), f"called twice with the same input, {what} differs by {difference:.3g}"


def trained(part: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained, by name."""
    return {name: p for name, p in part.named_parameters() if p.requires_grad}


def _value_and_gradients(run: Callable[[], Tensor], leaves: Sequence[Tensor]) -> list[Tensor]:
    y = run()
    return [y, *torch.autograd.grad(y.square().sum(), leaves, allow_unused=True, materialize_grads=True)]
