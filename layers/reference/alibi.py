"""ALiBi with its bias matrix."""

from __future__ import annotations

import torch
from torch import Tensor


def alibi_slopes(n_heads: int) -> list[float]:
    """The slope of each head: a geometric series for a power of two, else that of the power below it, and then every
    second slope of the power above it.
    """
    if n_heads & (n_heads - 1) == 0:
        return [2.0 ** (-8.0 * h / n_heads) for h in range(1, n_heads + 1)]
    below = 1
    while 2 * below < n_heads:
        below *= 2
    return alibi_slopes(below) + alibi_slopes(2 * below)[0::2][: n_heads - below]


def alibi_bias(n_heads: int, n_queries: int, n_keys: int) -> Tensor:
    """-m_h (i - j), float64 (H, Tq, Tk), the queries at the end of the keys."""
    row = torch.arange(n_keys - n_queries, n_keys, dtype=torch.float64)[:, None]
    column = torch.arange(n_keys, dtype=torch.float64)
    slopes = torch.tensor(alibi_slopes(n_heads), dtype=torch.float64)
    return slopes[:, None, None] * (column - row)
