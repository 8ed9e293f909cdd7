"""Keys and values of past tokens, kept between calls."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class CacheLike(Protocol):
    """What an attention layer needs of a cache; transformers' ``Cache`` has it too.

    ``get_seq_length(layer_index)`` is used where it exists.
    """

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, /) -> tuple[Tensor, Tensor]:
        """Append (B, G, Tq, dh) keys and values of one layer; return all of them, (B, G, Tk, dh)."""
        ...


class KeyCache:
    """A growing key/value cache, one slot a layer.

    Room is doubled when it runs out, so n steps of one token copy O(n) keys in all. While gradients are recorded the
    keys are concatenated instead, because writing into a shared buffer would spoil what autograd has saved.

    Not supported: reordering for beam search, cropping; use transformers' ``DynamicCache`` for those.
    """

    def __init__(self) -> None:
        self._stores: dict[int, tuple[Tensor, Tensor]] = {}
        self._lengths: dict[int, int] = {}

    def get_seq_length(self, layer_index: int = 0) -> int:
        """The number of keys that the layer has cached, padding included."""
        return self._lengths.get(layer_index, 0)

    def update(self, key: Tensor, value: Tensor, layer_index: int) -> tuple[Tensor, Tensor]:
        """Append keys and values (B, G, Tq, dh) of one layer and return all of them (B, G, Tk, dh)."""
        start = self.get_seq_length(layer_index)
        end = start + key.size(2)
        old = self._stores.get(layer_index)
        self._lengths[layer_index] = end
        if torch.is_grad_enabled() and (key.requires_grad or value.requires_grad):
            if old is not None:
                key = torch.cat([old[0][:, :, :start], key], dim=2)
                value = torch.cat([old[1][:, :, :start], value], dim=2)
            self._stores[layer_index] = (key, value)
            return key, value
        if old is None or end > old[0].size(2) or old[0].requires_grad:
            store = _grown(old[0] if old else None, key, start, end), _grown(old[1] if old else None, value, start, end)
            self._stores[layer_index] = store
        else:
            store = old
        store[0][:, :, start:end] = key
        store[1][:, :, start:end] = value
        return store[0][:, :, :end], store[1][:, :, :end]


def _grown(old: Tensor | None, new: Tensor, start: int, end: int) -> Tensor:
    """Room for at least ``end`` keys, the first ``start`` copied from ``old``."""
    store = new.new_empty(new.size(0), new.size(1), max(end, 2 * start, 16), new.size(3))
    if old is not None:
        store[:, :, :start] = old[:, :, :start]
    return store
