"""Sigmoid attention: every key is weighed on its own."""

from __future__ import annotations

import math

from torch import Tensor

from ...errors import require
from ..position.position import Position
from .attention import Attention
from .pointwise_attention import pointwise_attention
from .visibility import Visibility


class SigmoidAttention(Attention):
    """y_i = sum_j sigmoid(q_i . k_j / sqrt(dh) - log T) v_j over the visible keys, T the training length.

    arXiv:2409.04431. Nothing is normalised; the constant shift makes the weights of a row of T keys sum to about 1 at
    the start. T is part of the layer and does not follow the evaluation length. Memory is O(T); see
    :mod:`lmzoo.layers.attention.pointwise_attention`. Positions that act on the scores are not supported:
    those of softmax are free up to a constant a row, which matters here.

    Args:
        d_model: d.
        n_heads: H.
        n_kv_heads: G.
        position: None is ``Rotary()``.
        train_length: T, tokens of a training context; ``lmzoo fit`` refuses one that ``data.context_length`` is not.

    Raises:
        ArgumentError: ``train_length`` is below 1, and what ``Attention`` raises.
    """

    train_length: int

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        n_kv_heads: int | None = None,
        position: Position | type[Position] | None = None,
        train_length: int = 1024,
    ) -> None:
        super().__init__(d_model, n_heads, n_kv_heads=n_kv_heads, position=position)
        require(train_length >= 1, "train_length", "an integer of at least 1", train_length)
        self.train_length = train_length

    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        """sigmoid(q k^T / sqrt(dh) - log T) v over the visible keys."""
        return _mix(query, key, value, visibility, self.train_length)


def sigmoid_attention(
    query: Tensor, key: Tensor, value: Tensor, *, train_length: int, key_mask: Tensor | None = None
) -> Tensor:
    """The attention of :class:`SigmoidAttention`; rotary is applied already.

    Args:
        query: (B, H, Tq, dh), standing at the end of the keys.
        key: (B, G, Tk, dh).
        value: as key.
        train_length: T.
        key_mask: (B, Tk) bool, true = real token; None: all are.
    """
    visibility = Visibility(query.size(2), key.size(2), key_mask, query.device, batch=query.size(0))
    return _mix(query, key, value, visibility, train_length)


def _mix(query: Tensor, key: Tensor, value: Tensor, visibility: Visibility, train_length: int) -> Tensor:
    scale, shift = 1.0 / math.sqrt(query.size(-1)), -math.log(train_length)
    return pointwise_attention(query, key, value, visibility, activation="sigmoid", scale=scale, shift=shift)
