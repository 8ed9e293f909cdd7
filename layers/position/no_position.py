"""No position method at all."""

from __future__ import annotations

from .position import Position


class NoPosition(Position):
    """NoPE: a causal model without position method, which infers order from the mask alone (arXiv:2305.19466)."""

    acts_on = "nothing"
