"""Softmax attention of unit queries and keys, sharpened by the logarithm of the context length."""

from __future__ import annotations

import math

from torch import Tensor

from .attention import Attention
from .length_scale import log_counts, unit
from .softmax_mix import softmax_mix
from .visibility import Visibility


class QKNormAttention(Attention):
    """y_i = sum_j softmax_j(log(dh) log(N_i) q_i . k_j) v_j with q, k of unit length, N_i the visible keys of row i.

    The normalisation (arXiv:2010.04245) and length scale that softplus attention (arXiv:2501.13428) uses, with the
    softmax left in place: the rival that separates what they do from what its re-weighting does. No parameters
    beyond the projections. Rotary turns the unit vectors, which is the same as normalising turned ones. Row 1 sees one
    key, and its scale log 1 = 0 changes nothing. Memory as of ``SoftmaxAttention``.

    ``position=None`` is ``Rotary()``; one that acts on the scores is added after the scale.
    """

    position_kinds = frozenset({"query_key", "score", "nothing"})

    def half_precision_factor(self) -> tuple[float, float]:
        """Of y and dx: measured 1.8 to 2.1 and 2.3 to 2.5, for unit vectors are rounded once more and sharpened."""
        return 2.5, 3.0

    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Normalise, then place: rounded once, to the type of the query."""
        placed = self.position.transform(unit(query), unit(key), start)
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
    """
    visibility = Visibility(query.size(2), key.size(2), key_mask, query.device, batch=query.size(0))
    scaled = _sharpen(unit(query), visibility).to(query.dtype)
    return softmax_mix(scaled, unit(key).to(key.dtype), value, visibility, scale=1.0)


def _sharpen(query: Tensor, visibility: Visibility) -> Tensor:
    return (query * (math.log(query.size(-1)) * log_counts(visibility, query))).to(query.dtype)
