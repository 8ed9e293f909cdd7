"""Gradients compared with finite differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

# Of float64 differences: truncation is of the order of the step's square, rounding of 1e-16 over the step.
_STEP = 1e-5
_TOLERANCE = 1e-4
_DIRECTIONS = 3


def check_differences(run: Callable[[], Tensor], leaves: Mapping[str, Tensor]) -> None:
    """What autograd says of ``run()`` equals central differences, along random directions in each leaf.

    For a loss L = sum w y with random w, and a random unit direction v in a leaf, g . v is compared with
    (L(leaf + h v) - L(leaf - h v)) / 2 h, in units of |g| + |g . v|. Kinks are as rare in it as h is small.

    Args:
        run: computes y from the leaves, the same each time.
        leaves: float64 tensors that require gradients, by the name that a message calls them.
    """
    y = run()
    weight = torch.randn_like(y)
    gradients = torch.autograd.grad(
        (weight * y).sum(), list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    for (name, leaf), gradient in zip(leaves.items(), gradients):
        assert bool(gradient.isfinite().all()), f"the gradient of {name} is not finite"
        if not leaf.numel():
            continue
        size = float(torch.linalg.vector_norm(gradient))
        for _ in range(_DIRECTIONS):
            direction = torch.randn_like(leaf)
            direction /= torch.linalg.vector_norm(direction)
            expected = _difference(run, leaf, direction, weight)
            given = float((gradient * direction).sum())
            error = abs(given - expected) / max(size + abs(expected), 1e-6)
            assert error < _TOLERANCE, (
                f"along a random direction in {name} autograd's derivative is {given:.6g}, "
                f"that of finite differences {expected:.6g}"
            )


@torch.no_grad()
def _difference(run: Callable[[], Tensor], leaf: Tensor, direction: Tensor, weight: Tensor) -> float:
    before = leaf.detach().clone()
    sums = []
    for sign in (1.0, -1.0):
        leaf.copy_(before + sign * _STEP * direction)
        sums.append(float((weight * run()).sum()))
    leaf.copy_(before)
    return (sums[0] - sums[1]) / (2.0 * _STEP)
