"""The frame that every attention layer fills in."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from ...errors import require
from ..common.linear import Linear
from ..common.part import Part
from ..position.position import Position, PositionKind, as_template
from ..position.rotary import Rotary
from .cache import CacheLike
from .visibility import Visibility


class Attention(Part):
    """Causal multi-head self-attention with grouped keys: x, y (B, T, d).

    ``layer(x, attention_mask=None, cache=None, layer_index=0)`` projects x to queries (B, H, T, dh), keys and values
    (B, G, T, dh) in one product, calls :meth:`transform`, appends to the cache, calls :meth:`attend` and projects back.
    A new layer overrides :meth:`attend`, or :meth:`transform` where its positions are its own. Keys are cached after
    ``transform``, so a cached key never changes. Padded rows give finite values that mean nothing.

    Args:
        d_model: d, the width of x.
        n_heads: H, heads of width dh = d / H.
        n_kv_heads: G, key/value heads, each shared by H / G query heads; None is H.
        position: where tokens stand; None is ``default_position``.

    Raises:
        ArgumentError: H does not divide d, G does not divide H, or the layer cannot use the position; when called,
            an attention mask that is not bool (B, Tk) over all keys, cached ones included; (1, Tk) is not repeated.
    """

    default_position: ClassVar[type[Position]] = Rotary
    """The position of a layer that is given none."""

    position_kinds: ClassVar[frozenset[PositionKind]] = frozenset({"query_key", "nothing"})
    """What a position may act on; any other is refused."""

    train_length: int | None = None
    """The only context length, in tokens, that the layer may be trained on; None is any."""

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        n_kv_heads: int | None = None,
        position: Position | type[Position] | None = None,
    ) -> None:
        super().__init__()
        require(n_heads >= 1, "n_heads", "an integer of at least 1", n_heads)
        require(d_model >= 1 and d_model % n_heads == 0, "d_model", f"a multiple of n_heads = {n_heads}", d_model)
        n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        divides = n_kv_heads >= 1 and n_heads % n_kv_heads == 0
        require(divides, "n_kv_heads", f"a divisor of n_heads = {n_heads}", n_kv_heads)
        self.d_model = d_model
        self.n_heads = n_heads
        self.n_kv_heads = n_kv_heads
        self.head_width = d_model // n_heads
        template = as_template(self.default_position if position is None else position)
        kinds = sorted(self.position_kinds)
        usable = template.acts_on in self.position_kinds
        require(usable, "position", f"one that acts on {' or '.join(kinds)}", type(template).__name__)
        self.position = template.bind(d_model=d_model, n_heads=n_heads)
        self.qkv = Linear(d_model, (n_heads + 2 * n_kv_heads) * self.head_width, bias=False)
        self.output = Linear(d_model, d_model, bias=False)

    def forward(
        self,
        x: Tensor,
        attention_mask: Tensor | None = None,
        cache: CacheLike | None = None,
        layer_index: int = 0,
    ) -> Tensor:
        """Attend from the tokens of x (B, T, d) to the cached tokens and to themselves; (B, T, d)."""
        batch, length, _ = x.shape
        heads = [self.n_heads, self.n_kv_heads, self.n_kv_heads]
        packed: Tensor = self.qkv(x).view(batch, length, sum(heads), self.head_width)
        query, key, value = torch.split(packed.transpose(1, 2), heads, dim=1)
        start = 0 if cache is None else self.past_length(x, cache, layer_index)
        # Made before anything is cached, so that a wrong mask leaves the cache as it was.
        visibility = Visibility(length, start + length, attention_mask, x.device, batch=batch)
        query, key = self.transform(query, key, start)
        dtype = value.dtype
        if cache is not None:
            key, value = cache.update(key, value, layer_index)
        # A cache with one type for both has widened the values where keys are float32 and the model is not.
        y = self.attend(query, key, value, visibility).to(dtype)
        projected: Tensor = self.output(y.transpose(1, 2).reshape(batch, length, self.d_model))
        return projected

    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Work on queries (B, H, T, dh) and keys (B, G, T, dh) of absolute index ``start`` and on, before caching."""
        return self.position.transform(query, key, start)

    @abstractmethod
    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        """Mix values: query (B, H, Tq, dh), key and value (B, G, Tk, dh) -> (B, H, Tq, dh)."""

    def half_precision_factor(self) -> tuple[float, float]:
        """How many times softmax attention's errors in half precision y and dx may have, as the contract checks."""
        return 2.0, 2.0

    def past_length(self, x: Tensor, cache: CacheLike, layer_index: int) -> int:
        """The number of keys before x in the cache, padding included."""
        known = getattr(cache, "get_seq_length", None)
        if known is not None:
            return int(known(layer_index))
        nothing = x.new_empty(x.size(0), self.n_kv_heads, 0, self.head_width)
        return cache.update(nothing, nothing, layer_index)[0].size(2)

    def product_flops(self, context_length: int) -> float:
        """FLOPs of the score and value products for one token, forward, averaged over the rows of a full context.

        Row i sees i keys, (T + 1) / 2 on average, and each costs 2 dh multiply-adds a head: 2 d (T + 1) in all.
        """
        return 2.0 * self.d_model * (context_length + 1)
