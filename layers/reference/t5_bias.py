"""T5's relative position bias, pair by pair."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def t5_bucket(distance: int, num_buckets: int, max_distance: int) -> int:
    """The bucket of one distance i - j >= 0: exact for the first half, then geometric, the last one open."""
    exact = num_buckets // 2
    if distance < exact:
        return distance
    growth = math.log(distance / exact) / math.log(max_distance / exact)
    return min(num_buckets - 1, exact + math.floor(growth * (num_buckets - exact) + 1e-9))


def t5_bias(weight: Tensor, n_queries: int, n_keys: int, *, max_distance: int = 128) -> Tensor:
    """weight[h, bucket(i - j)], (H, Tq, Tk), queries at the end of the keys, 0 above the diagonal; weight (H, N)."""
    rows = []
    for i in range(n_keys - n_queries, n_keys):
        seen = [weight[:, t5_bucket(i - j, weight.size(1), max_distance)] for j in range(i + 1)]
        rows.append(torch.stack(seen + [torch.zeros_like(weight[:, 0])] * (n_keys - i - 1), dim=1))
    return torch.stack(rows, dim=1)
