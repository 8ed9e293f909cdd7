"""Fewer keys for attention: a sliding window, and keys that the heads elect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from transformers import PreTrainedModel

from ....errors import ArgumentError, require
from ....layers import Attention
from ....layers.attention.sliding_window import SOFTMAX_LAYERS, Attend, mixes_by_softmax, windowed
from ....layers.attention.visibility import KeySelection, Visibility
from .huggingface_attention import limited_attention


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
        """``window=W``."""
        return f"window={self.window}"

    def __call__(self, model: nn.Module) -> AbstractContextManager[None]:
        """The context in which ``model`` has the window."""
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
        """``select_keys=k, select_recent=..., select_sinks=...``."""
        s = self.selection
        return f"select_keys={s.keys}, select_recent={s.recent}, select_sinks={s.sinks}"

    def __call__(self, model: nn.Module) -> AbstractContextManager[None]:
        """The context in which the rows of ``model`` elect their keys."""
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
