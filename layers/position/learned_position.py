"""A learned vector for each place."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...errors import require
from .position import Position


class LearnedPosition(Position):
    """Learned absolute positions, as in GPT-2: row t of a table (max_length, d) is added to the embedding of token t.

    Args:
        max_length: rows of the table. Nothing is defined beyond it.

    Raises:
        ArgumentError: ``max_length`` is below 1; when called, a token stands at or beyond ``max_length``.
    """

    acts_on = "embedding"
    max_length: int

    def __init__(self, max_length: int) -> None:
        super().__init__()
        require(max_length >= 1, "max_length", "an integer of at least 1", max_length)
        self.max_length = max_length

    def configure(self, d_model: int, n_heads: int) -> None:
        """Create the table."""
        self.table = nn.Embedding(self.max_length, d_model)

    def encode(self, index: Tensor, like: Tensor) -> Tensor:
        """Rows (..., d) of the table at token indices (...)."""
        # Inside a compiled graph reading a value back would break the graph; the lookup itself checks its range there.
        if not torch.compiler.is_compiling() and index.numel() and not index.is_meta:
            last = int(index.max())
            require(last < self.max_length, "max_length", f"at least {last + 1} for these tokens", self.max_length)
        vectors: Tensor = self.table(index)
        return vectors.to(like.dtype)
