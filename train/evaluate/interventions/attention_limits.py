"""Fewer keys for attention, of ours and of Hugging Face: a sliding window, and keys that the heads elect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from ....errors import ArgumentError, require
from ....layers import Attention
from ....layers.attention.sliding_window import SOFTMAX_LAYERS, Attend, mixes_by_softmax, windowed
from ....layers.attention.softmax_mix import softmax_mix
from ....layers.attention.visibility import KeySelection, Visibility
from ....models.replace.host_call import key_mask_of


@dataclass(frozen=True)
class AttentionWindow:
    """Row i of every attention layer sees the keys i - W < j <= i alone; see :mod:`.attention.sliding_window`.

    Exact for every layer of lmzoo and for attention of others that keeps the contract. In softplus, QK-norm and
    scalable-softmax layers N_i counts visible keys, so the window also holds their length scale at log W. Hugging Face
    models take it where their layers call the library's attention interface.

    Attributes:
        window: W.
    """

    window: int

    def __post_init__(self) -> None:
        require(self.window >= 1, "window", "an integer of at least 1", self.window)

    def describe(self) -> str:
        return f"window={self.window}"

    def __call__(self, model: nn.Module) -> AbstractContextManager[None]:
        layers = attention_layers(model)
        if not layers:
            return limited_attention(_of_the_library(model, "window"), "window", window=self.window)
        return _replaced(
            [(layer, windowed(layer.attend, self.window, by_mask=mixes_by_softmax(layer))) for layer in layers]
        )


@dataclass(frozen=True)
class ElectedKeys:
    """Sinks, recent keys and the k keys with most votes take part in softmax attention, in the manner of TokenSelect.

    See :mod:`lmzoo.layers.attention.selective_mix`. Every row elects for itself. Length scales of QK-norm and
    scalable softmax go on counting all visible keys, from which the row elects. Hugging Face models take it where
    their layers call the library's attention interface.

    Attributes:
        selection: how many keys of each kind.
    """

    selection: KeySelection

    def describe(self) -> str:
        s = self.selection
        return f"select_keys={s.keys}, select_recent={s.recent}, select_sinks={s.sinks}"

    def __call__(self, model: nn.Module) -> AbstractContextManager[None]:
        layers = attention_layers(model)
        if not layers:
            return limited_attention(_of_the_library(model, "select_keys"), "select_keys", selection=self.selection)
        for layer in layers:
            kinds = f"a model of softmax attention ({', '.join(known.__name__ for known in SOFTMAX_LAYERS)})"
            require(mixes_by_softmax(layer), "select_keys", kinds, type(layer).__name__)
        return _replaced([(layer, self._elective(layer.attend)) for layer in layers])

    def _elective(self, attend: Attend) -> Attend:
        def elective(query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
            return attend(query, key, value, visibility.limited(selection=self.selection))

        return elective


def attention_layers(model: nn.Module) -> list[Attention]:
    """The layers of ``model`` that are :class:`Attention`."""
    return [module for module in model.modules() if isinstance(module, Attention)]


def _of_the_library(model: nn.Module, option: str) -> PreTrainedModel:
    if not isinstance(model, PreTrainedModel):
        raise ArgumentError(option, "a model with attention layers of lmzoo or of transformers", type(model).__name__)
    return model


@contextmanager
def _replaced(layers: list[tuple[Attention, Attend]]) -> Iterator[None]:
    """Give each layer another ``attend``, as an attribute that hides the method of its class."""
    for layer, _ in layers:
        free = "attend" not in vars(layer)
        require(free, "model", "a model whose attention is not limited already", type(layer).__name__)
    try:
        for layer, attend in layers:
            vars(layer)["attend"] = attend
        yield
    finally:
        for layer, _ in layers:
            vars(layer).pop("attend", None)


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
        # what the library's mask says, or an error where it says more than causality and padding
        n_queries, n_keys = query.size(2), key.size(2)
        real = key_mask_of(attention_mask, query.size(0), n_queries, n_keys, option)
        seen = Visibility(n_queries, n_keys, real, query.device).limited(window=window, selection=selection)
        scale = query.size(-1) ** -0.5 if scaling is None else scaling
        return softmax_mix(query, key, value, seen, scale=scale).transpose(1, 2).contiguous(), None

    return attention
