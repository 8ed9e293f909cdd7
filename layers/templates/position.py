"""Rotary positions on some channels of each head only: a part for lmzoo to begin from.

Change transform(), then see whether everything that a position promises still holds with `lmzoo check`.
"""

from lmzoo.errors import require
from lmzoo.layers import Position
from lmzoo.layers.functional import rotary
from torch import Tensor, cat


class MyPosition(Position):
    """The first channels of queries and keys turn with their index, as in RoPE (arXiv:2104.09864); the others do not.

    Defined at any length, since scores depend on the distance alone.

    Args:
        share: the part of a head's channels that turns, above 0 and at most 1; rounded down to an even number.
        base: the slowest pair turns once in about 2 pi base tokens.

    Raises:
        ArgumentError: an argument is out of range, or so narrow a head has no pair that would turn.
    """

    # Which hook does the work: query_key: transform(); score: score_bias(); embedding: encode().
    acts_on = "query_key"

    def __init__(self, share: float = 0.5, base: float = 10000.0) -> None:
        super().__init__()
        require(0 < share <= 1, "share", "a number above 0 and at most 1", share)
        require(base > 0, "base", "a number above 0", base)
        # Every argument is kept as an attribute of its own name: that is how a model describes itself when it is saved.
        self.share = share
        self.base = base

    def configure(self, d_model: int, n_heads: int) -> None:
        """Called once for each layer, on a copy, when its sizes are known: parameters are made here."""
        self.width = int(self.share * d_model / n_heads) // 2 * 2
        require(self.width >= 2, "share", f"2 channels or more of the {d_model // n_heads} of a head", self.share)

    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Place queries (B, H, T, dh) and keys (B, G, T, dh), whose first row has the absolute index `start`."""
        return self._turn(query, start), self._turn(key, start)

    def _turn(self, x: Tensor, start: int) -> Tensor:
        turning, resting = x.split([self.width, x.size(-1) - self.width], dim=-1)
        return cat([rotary(turning, base=self.base, start=start), resting], dim=-1)
