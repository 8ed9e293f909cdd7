"""Attention layers of lmzoo in models of transformers, with the weights that are there.

::

    from lmzoo.layers import SoftplusAttention
    from lmzoo.models import replace_attention
    model = AutoModelForCausalLM.from_pretrained("path")
    replacement = replace_attention(model, "model.layers.*.self_attn", SoftplusAttention, power=3.0)
    print(replacement)          # what was replaced, what was carried over, what is new
    model.generate(**tokenizer("The", return_tensors="pt"))
    replacement.undo()          # or: with replace_attention(...): ...

GPT-2's layers are called ``transformer.h.*.attn``; ``model.layers.[0-3].self_attn`` is the first four of Llama's.

Projections are copied, biases included. Rotary positions become the layer's own: of the same base, rule and factor
where the model's rule is ``default``, ``linear``, ``llama3`` or ``yarn``; a layer that takes a base and no position,
such as :class:`~lmzoo.layers.ComplexAttention`, needs ``default``. Models whose positions are added to the embedding
keep them there, and the layer has none. ``position=`` and ``base=`` given here win. Weights trained with one attention
are a start for another one to train on, no more, unless both compute the same: softmax attention, and complex attention
at ``delta_init="one"``, leave the logits as they were up to rounding. The library takes the angles of positions in
float32, ours are float64, rounded once.

To save such a model, save its weights, and load them into a model that was changed by the same call::

    safetensors.torch.save_model(model, "weights.safetensors")
    fresh = AutoModelForCausalLM.from_config(model.config)
    replace_attention(fresh, "model.layers.*.self_attn", SoftplusAttention, power=3.0)
    safetensors.torch.load_model(fresh, "weights.safetensors")

``save_pretrained`` writes the weights too, but ``from_pretrained`` knows nothing of the replacement: it would leave
them out and start the old attention anew. ``attn_implementation="lmzoo_softplus"``, which exchanges no modules, has no
such need; see :mod:`lmzoo.models.replace.attention_interface`.
"""

from __future__ import annotations

import fnmatch
import functools
import inspect
import re
from typing import Any

from torch import nn

from ...errors import ArgumentError, nearest, require
from ...layers import Attention
from ..parts import build, describe, split
from .carry_weights import carry_weights, check_meaning
from .foreign_attention import ForeignAttention
from .host_attention import HostAttention, read_host
from .replacement import ReplacedLayer, Replacement


def replace_attention(
    model: nn.Module, pattern: str, attention: type[Attention] | functools.partial[Attention] | str, **arguments: Any
) -> Replacement:
    """Put layers of lmzoo in the place of a model's attention; everything is checked before anything is changed.

    For causal models of transformers whose attention is Llama's (Mistral's, Qwen2's, ...) or GPT-2's. Whether a module
    is of this kind is tried out: softmax attention with its weights must compute what it computes. So Qwen3, with norms
    on queries and keys, and Gemma, with heads of another width, are refused.

    Args:
        model: the model, changed in place.
        pattern: of names as in ``model.named_modules()``, with ``*``, ``?`` and ``[...]``; ``*`` matches dots too.
        attention: an :class:`~lmzoo.layers.Attention` class, a partial of one, or its name in ``lmzoo.layers``.
        arguments: of its constructor beside ``d_model`` and ``n_heads``, which are the model's, and so are
            ``n_kv_heads`` and the positions unless they are given.

    Returns:
        What was done, and the way back.

    Raises:
        ArgumentError: no module matches; one cannot be replaced, by its projections, scores or positions; the layer
            cannot be built so. The model is as it was then.
    """
    cls, preset = split(attention)
    require(issubclass(cls, Attention), "attention", "a subclass of lmzoo.layers.Attention", cls.__name__)
    arguments = preset | arguments
    for name in ("d_model", "n_heads"):
        require(name not in arguments, name, "nothing: it is the model's", arguments.get(name))
    modules = _matching(model, pattern)
    exchanged = [_replaced(read_host(name, module), cls, arguments) for name, module in modules.items()]
    return Replacement(model, modules, {r.name: adapter for r, adapter in exchanged}, tuple(r for r, _ in exchanged))


def _matching(model: nn.Module, pattern: str) -> dict[str, nn.Module]:
    named = {name: module for name, module in model.named_modules() if name}
    found = {name: module for name, module in named.items() if fnmatch.fnmatchcase(name, pattern)}
    if not found:
        known = nearest(pattern, {re.sub(r"\.\d+(?=\.|$)", ".*", name) for name in named})
        raise ArgumentError("pattern", f"names of modules, such as {', '.join(known)}", pattern)
    for name, module in found.items():
        free = not isinstance(module, ForeignAttention)
        require(free, "pattern", "modules that are not replaced already; undo that first", name)
    return found


def _replaced(host: HostAttention, cls: type, arguments: dict[str, Any]) -> tuple[ReplacedLayer, ForeignAttention]:
    check_meaning(host)
    known = inspect.signature(cls).parameters
    own: dict[str, Any] = {"n_kv_heads": host.n_kv_heads}
    if "position" in known and "query_key" in cls.position_kinds and "position" not in arguments:  # type: ignore[attr-defined]
        own["position"] = host.position()
    if "position" not in known and "base" in known and "base" not in arguments and host.rotary:
        own["base"] = host.base()
    layer = build(functools.partial(cls, **(own | arguments)), host.d_model, host.n_heads)
    query = host.weights["query"]
    layer.to(device=query.device, dtype=query.dtype)
    carried, made = carry_weights(host, layer)
    adapter = ForeignAttention(
        layer,
        host.layer_index,
        attention_dropout=host.attention_dropout,
        residual_dropout=host.residual_dropout,
        window=host.window,
    )
    adapter.train(host.module.training)
    place = f"base {own['base']:g}" if "base" in own else _words(layer.position)
    report = ReplacedLayer(
        name=host.name,
        before=type(host.module).__name__,
        after=cls.__name__,
        positions=place,
        carried=carried,
        new=made,
        parameters_before=_count(host.module),
        parameters_after=_count(adapter),
    )
    return report, adapter


def _words(position: nn.Module) -> str:
    """A position with its arguments, lists shortened."""
    described = describe(position)
    shown = [f"{k}={'[...]' if isinstance(v, list) else v}" for k, v in described["init_args"].items() if v is not None]
    return f"{type(position).__name__}({', '.join(shown)})"


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
