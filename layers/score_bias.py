"""A score term that depends on the key alone, carried by extra channels of queries and keys."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Fused kernels want head widths that are multiples of 8.
_ALIGNMENT = 8


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
