"""Rotary positions with frequencies from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import require
from ...layers import Position
from ...layers.position.growing_table import GrowingTable
from ...layers.position.rotary import rotary_table, rotate


class FixedRotary(Position):
    """Rotary positions, half-split pairing, whose frequencies are given one by one: those of another model.

    For rules that :class:`Rotary` does not have, such as Llama 3's, and other readings of YaRN. Defined at any length.

    Args:
        frequencies: radians a token of each pair, dh/2 of them.
        factor: what turned queries and keys are multiplied by, each.

    Raises:
        ArgumentError: there are not dh/2 frequencies.
    """

    acts_on = "query_key"

    def __init__(self, frequencies: Sequence[float], factor: float = 1.0) -> None:
        super().__init__()
        self.frequencies = [float(f) for f in frequencies]
        self.factor = factor
        self._table = GrowingTable(self._angles)

    def configure(self, d_model: int, n_heads: int) -> None:
        """Check the head width."""
        width, given = d_model // n_heads, len(self.frequencies)
        require(2 * given == width, "frequencies", f"{width / 2:g} numbers for heads of width {width}", given)

    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Turn queries and keys, row r by the angles of index ``start + r``."""
        cos, sin = self._table.rows(start, start + query.size(2), query)
        return rotate(query, cos, sin), rotate(key, cos, sin)

    def _angles(self, n: int, like: Tensor) -> tuple[Tensor, Tensor]:
        return rotary_table(n, torch.tensor(self.frequencies, dtype=torch.float64), like, factor=self.factor)
