from __future__ import annotations

from functools import partial

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import ALiBi, LearnedPosition, NoPosition, Rotary, SoftmaxAttention, T5Bias, reference
from lmzoo.layers.testing.attention_checks import ATTENTION_CHECKS, check_cache, check_compile
from torch import Tensor
from transformers import DynamicCache

POSITIONS = {"default": None, "rotary": Rotary(base=500.0), "alibi": ALiBi, "none": NoPosition(), "t5": T5Bias(6, 20)}
VARIANTS = [(name, groups) for name in POSITIONS for groups in (None, 2, 1)]


def dense(layer: SoftmaxAttention, x: Tensor, key_mask: Tensor | None = None) -> Tensor:
    """The layer from the references alone."""
    batch, length, _ = x.shape
    heads = [layer.n_heads, layer.n_kv_heads, layer.n_kv_heads]
    packed = torch.nn.functional.linear(x, layer.qkv.weight).view(batch, length, sum(heads), layer.head_width)
    query, key, value = torch.split(packed.transpose(1, 2), heads, dim=1)
    bias = None
    if isinstance(layer.position, Rotary):
        query, key = (reference.rotary(z, base=layer.position.base) for z in (query, key))
    elif isinstance(layer.position, ALiBi):
        bias = reference.alibi_bias(layer.n_heads, length, length).to(x.dtype)
    elif isinstance(layer.position, T5Bias):
        bias = reference.t5_bias(layer.position.weight, length, length, max_distance=20)
    y = reference.softmax_attention(query, key, value, bias=bias, key_mask=key_mask)
    return torch.nn.functional.linear(y.transpose(1, 2).flatten(2), layer.output.weight)


@pytest.mark.parametrize("name", ATTENTION_CHECKS)
@pytest.mark.parametrize(("position", "groups"), VARIANTS)
def test_contract(name: str, position: str, groups: int | None) -> None:
    make = partial(SoftmaxAttention, 32, 4, n_kv_heads=groups, position=POSITIONS[position])
    ATTENTION_CHECKS[name](make)


@pytest.mark.parametrize("position", POSITIONS)
def test_cache_of_transformers(position: str) -> None:
    check_cache(partial(SoftmaxAttention, 32, 4, n_kv_heads=2, position=POSITIONS[position]), [DynamicCache])


@pytest.mark.slow
@pytest.mark.parametrize("position", POSITIONS)
def test_compile(position: str) -> None:
    check_compile(partial(SoftmaxAttention, 32, 4, n_kv_heads=2, position=POSITIONS[position]))


@pytest.mark.parametrize("length", [1, 2, 63, 111, 131])
@pytest.mark.parametrize(("position", "groups"), VARIANTS)
def test_equals_reference_in_value_and_every_gradient(position: str, groups: int | None, length: int) -> None:
    layer = SoftmaxAttention(24, 4, n_kv_heads=groups, position=POSITIONS[position]).double()
    x = torch.randn(2, length, 24, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(length)[None] >= torch.tensor([[length // 3], [0]])
    for key_mask in (None, mask):
        given, expected = layer(x, key_mask), dense(layer, x, key_mask)
        weight = torch.randn_like(given)
        assert torch.allclose(given, expected, rtol=0, atol=1e-12)
        wanted = [x, *layer.parameters()]
        ours, theirs = (torch.autograd.grad((weight * y).sum(), wanted) for y in (given, expected))
        for a, b in zip(ours, theirs):
            assert torch.allclose(a, b, rtol=0, atol=1e-11)


def test_one_matrix_serves_query_key_and_value() -> None:
    layer = SoftmaxAttention(64, 8, n_kv_heads=2)
    assert {n: tuple(p.shape) for n, p in layer.named_parameters()} == {
        "qkv.weight": (64 + 16 + 16, 64),
        "output.weight": (64, 64),
    }


def test_product_flops_average_over_causal_rows() -> None:
    # three rows see 1 + 2 + 3 keys, 2 on average; scores and values cost 2 x 2 x 64 each
    assert SoftmaxAttention(64, 8).product_flops(3) == 2 * (2 * 2 * 64)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"d_model": 30, "n_heads": 4}, "d_model"),
        ({"d_model": 32, "n_heads": 0}, "n_heads"),
        ({"d_model": 32, "n_heads": 4, "n_kv_heads": 3}, "n_kv_heads"),
        ({"d_model": 32, "n_heads": 4, "n_kv_heads": 0}, "n_kv_heads"),
        ({"d_model": 12, "n_heads": 4}, "d_model"),
        ({"d_model": 32, "n_heads": 4, "position": LearnedPosition(8)}, "position"),
        ({"d_model": 32, "n_heads": 4, "position": "Rotary"}, "position"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        SoftmaxAttention(**arguments)  # type: ignore[arg-type]
    assert caught.value.argument == argument


def test_odd_head_width_is_fine_without_rotary() -> None:
    assert SoftmaxAttention(12, 4, position=ALiBi)(torch.randn(1, 5, 12)).shape == (1, 5, 12)


@pytest.mark.parametrize(
    "mask",
    [
        torch.ones(2, 4, dtype=torch.bool),
        torch.ones(2, 5),
        torch.ones(5, dtype=torch.bool),
        torch.ones(3, 5, dtype=torch.bool),
        torch.ones(1, 5, dtype=torch.bool),
    ],
)
def test_a_mask_of_wrong_shape_or_type_is_an_error(mask: Tensor) -> None:
    with pytest.raises(ArgumentError, match="attention_mask"):
        SoftmaxAttention(32, 4)(torch.randn(2, 5, 32), mask)


def test_a_template_serves_many_layers() -> None:
    template = Rotary()
    first, second = (SoftmaxAttention(32, 4, position=template) for _ in range(2))
    assert first.position is not template
    assert first.position is not second.position


def test_training_after_inference_mode() -> None:
    layer = SoftmaxAttention(32, 4)
    x = torch.randn(1, 9, 32)
    with torch.inference_mode():
        layer(x)
    layer(x).sum().backward()
    assert layer.qkv.weight.grad is not None
