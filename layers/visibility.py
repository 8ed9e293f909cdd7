"""Which keys each query row may see: the one place that knows about causality and padding."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import require


class Visibility:
    """Causal visibility of ``n_keys`` keys for the ``n_queries`` rows that stand at their end.

    Row r (absolute index i = n_keys - n_queries + r) sees key j when j <= i and key j is a real token. A padded row
    sees itself besides, so that no row is empty and no normaliser is 0.

    Args:
        n_queries: Tq, the rows that are computed now.
        n_keys: Tk >= Tq, cached keys included.
        key_mask: (B, Tk) bool, true = real token, or None when every token is real.
        device: where masks and counts are made.

    Raises:
        ArgumentError: ``attention_mask`` is not boolean or is not Tk long.
    """

    def __init__(self, n_queries: int, n_keys: int, key_mask: Tensor | None, device: torch.device) -> None:
        if key_mask is not None:
            # Tensors in the message would be printed in full, so shapes and dtypes stand for them.
            require(key_mask.dtype == torch.bool, "attention_mask", "a bool tensor, true = real token", key_mask.dtype)
            require(
                key_mask.dim() == 2 and key_mask.size(1) == n_keys,
                "attention_mask",
                f"shape (B, {n_keys}): all keys, cached ones included",
                tuple(key_mask.shape),
            )
        self.n_queries = n_queries
        self.n_keys = n_keys
        self.key_mask = key_mask
        self.device = device

    @property
    def start(self) -> int:
        """Absolute index of the first query row: the number of keys before it."""
        return self.n_keys - self.n_queries

    @property
    def is_full(self) -> bool:
        """Every row sees every key: one row without padding, the step of a decoding loop."""
        return self.key_mask is None and self.n_queries == 1

    @property
    def is_square_causal(self) -> bool:
        """The plain lower triangle, which fused kernels know without a mask."""
        return self.key_mask is None and self.n_queries == self.n_keys

    def mask(self) -> Tensor:
        """Visible pairs as a bool tensor (B or 1, 1, Tq, Tk)."""
        rows = torch.arange(self.start, self.n_keys, device=self.device)[:, None]
        columns = torch.arange(self.n_keys, device=self.device)
        if self.key_mask is None:
            return (columns <= rows)[None, None]
        return ((columns <= rows) & self.key_mask[:, None, :] | (columns == rows))[:, None]

    def counts(self) -> Tensor:
        """N_i, the number of keys that each row sees, itself included: int64 (B or 1, Tq)."""
        if self.key_mask is None:
            return torch.arange(self.start + 1, self.n_keys + 1, device=self.device)[None]
        real = self.key_mask.cumsum(dim=1)
        return (real + ~self.key_mask)[:, self.start :]
