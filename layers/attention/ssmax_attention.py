"""Scalable softmax: the temperature falls with the logarithm of the context length, at a learned rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ...errors import require
from ..position.position import Position
from .attention import Attention
from .softmax_mix import softmax_mix
from .visibility import Visibility, log_counts


class SSMaxAttention(Attention):
    """y_i = sum_j softmax_j(s_h log(N_i) q_i . k_j / sqrt(dh)) v_j, N_i the visible keys of row i (arXiv:2501.19399).

    s is learned, one number a head. Memory as of ``SoftmaxAttention``. The paper's variant with a learned bias b,
    s log(N) + b, is not supported.

    Args:
        d_model: d.
        n_heads: H.
        n_kv_heads: G.
        position: None is ``Rotary()``; one that acts on the scores is added after the scale.
        initial_scale: where s starts; the default is the value of the paper's first figure.

    Raises:
        ArgumentError: ``initial_scale`` is not above 0, and what ``Attention`` raises.
    """

    position_kinds = frozenset({"query_key", "score", "nothing"})

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        n_kv_heads: int | None = None,
        position: Position | type[Position] | None = None,
        initial_scale: float = 0.43,
    ) -> None:
        super().__init__(d_model, n_heads, n_kv_heads=n_kv_heads, position=position)
        require(initial_scale > 0, "initial_scale", "a number above 0", initial_scale)
        self.initial_scale = initial_scale
        self.length_scale = nn.Parameter(torch.full((n_heads,), initial_scale))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        """softmax(s log(N_i) q k^T / sqrt(dh) + bias) v over the visible keys."""
        sharp = _sharpen(query, self.length_scale, visibility)
        return softmax_mix(sharp, key, value, visibility, scale=1.0, position=self.position)


def ssmax_attention(
    query: Tensor, key: Tensor, value: Tensor, length_scale: Tensor, *, key_mask: Tensor | None = None
) -> Tensor:
    """The attention of :class:`SSMaxAttention`; rotary is applied already.

    Args:
        query: (B, H, Tq, dh), standing at the end of the keys.
        key: (B, G, Tk, dh).
        value: as key.
        length_scale: s, (H).
        key_mask: (B, Tk) bool, true = real token; None: all are.
    """
    visibility = Visibility(query.size(2), key.size(2), key_mask, query.device, batch=query.size(0))
    return softmax_mix(_sharpen(query, length_scale, visibility), key, value, visibility, scale=1.0)


def _sharpen(query: Tensor, length_scale: Tensor, visibility: Visibility) -> Tensor:
    rows = log_counts(visibility, query)
    factor = length_scale.to(rows.dtype)[:, None, None] * rows / math.sqrt(query.size(-1))
    return (query * factor).to(query.dtype)
