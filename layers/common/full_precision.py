"""Arithmetic in float32 or float64, whatever autocast says."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_dtype(hidden: Tensor) -> torch.dtype:
    """float64 for float64, else float32."""
    return torch.float64 if hidden.dtype == torch.float64 else torch.float32


def under_autocast(hidden: Tensor) -> bool:
    """Whether autocast is on, on the device of ``hidden``; the meta device, for one, has none."""
    device = hidden.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def without_autocast(hidden: Tensor) -> AbstractContextManager[object]:
    """A context in which products are taken in the types given, on the device of ``hidden``."""
    if not torch.amp.is_autocast_available(hidden.device.type):
        return nullcontext()
    return torch.autocast(hidden.device.type, enabled=False)
