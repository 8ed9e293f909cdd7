"""Rotary positions as multiplication by a unit complex number."""

from __future__ import annotations

import torch
from torch import Tensor


def rotary(x: Tensor, *, base: float = 10000.0, start: int = 0) -> Tensor:
    """Multiply x_c + i x_{c + dh/2} by exp(i t base^(-2c/dh)), t = ``start``, ``start`` + 1, ...; x (..., T, dh)."""
    length, width = x.shape[-2:]
    time = torch.arange(start, start + length, dtype=torch.float64, device=x.device)
    channel = torch.arange(width // 2, dtype=torch.float64, device=x.device)
    turn = torch.polar(torch.ones_like(time)[:, None], time[:, None] * base ** (-2.0 * channel / width))
    turned = torch.complex(*x.to(torch.float64).chunk(2, dim=-1)) * turn
    return torch.cat([turned.real, turned.imag], dim=-1).to(x.dtype)
