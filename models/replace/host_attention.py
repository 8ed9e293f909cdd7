"""The attention layers of transformers that can be exchanged, read into one form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.pytorch_utils import Conv1D

from ...errors import ArgumentError, require
from ...layers import NoPosition, Position, Rotary
from .fixed_rotary import FixedRotary

_SEPARATE = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj"}
_FUSED = {"query_key_value": "c_attn", "output": "c_proj"}
# Rules whose frequencies do not depend on the length of the sequence, and which Rotary does not have in this reading.
_FIXED_RULES = ("llama3", "yarn")


@dataclass(frozen=True)
class HostAttention:
    """Causal self-attention of a transformers model, as its module and configuration tell.

    Attributes:
        name: of the module in its model.
        module: the module.
        d_model: d.
        n_heads: H, of width dh = d / H.
        n_kv_heads: G.
        layer_index: the layer's slot in the cache.
        weights: ``query`` (d, d), ``key`` and ``value`` (G dh, d), ``output`` (d, d), as of ``nn.Linear``.
        biases: of the same names, or None where the module has none.
        rotary: positions are turned into queries and keys here; otherwise none are.
        attention_dropout: of attention weights, in training.
        residual_dropout: of the output, in training.
        window: the most keys that a row sees, or None.
    """

    name: str
    module: nn.Module
    d_model: int
    n_heads: int
    n_kv_heads: int
    layer_index: int
    weights: dict[str, Tensor]
    biases: dict[str, Tensor | None]
    rotary: bool
    attention_dropout: float
    residual_dropout: float
    window: int | None

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self.module.config

    @property
    def head_width(self) -> int:
        """The width dh of a head."""
        return self.d_model // self.n_heads

    def rope(self) -> tuple[str, dict[str, Any]]:
        """The rule of the rotary positions and its parameters."""
        parameters = getattr(self.config, "rope_parameters", None) or {}
        known = "rope_theta" in parameters and parameters.get("partial_rotary_factor", 1.0) == 1.0
        expected = f"one rule with rope_theta that turns all channels ({self.name}); or give position=... yourself"
        require(known, "rope_parameters", expected, parameters)
        return str(parameters.get("rope_type", "default")), parameters

    def base(self) -> float:
        """Of plain rotary frequencies, for layers that take no position but a base.

        Raises:
            ArgumentError: a rule for longer contexts is in force.
        """
        rule, parameters = self.rope()
        expected = (
            f"default: this layer takes a base and no rule for long contexts ({self.name}); or give base=... yourself"
        )
        require(rule == "default", "rope_type", expected, rule)
        return float(parameters["rope_theta"])

    def position(self) -> Position:
        """What does in our layers what the module does with positions.

        Raises:
            ArgumentError: the rule is unknown, or changes with the length of the sequence.
        """
        if not self.rotary:
            return NoPosition()
        rule, parameters = self.rope()
        if rule == "default":
            return Rotary(float(parameters["rope_theta"]))
        if rule == "linear":
            return Rotary(float(parameters["rope_theta"]), extension="linear", factor=float(parameters["factor"]))
        expected = f"default, linear, {' or '.join(_FIXED_RULES)} ({self.name}); or give position=... yourself"
        require(rule in _FIXED_RULES, "rope_type", expected, rule)
        frequencies, factor = ROPE_INIT_FUNCTIONS[rule](self.config)
        return FixedRotary(frequencies.double().tolist(), float(factor))


def read_host(name: str, module: nn.Module) -> HostAttention:
    """Read a Llama-like module (q_proj, k_proj, v_proj, o_proj) or one like GPT-2's (c_attn, c_proj).

    Raises:
        ArgumentError: the module is neither, or its projections or scores are of a kind that our layers do not have.
    """
    children = dict(module.named_children())
    rotary = set(_SEPARATE.values()) <= children.keys()
    what = f"{name}, {type(module).__name__}"
    if not rotary and not set(_FUSED.values()) <= children.keys():
        expected = "attention modules with q_proj, k_proj, v_proj and o_proj, or with c_attn and c_proj"
        raise ArgumentError("pattern", expected, what)
    projections = _SEPARATE if rotary else _FUSED
    other = sorted(n for n, _ in module.named_parameters() if n.split(".")[0] not in projections.values())
    require(
        not other,
        "pattern",
        f"attention modules with the parameters of {', '.join(projections.values())}",
        f"{what} with {', '.join(other)}",
    )
    config: Any = module.config
    d_model, n_heads = config.hidden_size, config.num_attention_heads
    n_kv_heads = getattr(config, "num_key_value_heads", None) or n_heads
    width = getattr(module, "head_dim", d_model // n_heads)
    require(
        width * n_heads == d_model,
        "head_dim",
        f"hidden_size / num_attention_heads = {d_model / n_heads:g}",
        f"{width} in {what}",
    )
    scale = getattr(module, "scaling", width**-0.5)
    require(math.isclose(scale, width**-0.5), "scaling", f"1 / sqrt(head_dim) = {width**-0.5:g}", f"{scale} in {what}")
    causal = getattr(module, "is_causal", True) and not getattr(config, "add_cross_attention", False)
    require(causal, "pattern", "causal attention in a model without cross-attention", what)
    weights, biases = {}, {}
    for part, child in projections.items():
        weights[part], biases[part] = _read_projection(children[child], f"{what}: {child}")
    if not rotary:
        weights, biases = _split(weights, biases)
    sizes = {"query": d_model, "key": n_kv_heads * width, "value": n_kv_heads * width, "output": d_model}
    for part, rows in sizes.items():
        shape = tuple(weights[part].shape)
        require(
            shape == (rows, d_model),
            "pattern",
            f"a {part} projection of shape ({rows}, {d_model})",
            f"{shape} in {what}",
        )
    some = {biases[part] is not None for part in ("query", "key", "value")}
    require(len(some) == 1, "pattern", "biases on all of query, key and value, or on none", what)
    return HostAttention(
        name=name,
        module=module,
        d_model=d_model,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        layer_index=int(module.layer_idx),  # type: ignore[arg-type]
        weights=weights,
        biases=biases,
        rotary=rotary,
        attention_dropout=_rate(module, "attn_dropout", getattr(module, "attention_dropout", 0.0)),
        residual_dropout=_rate(module, "resid_dropout", getattr(module, "residual_dropout", 0.0)),
        window=_window(module, config),
    )


def _read_projection(child: nn.Module, what: str) -> tuple[Tensor, Tensor | None]:
    """Weight (d_out, d_in) and bias."""
    known = isinstance(child, nn.Linear | Conv1D) and child.weight.is_floating_point() and not child.weight.is_meta
    require(
        known,
        "pattern",
        "projections that are Linear or Conv1D, not quantised, with data",
        f"{type(child).__name__} in {what}",
    )
    weight, bias = child.weight, child.bias
    assert isinstance(weight, Tensor)
    assert bias is None or isinstance(bias, Tensor)
    return (weight.T if isinstance(child, Conv1D) else weight), bias


def _split(
    weights: dict[str, Tensor], biases: dict[str, Tensor | None]
) -> tuple[dict[str, Tensor], dict[str, Tensor | None]]:
    """One projection of queries, keys and values as three."""
    packed, bias = weights["query_key_value"], biases["query_key_value"]
    names = ("query", "key", "value")
    split = dict(zip(names, packed.chunk(3)))
    split_biases = dict(zip(names, bias.chunk(3) if bias is not None else (None,) * 3))
    return split | {"output": weights["output"]}, split_biases | {"output": biases["output"]}


def _rate(module: nn.Module, child: str, otherwise: Any) -> float:
    """The rate of a dropout that is a module or a number."""
    dropout = getattr(module, child, None)
    return float(dropout.p if isinstance(dropout, nn.Dropout) else otherwise)


def _window(module: nn.Module, config: Any) -> int | None:
    if hasattr(module, "sliding_window"):
        window: Any = module.sliding_window
    else:
        kinds = getattr(config, "layer_types", None)
        slides = kinds is None or kinds[int(module.layer_idx)] == "sliding_attention"  # type: ignore[arg-type]
        window = getattr(config, "sliding_window", None) if slides else None
    return None if window is None else int(window)
