"""Softmax over the visible keys on PyTorch's fused kernels, biases of the scores included."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..position.position import Position
from .selective_mix import selective_mix
from .visibility import Visibility

# Rows of queries whose biased scores are held at once.
_STRIP_ROWS = 128
# Fused kernels want head widths that are multiples of 8.
_ALIGNMENT = 8


def softmax_mix(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    visibility: Visibility,
    *,
    scale: float,
    position: Position | None = None,
) -> Tensor:
    """softmax(scale q k^T + bias) v over the visible keys.

    Memory is O(T). A bias that depends on the key alone travels in extra channels; any other is made for strips of
    query rows, which are computed again in the backward pass. A padded batch or a chunk behind a cache builds one bool
    mask (B, 1, Tq, Tk). With a window W a strip of rows reads its W keys and no more; a selection that can leave keys
    out is made by :func:`lmzoo.layers.attention.selective_mix.selective_mix`.

    Args:
        query: (B, H, Tq, dh).
        key: (B, G, Tk, dh).
        value: as key.
        visibility: which keys each row sees.
        scale: factor of the scores.
        position: its ``score_bias`` is added to the scaled scores.

    Returns:
        (B, H, Tq, dh).
    """
    selection = visibility.selection
    if selection is not None and selection.keys < visibility.n_keys:
        return selective_mix(query, key, value, visibility, selection, scale=scale, position=position)
    if visibility.window is not None:
        return _by_strips(query, key, value, visibility, scale, position)
    if position is None or position.acts_on != "score":
        return _fused(query, key, value, visibility, scale, None)
    last = position.score_bias(min(visibility.n_queries, _STRIP_ROWS), visibility.n_keys, query)
    if last is not None and last.size(1) > 1:
        return _by_strips(query, key, value, visibility, scale, position)
    if last is None:
        return _fused(query, key, value, visibility, scale, None)
    width = query.size(-1)
    folded = fold_key_bias(query, key, value, last / scale)
    return _fused(*folded, visibility, scale, None)[..., :width]


def fold_key_bias(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Widen q, k, v so that q'.k' = q.k + bias, with no (Tq, Tk) tensor and the same output channels.

    q' = [q, u, 0], k' = [k, bias / u, 0], v' = [v, 0], where u is a power of two, which divides exactly. In float16 and
    bfloat16 the term is split into three pieces in three channels, whose sum has about 24 bits; u keeps them inside the
    range of float16.

    Args:
        query: (B, H, Tq, dh).
        key: (B, G, Tk, dh); repeated for each of its query heads where G < H, since slopes belong to query heads.
        value: as key.
        bias: (H, 1, Tk), before the scale of the scores.

    Returns:
        query (B, H, Tq, dh + 8), key and value (B, H, Tk, dh + 8), rounded up to a multiple of 8 channels.
    """
    if key.size(1) != query.size(1):
        repeats = query.size(1) // key.size(1)
        key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
    term = bias.transpose(1, 2)  # (H, Tk, 1)
    if query.dtype in (torch.float16, torch.bfloat16):
        # Terms of at most 2^14 leave the third piece above float16's smallest step.
        unit = torch.exp2(torch.log2(term.abs().amax().clamp(min=1.0)).ceil() - 14).clamp(min=1.0)
        pieces, rest = [], term / unit
        for _ in range(3):
            piece = rest.to(query.dtype)
            pieces.append(piece)
            rest = rest - piece
        carried = torch.cat(pieces, dim=-1)
    else:
        unit, carried = torch.ones((), device=query.device), term.to(query.dtype)
    n = carried.size(-1)
    spare = -(query.size(-1) + n) % _ALIGNMENT
    units = unit.to(query.dtype).expand(*query.shape[:-1], n)
    carried = carried.expand(key.size(0), -1, -1, -1)
    query = F.pad(torch.cat([query, units], dim=-1), (0, spare))
    key = F.pad(torch.cat([key, carried], dim=-1), (0, spare))
    return query, key, F.pad(value, (0, n + spare))


def _fused(
    query: Tensor, key: Tensor, value: Tensor, visibility: Visibility, scale: float, bias: Tensor | None
) -> Tensor:
    """One call of the kernel; bias (H, Tq, Tk)."""
    mask = None if visibility.is_full or visibility.is_square_causal else visibility.mask()
    if bias is not None:
        seen = visibility.mask()
        mask = bias.to(query.dtype).expand(seen.size(0), -1, -1, -1).masked_fill(~seen, -torch.inf)
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None and not visibility.is_full,
        scale=scale,
        enable_gqa=key.size(1) != query.size(1),
    )


def _by_strips(
    query: Tensor, key: Tensor, value: Tensor, visibility: Visibility, scale: float, position: Position | None
) -> Tensor:
    def strip(rows: Tensor, keys: Tensor, values: Tensor, seen: Visibility) -> Tensor:
        bias = None if position is None else position.score_bias(seen.n_queries, seen.n_keys, rows)
        return _fused(rows, keys, values, seen, scale, bias)

    mixed = []
    for a in range(0, visibility.n_queries, _STRIP_ROWS):
        b = min(a + _STRIP_ROWS, visibility.n_queries)
        keys, seen = visibility.strip(a, b)
        inputs = query[:, :, a:b], key[:, :, keys], value[:, :, keys], seen
        if torch.is_grad_enabled():
            mixed.append(checkpoint(strip, *inputs, use_reentrant=False, preserve_rng_state=False))
        else:
            mixed.append(strip(*inputs))
    return torch.cat(mixed, dim=2)
