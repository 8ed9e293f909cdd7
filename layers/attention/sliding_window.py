"""A sliding window of keys for any attention."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .complex_attention import ComplexAttention
from .qk_norm_attention import QKNormAttention
from .softmax_attention import SoftmaxAttention
from .ssmax_attention import SSMaxAttention
from .visibility import Visibility

Attend = Callable[[Tensor, Tensor, Tensor, Visibility], Tensor]

SOFTMAX_LAYERS = (SoftmaxAttention, ComplexAttention, QKNormAttention, SSMaxAttention)
"""The layers whose ``attend`` takes all that it knows of visibility from :class:`Visibility`, windows included."""

# Numbers of the keys that are copied at once where each row gets its own.
_AT_ONCE = 1 << 22


def mixes_by_softmax(layer: object) -> bool:
    """Whether the layer is one of :data:`SOFTMAX_LAYERS`, or inherits its ``attend`` unchanged."""
    attend = getattr(type(layer), "attend", None)
    return any(attend is known.attend for known in SOFTMAX_LAYERS)


def windowed(attend: Attend, window: int, *, by_mask: bool) -> Attend:
    """``attend`` of an attention layer in which row i sees the keys i - W < j <= i alone, W = ``window``.

    To the layer it is as if earlier keys did not exist: N_i, where it has a part in the scores, counts at most W keys,
    so the window also stops the growth of their length scale; thresholds and normalisers are those of W keys.

    Args:
        attend: ``attend(query, key, value, visibility)``; see :class:`Attention`.
        window: W.
        by_mask: the layer obeys ``visibility.window``. Otherwise each row is given its own W keys as if it were a
            sequence of its own, which holds for any causal attention whose rows do not depend on each other. It copies
            W dh numbers a row, some rows at a time: the memory is O(T) without gradients and O(T W) with them, since
            backward keeps every copy; the time is that of T decoding steps.
    """
    if by_mask:
        return lambda query, key, value, visibility: attend(query, key, value, visibility.limited(window=window))

    def by_rows(query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        if window >= visibility.n_keys:
            return attend(query, key, value, visibility)
        # The rows that see the start of the sequence see all before them: one ordinary call.
        whole = min(max(window - visibility.start, 0), visibility.n_queries)
        mixed = []
        if whole:
            keys, seen = visibility.strip(0, whole)
            mixed.append(attend(query[:, :, :whole], key[:, :, keys], value[:, :, keys], seen))
        step = max(1, _AT_ONCE // (key.size(0) * key.size(1) * window * key.size(3)))
        for a in range(whole, visibility.n_queries, step):
            mixed.append(_rows(attend, query, key, value, visibility, window, a, min(a + step, visibility.n_queries)))
        return torch.cat(mixed, dim=2)

    return by_rows


def _rows(
    attend: Attend, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility, window: int, a: int, b: int
) -> Tensor:
    """Rows a to b, each of which sees W keys: a batch of B (b - a) sequences with one query."""
    batch, heads, _, width = query.shape
    first, end = visibility.start + a - window + 1, visibility.start + b
    n = b - a

    def own(x: Tensor) -> Tensor:
        """(B, G, Tk, dh) -> (B n, G, W, dh)."""
        return x[:, :, first:end].unfold(2, window, 1).permute(0, 2, 1, 4, 3).reshape(batch * n, -1, window, x.size(3))

    mask = visibility.key_mask
    real = None if mask is None else mask[:, first:end].unfold(1, window, 1).reshape(batch * n, window)
    rows = query[:, :, a:b].transpose(1, 2).reshape(batch * n, heads, 1, width)
    mixed = attend(rows, own(key), own(value), Visibility(1, window, real, query.device))
    return mixed.view(batch, n, heads, -1).transpose(1, 2)
