"""A layer of lmzoo behind the interface that transformers models call."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...errors import require
from ...layers import Attention
from .host_call import check_positions, key_mask_of, refuse_extras


class ForeignAttention(nn.Module):
    """``layer`` as the self-attention of a transformers model: (hidden_states, ...) -> (output, None).

    The mask may be None, (B, Tk), or four-dimensional, bool or additive, as long as it hides the future and padding
    alone. The cache is transformers' own, of the kind that grows. The layer places tokens itself, so that
    ``position_embeddings`` are not used and ``position_ids`` must be the ordinary ones, left padding counted or not.

    Not supported, and refused by an error: static caches, packed documents, windows that are shorter than the
    sequence, dropout of attention weights in training, attention maps.

    Args:
        layer: the attention layer.
        layer_idx: its slot in the cache.
        attention_dropout: what the replaced layer had; above 0 the adapter refuses to train.
        residual_dropout: of the output, in training.
        window: the most keys that a row of the replaced layer sees; longer sequences are refused.
    """

    def __init__(
        self,
        layer: Attention,
        layer_idx: int,
        *,
        attention_dropout: float = 0.0,
        residual_dropout: float = 0.0,
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.layer = layer
        self.layer_idx = layer_idx
        self.attention_dropout = attention_dropout
        self.residual_dropout = residual_dropout
        self.window = window
        self.dropout = nn.Dropout(residual_dropout)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        position_ids: Tensor | None = None,
        **more: Any,
    ) -> tuple[Tensor, None]:
        """Attend from ``hidden_states`` (B, T, d) to the cached tokens and to themselves.

        Raises:
            ArgumentError: the call asks for more than causality, padding and a growing cache.
        """
        kind = type(self.layer).__name__
        refuse_extras(kind, self.attention_dropout if self.training else 0.0, more)
        static = bool(getattr(past_key_values, "is_compileable", False))
        require(
            not static, "past_key_values", "a cache that grows, such as DynamicCache", type(past_key_values).__name__
        )
        batch, length, _ = hidden_states.shape
        start = 0
        if past_key_values is not None:
            start = self.layer.past_length(hidden_states, past_key_values, self.layer_idx)
        n_keys = start + length
        covered = self.window is None or n_keys <= self.window
        require(
            covered, "sliding_window", f"at least {n_keys}, the length of the sequence: {kind} has none", self.window
        )
        real = key_mask_of(attention_mask, batch, length, n_keys)
        check_positions(position_ids, real, start)
        y = self.layer(hidden_states, real, past_key_values, self.layer_idx)
        return self.dropout(y), None
