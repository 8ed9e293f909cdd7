"""Arithmetic in float32 or float64, whatever autocast says."""

from __future__ import annotations

import torch
from torch import Tensor


def full_dtype(hidden: Tensor) -> torch.dtype:
    """float64 for float64, else float32."""
    return torch.float64 if hidden.dtype == torch.float64 else torch.float32


def without_autocast(hidden: Tensor) -> torch.autocast:
    """A context in which products are taken in the types given, on the device of ``hidden``."""
    return torch.autocast(hidden.device.type, enabled=False)
