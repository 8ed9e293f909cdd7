"""Scores that grow with the logarithm of the number of visible keys."""

from __future__ import annotations

import torch
from torch import Tensor

from .visibility import Visibility


def log_counts(visibility: Visibility, like: Tensor) -> Tensor:
    """Log N_i of each query row, (B or 1, 1, Tq, 1), natural; float64 where ``like`` is, else float32."""
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    return visibility.counts().to(dtype).log()[:, None, :, None]
