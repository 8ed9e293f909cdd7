"""Which keys a row sees, pair by pair."""

from __future__ import annotations

import torch
from torch import Tensor


def visible(n_queries: int, n_keys: int, key_mask: Tensor | None, device: torch.device) -> Tensor:
    """Bool (B or 1, 1, Tq, Tk): key j <= row i and real, or j = i."""
    batch = 1 if key_mask is None else key_mask.size(0)
    seen = torch.zeros(batch, 1, n_queries, n_keys, dtype=torch.bool)
    for b in range(batch):
        for row in range(n_queries):
            i = n_keys - n_queries + row
            seen[b, 0, row, : i + 1] = True if key_mask is None else key_mask[b, : i + 1].cpu()
            seen[b, 0, row, i] = True
    return seen.to(device)
