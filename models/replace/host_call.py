"""What a transformers model says when it calls its attention: read where it is causality and padding, else refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import require
from ...layers.attention.visibility import Visibility

# What would change the attention if it were not None: other scores, other keys, or several documents in one row.
_UNUSABLE = (
    "alibi",
    "cache",
    "cu_seq_lens_k",
    "cu_seq_lens_q",
    "encoder_hidden_states",
    "head_mask",
    "layer_head_mask",
    "position_bias",
    "s_aux",
    "seq_idx",
    "softcap",
)
# Additive masks hide a key by a number that no exponential survives; anything between it and 0 is a bias.
_HIDDEN = -1e4


def refuse_extras(kind: str, dropout: float, more: Mapping[str, Any]) -> None:
    """Refuse what a layer hands over beside queries, keys, values and mask, where it would change the attention.

    Args:
        kind: the name of the layer's class, for the error.
        dropout: of attention weights, as it applies to this call.
        more: the other keyword arguments.

    Raises:
        ArgumentError: one of them is not None, attention is not to be causal, its weights are asked for, or dropped.
    """
    for name in _UNUSABLE:
        require(more.get(name) is None, name, f"None: this attention has no such thing ({kind})", type(more.get(name)))
    require(more.get("is_causal") is not False, "is_causal", f"True: this attention is causal ({kind})", False)
    shown = bool(more.get("output_attentions"))
    require(not shown, "output_attentions", f"False: the weights are never held at once ({kind})", shown)
    expected = f"0 in training: this attention drops no weights ({kind}); load the model with attention_dropout=0.0"
    require(
        dropout == 0.0, "attention_dropout", f"{expected}, or attn_pdrop=0.0 where its configuration has that", dropout
    )


def key_mask_of(
    mask: Tensor | None, batch: int, n_queries: int, n_keys: int, argument: str = "attention_mask"
) -> Tensor | None:
    """(B, Tk) bool, true = real token, or None where all are real.

    Args:
        mask: None; (B, Tk) with 1 or true for real tokens; or (B or 1, 1, Tq, Tk), bool with true for visible pairs,
            or additive with 0 for them.
        batch: B.
        n_queries: Tq, the rows that stand at the end of the keys.
        n_keys: Tk.
        argument: what to name in errors.

    Raises:
        ArgumentError: the mask is no tensor, has another shape, holds biases, or hides more than the future and
            padding: a sliding window, packed documents, a static cache.
    """
    if mask is None:
        return None
    is_tensor = isinstance(mask, Tensor)
    require(is_tensor, argument, "a tensor or None (flex attention's block masks have no use)", type(mask))
    shape = tuple(mask.shape)
    if mask.dim() == 2:
        require(shape == (batch, n_keys), argument, f"shape ({batch}, {n_keys}): all keys", shape)
        real = mask.bool()
        return None if bool(real.all()) else real
    fits = mask.dim() == 4 and shape[0] in (1, batch) and shape[1] == 1 and shape[2:] == (n_queries, n_keys)
    require(fits, argument, f"shape ({batch}, 1, {n_queries}, {n_keys}), all keys and no static cache", shape)
    if mask.dtype == torch.bool:
        visible = mask
    else:
        visible = mask == 0
        plain = bool((visible | (mask <= _HIDDEN)).all())
        require(plain, argument, "an additive mask of 0 and very low numbers", "biases in between")
    # the last row sees every real key, whether it is padding itself or not
    real = visible[:, 0, -1].expand(batch, -1)
    ours = Visibility(n_queries, n_keys, None if bool(real.all()) else real, mask.device)
    seen = ours.mask()
    # Rows of padding may see real keys alone, themselves besides, or, as some versions have it, everything. A key that
    # other rows see and the last one does not belongs to another document.
    alike = (visible == (seen & real[:, None, None])).all(dim=-1) | (visible == seen).all(dim=-1)
    padded = ~real[:, None, n_keys - n_queries :]
    plain = bool((alike | padded & visible.all(dim=-1)).all())
    # No row that ends in a real token behind cached keys: these are rather the empty places of a static cache.
    plain = plain and (n_queries == n_keys or bool(real[:, -1].any()))
    expected = "a mask that hides the future and padding: no sliding window, no packed documents, no static cache"
    require(plain, argument, expected, f"another one, {shape}")
    return ours.key_mask


def check_positions(position_ids: Tensor | None, key_mask: Tensor | None, start: int) -> None:
    """Make sure that tokens are counted one by one, as layers with positions of their own count them.

    Args:
        position_ids: (B or 1, Tq), or None for the ordinary ones.
        key_mask: (B, Tk) bool, true = real token, or None.
        start: the number of keys before the first row.

    Raises:
        ArgumentError: they count neither every token nor every real token of their row from 0.
    """
    if position_ids is None:
        return
    index = torch.arange(start, start + position_ids.size(-1), device=position_ids.device)
    right = position_ids.dim() == 2
    if right and key_mask is None:
        right = torch.equal(position_ids, index.expand_as(position_ids))
    elif right and key_mask is not None:
        padded = ~key_mask[:, start:]
        by_index = ((position_ids == index) | padded).all(dim=1)
        by_count = ((position_ids == key_mask.cumsum(dim=1)[:, start:] - 1) | padded).all(dim=1)
        right = bool((by_index | by_count).all())
    expected = "positions that count every token, or every real token, of their row from 0"
    require(right, "position_ids", expected, f"others, {tuple(position_ids.shape)}")
