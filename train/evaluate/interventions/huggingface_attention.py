"""Windows and elected keys for Hugging Face models, through the library's attention interface."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from ....errors import require
from ....layers.attention.softmax_mix import softmax_mix
from ....layers.attention.visibility import KeySelection, Visibility
from ....models.replace.host_call import key_mask_of

_PREFIX = "lmzoo_limited_sdpa"
# What a layer may hand over beside queries, keys and values, and what would change the attention if it were not None.
_REFUSED = ("softcap", "s_aux", "position_bias", "head_mask", "alibi")


@contextmanager
def limited_attention(
    model: PreTrainedModel, option: str, *, window: int | None = None, selection: KeySelection | None = None
) -> Iterator[None]:
    """Let the softmax attention of ``model`` see fewer keys.

    Not supported: models whose layers do not call the attention interface (they are refused at once); layers that cap
    scores, add biases or sinks, or have a window of their own that is shorter than the sequence (refused at the first
    call).

    Args:
        model: any Hugging Face model with causal self-attention.
        option: what to name in errors.
        window: as of :class:`Visibility`.
        selection: as of :class:`Visibility`.

    Raises:
        ArgumentError: the model cannot be limited so.
    """
    name = type(model).__name__
    able = model._can_set_attn_implementation() and model._supports_attention_backend
    require(able, option, "a model whose layers call transformers' attention interface", name)
    # The library finds an implementation by its name, for all models of the process: each limit has a name of its own.
    kept = selection or KeySelection(1)
    implementation = f"{_PREFIX}_{option}_{window or 0}_{kept.keys}_{kept.recent}_{kept.sinks}"
    AttentionInterface.register(implementation, _attention(option, window, selection))
    AttentionMaskInterface.register(implementation, sdpa_mask)
    configs = {id(m.config): m.config for m in model.modules() if isinstance(m, PreTrainedModel)}
    before = [(config, config._attn_implementation) for config in configs.values()]
    free = not any(str(old).startswith(_PREFIX) for _, old in before)
    require(free, "model", "a model whose attention is not limited already", name)
    try:
        for config, _ in before:
            config._attn_implementation = implementation
        yield
    finally:
        for config, old in before:
            config._attn_implementation = old


def _attention(option: str, window: int | None, selection: KeySelection | None) -> Any:
    def attention(
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        dropout: float = 0.0,
        **more: Any,
    ) -> tuple[Tensor, None]:
        """(B, H, Tq, dh), keys (B, G, Tk, dh), mask (B, 1, Tq, Tk) or None -> (B, Tq, H, dh)."""
        kind = type(module).__name__
        for refused in _REFUSED:
            require(more.get(refused) is None, option, f"attention without {refused}", kind)
        own = more.get("sliding_window")
        short = own is not None and own < key.size(2)
        require(not short, option, f"attention without a window of its own that is below {key.size(2)}", own)
        causal = getattr(module, "is_causal", True) and more.get("is_causal") is not False
        require(causal and dropout == 0.0, option, "causal attention without dropout", kind)
        seen = _visibility(query, key, attention_mask, option).limited(window=window, selection=selection)
        scale = query.size(-1) ** -0.5 if scaling is None else scaling
        return softmax_mix(query, key, value, seen, scale=scale).transpose(1, 2).contiguous(), None

    return attention


def _visibility(query: Tensor, key: Tensor, mask: Tensor | None, option: str) -> Visibility:
    """What the library's mask says, or an error where it says more than causality and padding."""
    n_queries, n_keys = query.size(2), key.size(2)
    real = key_mask_of(mask, query.size(0), n_queries, n_keys, option)
    return Visibility(n_queries, n_keys, real, query.device)
