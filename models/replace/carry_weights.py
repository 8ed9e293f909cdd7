"""The weights of another model's attention in a layer of ours, and the proof that they mean the same there."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ArgumentError, require
from ...layers import Attention, NoPosition, Rotary, SoftmaxAttention
from ...layers.position.rotary import rotary_table
from ...layers.position.rotary_extension import rotary_frequencies
from .host_attention import HostAttention

# Tokens of the comparison, their spread (scores far from 0 show every difference), and what rounding may leave.
_TOKENS, _SPREAD, _TOLERANCE = 7, 2.0, 1e-3


@torch.no_grad()
def carry_weights(host: HostAttention, layer: Attention) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Copy the projections of ``host`` into ``layer``, biases too, which the layer is given if it has none.

    Head by head they are laid out alike, and both turn channel c with channel c + dh/2, so rows stay in their order.
    Keys and values go over where the layer has as many groups, or a multiple, over which they are repeated; that
    computes the same. With other numbers of groups they start from Normal(0, initializer_range). A projection asks for
    gradients where its source does, or has new rows.

    Returns:
        What was carried over, and which parameters are new.
    """
    groups = layer.n_kv_heads
    rows, carried, made = [host.weights["query"]], ["query"], []
    biases = [host.biases["query"]]
    for part in ("key", "value"):
        weight, bias = host.weights[part], host.biases[part]
        if groups % host.n_kv_heads == 0:
            repeats = groups // host.n_kv_heads
            rows.append(_repeated(weight, host.n_kv_heads, repeats))
            biases.append(None if bias is None else _repeated(bias, host.n_kv_heads, repeats))
            carried.append(part if repeats == 1 else f"{part} (each {repeats} times)")
        else:
            std = getattr(host.config, "initializer_range", 0.02)
            rows.append(weight.new_empty(groups * host.head_width, host.d_model).normal_(std=std))
            biases.append(None if bias is None else bias.new_zeros(groups * host.head_width))
            made.append(part)
    carried.append("output")
    _fill(layer.qkv, torch.cat(rows), None if biases[0] is None else torch.cat([b for b in biases if b is not None]))
    _fill(layer.output, host.weights["output"], host.biases["output"])
    layer.qkv.requires_grad_(host.weights["query"].requires_grad or bool(made))
    layer.output.requires_grad_(host.weights["output"].requires_grad)
    if any(bias is not None for bias in host.biases.values()):
        carried.append("their biases")
    made += [name for name, _ in layer.named_parameters() if name.split(".")[0] not in ("qkv", "output")]
    return tuple(carried), tuple(made)


def check_meaning(host: HostAttention) -> None:
    """Compare ``host`` with our softmax attention of the same weights, on a few random tokens in float64 on the CPU.

    Names of projections do not tell whether pairs of channels are neighbours, whether scores are capped or outputs
    gated. This does.

    Raises:
        ArgumentError: the outputs differ by more than rounding, or the module cannot be called as expected.
    """
    theirs: Any = copy.deepcopy(host.module).to("cpu", torch.float64).eval()
    theirs.config._attn_implementation = "eager"
    position = Rotary() if host.rotary else NoPosition()
    # the weights that it starts with are not used, so nobody else's draws shall depend on them
    with torch.random.fork_rng(devices=[]):
        ours = SoftmaxAttention(host.d_model, host.n_heads, n_kv_heads=host.n_kv_heads, position=position).double()
    carry_weights(host, ours)
    x = _SPREAD * torch.randn(1, _TOKENS, host.d_model, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.full((1, 1, _TOKENS, _TOKENS), torch.finfo(torch.float32).min).triu(1)
    more: dict[str, Any] = {}
    if host.rotary:
        table = rotary_table(_TOKENS, rotary_frequencies(host.head_width, 10000.0)[0], x)
        more["position_embeddings"] = tuple(torch.cat([t, t], dim=-1)[None] for t in table)
    what = f"{host.name}, {type(host.module).__name__}"
    expected = "attention that computes softmax(q k / sqrt(dh)) v as Llama or GPT-2 do, from the same weights"
    with torch.no_grad():
        try:
            given = theirs(hidden_states=x, attention_mask=mask, past_key_values=None, **more)[0]
        except Exception as error:
            raise ArgumentError("pattern", expected, f"{what}, which cannot be called so: {error}") from error
        wanted = ours(x)
        apart = float((given - wanted).norm() / wanted.norm())
    require(apart <= _TOLERANCE, "pattern", expected, f"{what}, whose output differs by {apart:.1%}")


def _repeated(x: Tensor, groups: int, repeats: int) -> Tensor:
    """Each of the groups that the rows of x form, ``repeats`` times in a row."""
    heads: Tensor = x.unflatten(0, (groups, -1))
    return heads.repeat_interleave(repeats, dim=0).flatten(0, 1)


def _fill(projection: nn.Linear, weight: Tensor, bias: Tensor | None) -> None:
    shape = tuple(projection.weight.shape)
    require(shape == tuple(weight.shape), "attention", f"a projection of shape {tuple(weight.shape)}", shape)
    projection.weight.copy_(weight)
    if bias is not None:
        projection.bias = nn.Parameter(bias.detach().clone().to(projection.weight))
