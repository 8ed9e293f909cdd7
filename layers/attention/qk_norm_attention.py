"""Softmax attention of unit queries and keys, sharpened by the logarithm of the context length."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...errors import require
from ..common.unit_length import unit_length
from ..position.position import Position
from .attention import Attention
from .softmax_mix import softmax_mix
from .visibility import Visibility, log_counts


class QKNormAttention(Attention):
    """y_i = sum_j softmax_j(log(dh) log(N_i) q_i . k_j) v_j with q, k of unit length, N_i the visible keys of row i.

    The normalisation (arXiv:2010.04245) and length scale that softplus attention (arXiv:2501.13428) uses, with the
    softmax left in place: the rival that separates what they do from what its re-weighting does. No parameters
    beyond the projections. Rotary turns the unit vectors, which is the same as normalising turned ones. Row 1 sees one
    key, and its scale log 1 = 0 changes nothing. Memory as of ``SoftmaxAttention``.

    A query or key shorter than 1e-12 counts as 0, with gradient 0, as in softplus attention. Not supported: second
    derivatives.

    ``position=None`` is ``Rotary()``; one that acts on the scores is added after the scale. ``ArgumentError`` as of
    ``Attention``, and for heads of width 1.
    """

    position_kinds = frozenset({"query_key", "score", "nothing"})

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        n_kv_heads: int | None = None,
        position: Position | type[Position] | None = None,
    ) -> None:
        super().__init__(d_model, n_heads, n_kv_heads=n_kv_heads, position=position)
        width = "a divisor of d_model that leaves heads of width 2 or more: log(dh) = 0 would make every score 0"
        require(self.head_width >= 2, "n_heads", width, n_heads)

    def half_precision_factor(self) -> tuple[float, float]:
        """Of y and dx: measured 1.8 to 2.1 and 2.3 to 2.5, for unit vectors are rounded once more and sharpened."""
        return 2.5, 3.0

    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Normalise, then place: rounded once, to the type of the query."""
        placed = self.position.transform(_unit(query), _unit(key), start)
        return placed[0].to(query.dtype), placed[1].to(key.dtype)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        """softmax(log(dh) log(N_i) q k^T + bias) v over the visible keys."""
        sharp = _sharpen(query, visibility)
        return softmax_mix(sharp, key, value, visibility, scale=1.0, position=self.position)


def qk_norm_attention(query: Tensor, key: Tensor, value: Tensor, *, key_mask: Tensor | None = None) -> Tensor:
    """The attention of :class:`QKNormAttention`: rotary is applied already, normalisation happens inside.

    Args:
        query: (B, H, Tq, dh), standing at the end of the keys.
        key: (B, G, Tk, dh).
        value: as key.
        key_mask: (B, Tk) bool, true = real token; None: all are.

    Raises:
        ArgumentError: dh is 1.
    """
    require(
        query.size(-1) >= 2,
        "query",
        "heads of width 2 or more: log(dh) = 0 would make every score 0",
        tuple(query.shape),
    )
    visibility = Visibility(query.size(2), key.size(2), key_mask, query.device, batch=query.size(0))
    scaled = _sharpen(_unit(query), visibility).to(query.dtype)
    return softmax_mix(scaled, _unit(key).to(key.dtype), value, visibility, scale=1.0)


def _unit(x: Tensor) -> Tensor:
    # as in softplus attention, which this is to be compared with
    return unit_length(x if x.dtype == torch.float64 else x.float())


def _sharpen(query: Tensor, visibility: Visibility) -> Tensor:
    return (query * (math.log(query.size(-1)) * log_counts(visibility, query))).to(query.dtype)
