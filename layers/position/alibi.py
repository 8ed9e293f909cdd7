"""ALiBi: a penalty on the score that grows linearly with distance."""

from __future__ import annotations

import torch
from torch import Tensor

from .position import Position


def alibi_slopes(n_heads: int) -> list[float]:
    """The slope m_h of each head (arXiv:2108.12409).

    For H a power of two, m_h = 2^(-8h/H), h = 1..H. Otherwise, as in the authors' code, the slopes of the largest power
    of two P below H, followed by every second slope (the first, third, ...) of 2P heads.
    """
    power = 1 << (n_heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * h / power) for h in range(1, power + 1)]
    return slopes + [2.0 ** (-4.0 * h / power) for h in range(1, 2 * (n_heads - power), 2)]


class ALiBi(Position):
    """Attention with linear biases (arXiv:2108.12409): score(i, j) gains -m_h (i - j).

    Softmax ignores what a whole row shares, so m_h (j - j_last) serves as well and depends on the key alone: no
    (H, T, T) bias is ever built. Defined at any length; no parameters.

    The shared part, up to m_h T, costs digits: in float32 a score is off by about 6e-8 m_h T, so the error of y grows
    with T (8 heads of 64, normal q, k and v, against float64: at most 5e-5 at T 2048, 2e-4 at T 8192).
    """

    acts_on = "score"

    def configure(self, d_model: int, n_heads: int) -> None:
        """Fix the slopes."""
        self.slopes = alibi_slopes(n_heads)

    def score_bias(self, n_queries: int, n_keys: int, like: Tensor) -> Tensor:
        """m_h (j - j_last), (H, 1, Tk): 0 at the last key, negative before it."""
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        slopes = torch.tensor(self.slopes, dtype=dtype, device=like.device)
        distance = torch.arange(1 - n_keys, 1, dtype=dtype, device=like.device)
        return slopes[:, None, None] * distance
