"""Scores that grow with the logarithm of the number of visible keys."""

from __future__ import annotations

import torch
from torch import Tensor

from .visibility import Visibility


def log_counts(visibility: Visibility, like: Tensor) -> Tensor:
    """Log N_i of each query row, (B or 1, 1, Tq, 1), natural; float64 where ``like`` is, else float32."""
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    return visibility.counts().to(dtype).log()[:, None, :, None]


def unit(x: Tensor) -> Tensor:
    """X / max(|x|_2, 1e-6) over the last dimension, float64 where x is, else float32.

    Below 1e-6, where the direction is rounding noise, the map is linear, so that a zero vector stays zero and its
    gradient stays finite.
    """
    wide = x if x.dtype == torch.float64 else x.float()
    return torch.nn.functional.normalize(wide, dim=-1, eps=1e-6)
