"""Softplus attention for any transformers model that calls the library's attention interface.

Importing :mod:`lmzoo.models` registers two implementations, ``lmzoo_softplus`` (LSSAR) and ``lmzoo_lssa`` (LSSA,
without the re-weighting)::

    import lmzoo.models
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained("path", attn_implementation="lmzoo_softplus")
    model.config.lmzoo_softplus_power = 3.0     # at any time; 15 where it is not set
    model.generate(**tokenizer("The", return_tensors="pt"))

Nothing of the model is exchanged: its projections, positions and cache stay, and the mixing alone is
:func:`lmzoo.layers.functional.softplus_attention`. Weights that were trained with softmax are no good start for it;
train from scratch or go on training. The options are attributes of the model's configuration, saved with it:
``lmzoo_softplus_power``, ``lmzoo_softplus_activation``, ``lmzoo_softplus_length_scale`` and
``lmzoo_softplus_free_rows``, of the meaning and with the defaults of :class:`lmzoo.layers.SoftplusAttention`. The
name of the implementation is not saved; give it again when loading.

``scaling`` is a positive factor on the queries, which the equation brings to unit length, so it has no effect. Padding
on either side and caches that grow are supported. Refused by an error: dropout of attention weights in training, a
sliding window once the sequence is longer than it, packed documents, static caches, score caps, sinks, biases on the
scores, attention that is not causal, and returning the weights. In half precision the host rounds queries and keys
after their positions, which the layer :class:`~lmzoo.layers.SoftplusAttention` does not, and the power enlarges that
error. A model that does not call the interface would ignore the name; ``model._can_set_attn_implementation()`` tells.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import causal_mask_function, sdpa_mask

from ...errors import nearest, require
from ...layers.attention.softplus.functional import softplus_attention
from .host_call import key_mask_of, refuse_extras

_PREFIX = "lmzoo_softplus_"
_DEFAULTS: dict[str, Any] = {"power": 15.0, "activation": "softplus", "length_scale": True, "free_rows": 3}
ATTENTION_IMPLEMENTATIONS: dict[str, dict[str, Any]] = {
    "lmzoo_softplus": _DEFAULTS,
    "lmzoo_lssa": _DEFAULTS | {"power": None},
}
"""What ``attn_implementation`` takes once :mod:`lmzoo.models` is imported, and the defaults of each."""


def softplus_options(config: Any, defaults: dict[str, Any] = _DEFAULTS) -> dict[str, Any]:
    """The options of softplus attention that a model's configuration sets, and the defaults of the others.

    Raises:
        ArgumentError: an attribute begins with ``lmzoo_softplus_`` and names no option, or sets a power for LSSA.
    """
    given = {k.removeprefix(_PREFIX): v for k, v in vars(config).items() if k.startswith(_PREFIX)}
    for name, value in given.items():
        close = ", ".join(_PREFIX + known for known in nearest(name, defaults))
        require(name in defaults, _PREFIX + name, f"an option of softplus attention, such as {close}", value)
    lssa = defaults["power"] is None and given.get("power") is not None
    require(
        not lssa, _PREFIX + "power", "None with lmzoo_lssa, which has no power: use lmzoo_softplus", given.get("power")
    )
    return defaults | given


def _attention(defaults: dict[str, Any]) -> Any:
    def attention(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        dropout: float = 0.0,
        sliding_window: int | None = None,
        **more: Any,
    ) -> tuple[Tensor, None]:
        """(B, H, Tq, dh), keys (B, G, Tk, dh), any mask of the library -> (B, Tq, H, dh), no weights."""
        kind = type(module).__name__
        refuse_extras(kind, dropout, more)
        require(scaling is None or scaling > 0, "scaling", f"a number above 0 ({kind})", scaling)
        causal = more.get("is_causal") or getattr(module, "is_causal", True)
        require(causal, "is_causal", f"True: this attention is causal ({kind})", causal)
        n_queries, n_keys = query.size(2), key.size(2)
        covered = sliding_window is None or n_keys <= sliding_window
        require(
            covered, "sliding_window", f"None, or at least the {n_keys} keys of the sequence ({kind})", sliding_window
        )
        # without a mask the library means the upper left triangle of keys that a static cache has not filled yet
        known = attention_mask is not None or n_queries in (1, n_keys)
        require(known, "past_key_values", f"a cache that grows with the sequence ({kind})", f"room for {n_keys} keys")
        mixed = softplus_attention(
            query,
            key,
            value,
            key_mask=key_mask_of(attention_mask, query.size(0), n_queries, n_keys),
            **softplus_options(module.config, defaults),
        )
        return mixed.transpose(1, 2).contiguous(), None

    return attention


def _mask(
    *,
    kv_length: int,
    kv_offset: int = 0,
    mask_function: Any = causal_mask_function,
    attention_mask: Tensor | None = None,
    allow_is_causal_skip: bool = True,
    **more: Any,
) -> Tensor | None:
    """Padding alone, (B, Tk), where the model is plainly causal; else the library's mask of all pairs, or None."""
    full = int(kv_offset) == 0
    require(full, "sliding_window", "None, or at least the length of the sequence", f"{int(kv_offset)} keys forgotten")
    plain = mask_function is causal_mask_function and allow_is_causal_skip
    if plain and attention_mask is not None and attention_mask.size(-1) == kv_length:
        return attention_mask.to(torch.bool)
    mask: Tensor | None = sdpa_mask(
        kv_length=kv_length,
        kv_offset=kv_offset,
        mask_function=mask_function,
        attention_mask=attention_mask,
        allow_is_causal_skip=allow_is_causal_skip,
        **more,
    )
    return mask


for _name, _options in ATTENTION_IMPLEMENTATIONS.items():
    AttentionInterface.register(_name, _attention(_options))
    AttentionMaskInterface.register(_name, _mask)
