"""The weights of an attention layer as a matrix, for looking at: no layer holds them while it works."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .visibility import Visibility

Mix = Callable[[Tensor, Tensor, Tensor, Visibility], Tensor]

# Numbers of the keys that are repeated at once.
_AT_ONCE = 1 << 22


@torch.no_grad()
def attention_weights(mix: Mix, query: Tensor, key: Tensor, visibility: Visibility) -> Tensor:
    """The matrix W with ``mix(query, key, v, visibility)`` = W v for all values v; row i holds the weights of row i.

    Every attention here is linear in its values, so W is read off by giving it unit vectors as values, dh keys at a
    time. It is thus what the layer itself computes, kernels, biases, normalisers and all, with no second
    implementation; of a class from outside lmzoo too. It costs Tk / dh calls on all keys: meant for strips of few rows.

    Args:
        mix: the ``attend`` of an :class:`Attention`, or a function like it, linear in its values.
        query: (B, H, Tq, dh), after ``transform``, standing at the end of the keys.
        key: (B, G, Tk, dh), after ``transform``.
        visibility: of these Tq rows and Tk keys.

    Returns:
        (B, H, Tq, Tk) in the type that ``mix`` returns; weights of invisible keys are 0. No gradient.

    Not supported: attention that is not linear in its values gives numbers that mean nothing, so compare W v with the
    layer's output where the class is not known.
    """
    batch, heads, n_queries, width = query.shape
    groups, n_keys = key.shape[1:3]
    n_blocks = -(-n_keys // width)
    # (block, key, channel): key j has its 1 in channel j mod dh of block j // dh
    units = torch.eye(n_blocks * width, n_keys, dtype=query.dtype, device=query.device)
    units = units.view(n_blocks, width, n_keys).transpose(1, 2)
    step = max(1, _AT_ONCE // max(1, batch * heads * n_keys * width))
    blocks = []
    for values in units.split(step):
        n = values.size(0)
        value = values[:, None, None].expand(n, batch, groups, n_keys, width).reshape(n * batch, groups, n_keys, width)
        mask = visibility.key_mask
        repeated = None if mask is None else mask.repeat(n, 1)
        seen = Visibility(n_queries, n_keys, repeated, query.device).limited(
            window=visibility.window, selection=visibility.selection
        )
        mixed = mix(query.repeat(n, 1, 1, 1), key.repeat(n, 1, 1, 1), value, seen)
        blocks.append(mixed.view(n, batch, heads, n_queries, width))
    return torch.cat(blocks).permute(1, 2, 3, 0, 4).reshape(batch, heads, n_queries, -1)[..., :n_keys]
