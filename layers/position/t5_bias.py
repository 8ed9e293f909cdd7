"""T5's relative positions: a learned number for each range of distances."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...errors import require
from .position import Position


def t5_buckets(distance: Tensor, num_buckets: int, max_distance: int) -> Tensor:
    """The bucket of each distance i - j >= 0 (int64), causal form of T5 (arXiv:1910.10683).

    The first half of the buckets, E = floor(num_buckets / 2), holds one distance each. From E on they widen
    geometrically: bucket E + floor((num_buckets - E) log(n / E) / log(max_distance / E)), the last one without end.
    """
    exact = num_buckets // 2
    # float64 and a hair's breadth keep the exact powers, where a bucket begins, in their own bucket
    growth = torch.log(distance.clamp(min=1).double() / exact) / math.log(max_distance / exact)
    far = exact + (growth * (num_buckets - exact) + 1e-9).floor().to(torch.int64)
    return torch.where(distance < exact, distance, far.clamp(max=num_buckets - 1))


class T5Bias(Position):
    """Relative position bias of T5 (arXiv:1910.10683): score(i, j) gains w[h, bucket(i - j)], w learned.

    Each layer learns its own w (H, num_buckets); T5 shares one among all layers. The bias is added to the scaled score;
    T5 itself does not scale scores. Defined at any length: all distances from ``max_distance`` on share a bucket.

    Args:
        num_buckets: ranges of distances, at least 2; half of them hold one distance each.
        max_distance: where the last range begins at the latest; above ``num_buckets // 2``.

    Raises:
        ArgumentError: an argument is out of range.
    """

    acts_on = "score"
    no_weight_decay: ClassVar[tuple[str, ...]] = ("weight",)
    weight: nn.Parameter

    def __init__(self, num_buckets: int = 32, max_distance: int = 128) -> None:
        super().__init__()
        require(num_buckets >= 2, "num_buckets", "an integer of at least 2", num_buckets)
        half = num_buckets // 2
        require(max_distance > half, "max_distance", f"an integer above num_buckets // 2 = {half}", max_distance)
        self.num_buckets = num_buckets
        self.max_distance = max_distance

    def configure(self, d_model: int, n_heads: int) -> None:
        """Create w, drawn from Normal(0, 0.02)."""
        self.weight = nn.Parameter(torch.empty(n_heads, self.num_buckets))
        self.initialise(0.02)

    @torch.no_grad()
    def initialise(self, std: float, generator: torch.Generator | None = None) -> None:
        """Draw w from Normal(0, ``std``), in float32 on the CPU whatever its type and device."""
        if not self.weight.is_meta:
            self.weight.copy_(std * torch.empty(self.weight.shape, device="cpu").normal_(generator=generator))

    def score_bias(self, n_queries: int, n_keys: int, like: Tensor) -> Tensor:
        """w[h, bucket(i - j)], (H, Tq, Tk); what a row may not see counts as distance 0."""
        # One number a distance, then windows over them: row by row the distances shift by one.
        distance = torch.arange(n_keys - 1, -n_queries, -1, device=like.device).clamp(min=0)
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        by_distance = self.weight.to(dtype)[:, t5_buckets(distance, self.num_buckets, self.max_distance)]
        return by_distance.unfold(1, n_keys, 1).flip(1)
