"""The other ways to weigh keys: unit queries and keys, scalable softmax, sigmoid, ReLU."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import (
    ALiBi,
    Attention,
    NoPosition,
    QKNormAttention,
    ReLUAttention,
    Rotary,
    SigmoidAttention,
    SSMaxAttention,
    functional,
    reference,
)
from lmzoo.layers.attention.pointwise_attention import pointwise_attention
from lmzoo.layers.attention.visibility import Visibility
from lmzoo.layers.testing.attention_checks import ATTENTION_CHECKS, check_cache, check_compile
from torch import Tensor
from transformers import DynamicCache

LAYERS: dict[str, Callable[..., Attention]] = {
    "qk_norm": QKNormAttention,
    "ssmax": partial(SSMaxAttention, initial_scale=0.7),
    "sigmoid": partial(SigmoidAttention, train_length=40),
    "relu": ReLUAttention,
}
SCALE = torch.linspace(0.3, 1.2, 4, dtype=torch.float64)
FUNCTIONS: dict[str, dict[str, object]] = {"qk_norm": {}, "sigmoid": {"train_length": 40}, "relu": {}, "ssmax": {}}


def dense(layer: Attention, x: Tensor, key_mask: Tensor | None) -> Tensor:
    """The layer from the references alone."""
    batch, length, _ = x.shape
    heads = [layer.n_heads, layer.n_kv_heads, layer.n_kv_heads]
    packed = torch.nn.functional.linear(x, layer.qkv.weight).view(batch, length, sum(heads), layer.head_width)
    query, key, value = torch.split(packed.transpose(1, 2), heads, dim=1)
    more: dict[str, object] = {}
    if isinstance(layer.position, Rotary):
        query, key = (reference.rotary(z, base=layer.position.base) for z in (query, key))
    elif isinstance(layer.position, ALiBi):
        more["bias"] = reference.alibi_bias(layer.n_heads, length, length).to(x.dtype)
    if isinstance(layer, SSMaxAttention):
        y = reference.ssmax_attention(query, key, value, layer.length_scale, key_mask=key_mask, **more)
    elif isinstance(layer, QKNormAttention):
        y = reference.qk_norm_attention(query, key, value, key_mask=key_mask, **more)
    elif isinstance(layer, SigmoidAttention):
        y = reference.sigmoid_attention(query, key, value, train_length=layer.train_length, key_mask=key_mask)
    else:
        y = reference.relu_attention(query, key, value, key_mask=key_mask)
    return torch.nn.functional.linear(y.transpose(1, 2).flatten(2), layer.output.weight)


@pytest.mark.parametrize("check", ATTENTION_CHECKS)
@pytest.mark.parametrize("groups", [None, 2, 1])
@pytest.mark.parametrize("name", LAYERS)
def test_contract(name: str, groups: int | None, check: str) -> None:
    ATTENTION_CHECKS[check](partial(LAYERS[name], 32, 4, n_kv_heads=groups))


@pytest.mark.parametrize("check", ["causality", "padding", "cache", "finite", "memory"])
@pytest.mark.parametrize("name", ["qk_norm", "ssmax"])
def test_contract_with_a_bias_on_the_scores(name: str, check: str) -> None:
    ATTENTION_CHECKS[check](partial(LAYERS[name], 32, 4, n_kv_heads=2, position=ALiBi))


@pytest.mark.parametrize("name", LAYERS)
def test_cache_of_transformers(name: str) -> None:
    check_cache(partial(LAYERS[name], 32, 4, n_kv_heads=2), [DynamicCache])


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_compile(name: str) -> None:
    check_compile(partial(LAYERS[name], 32, 4, n_kv_heads=2))


@pytest.mark.parametrize("length", [1, 2, 63, 111])
@pytest.mark.parametrize(
    ("name", "groups", "position"),
    [(name, groups, Rotary(base=50.0)) for name in LAYERS for groups in (None, 2, 1)]
    + [("qk_norm", 2, ALiBi), ("ssmax", None, ALiBi), ("sigmoid", 2, NoPosition), ("relu", None, NoPosition)],
)
def test_layer_equals_reference_in_value_and_every_gradient(
    name: str, groups: int | None, position: object, length: int
) -> None:
    layer = LAYERS[name](24, 4, n_kv_heads=groups, position=position).double()
    x = torch.randn(2, length, 24, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(length)[None] >= torch.tensor([[length // 3], [0]])
    for key_mask in (None, mask):
        given, expected = layer(x, key_mask), dense(layer, x, key_mask)
        weight = torch.randn_like(given)
        assert torch.allclose(given, expected, rtol=0, atol=1e-12)
        wanted = [x, *layer.parameters()]
        ours, theirs = (torch.autograd.grad((weight * y).sum(), wanted) for y in (given, expected))
        for a, b in zip(ours, theirs):
            assert torch.allclose(a, b, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("rows", "keys"), [(1, 1), (1, 9), (5, 12), (150, 300)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_equals_reference(name: str, rows: int, keys: int, masked: bool) -> None:
    shapes = [(2, 4, rows, 6), (2, 2, keys, 6), (2, 2, keys, 6)]
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    if name == "ssmax":
        tensors.append(SCALE.clone().requires_grad_())
    options = dict(FUNCTIONS[name])
    if masked:
        options["key_mask"] = torch.arange(keys)[None] >= torch.tensor([[keys // 3], [0]])
    given = getattr(functional, f"{name}_attention")(*tensors, **options)
    expected = getattr(reference, f"{name}_attention")(*tensors, **options)
    weight = torch.randn_like(given)
    assert torch.allclose(given, expected, rtol=0, atol=1e-12)
    ours, theirs = (torch.autograd.grad((weight * y).sum(), tensors) for y in (given, expected))
    for a, b in zip(ours, theirs):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-11)


def test_qk_norm_by_hand() -> None:
    # two keys, the second parallel to the query, the first opposed: scores -+ log 2 log 2
    key = torch.tensor([[[[0.0, -3.0], [0.0, 7.0]]]], dtype=torch.float64)
    query = torch.tensor([[[[0.0, 5.0]]]], dtype=torch.float64)
    value = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]], dtype=torch.float64)
    odds = math.exp(2 * math.log(2) ** 2)
    y = functional.qk_norm_attention(query, key, value)
    assert y.flatten().tolist() == pytest.approx([1 / (1 + odds), odds / (1 + odds)])


@pytest.mark.parametrize("length", [1e-4, 1e-8, 1e-13])
def test_qk_norm_shortens_as_softplus_attention_does(length: float) -> None:
    query, key, value = (torch.randn(1, 2, 6, 8, dtype=torch.float64, requires_grad=True) for _ in range(3))
    y = functional.qk_norm_attention(length * query / query.norm(dim=-1, keepdim=True), key, value)
    unit = functional.qk_norm_attention(query, key, value)
    mean = value.cumsum(dim=2) / torch.arange(1, 7)[:, None]
    assert torch.allclose(y, unit if length > 1e-12 else mean, rtol=0, atol=1e-10)


def test_qk_norm_refuses_heads_of_width_one() -> None:
    with pytest.raises(ArgumentError, match="width 2 or more") as caught:
        functional.qk_norm_attention(*torch.randn(3, 1, 2, 5, 1))
    assert caught.value.argument == "query"


def test_ssmax_is_a_power_of_the_count() -> None:
    # N^(s z) over its sum: scores z = (0, 1) with N = 2, s = 3 weigh 1 : 2^3
    key = torch.tensor([[[[0.0], [1.0]]]], dtype=torch.float64)
    query, value = torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.tensor([[[[0.0], [1.0]]]], dtype=torch.float64)
    y = functional.ssmax_attention(query, key, value, torch.tensor([3.0], dtype=torch.float64))
    assert float(y) == pytest.approx(8 / 9)


def test_sigmoid_and_relu_by_hand() -> None:
    key = torch.tensor([[[[-2.0], [1.0], [3.0]]]], dtype=torch.float64)
    query, value = torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 3, 1, dtype=torch.float64)
    y = functional.sigmoid_attention(query, key, value, train_length=5)
    # sigmoid(z - log 5) = 1 / (1 + 5 exp(-z))
    assert float(y) == pytest.approx(sum(1 / (1 + 5 * math.exp(-z)) for z in (-2.0, 1.0, 3.0)))
    assert float(functional.relu_attention(query, key, value)) == pytest.approx((1 + 3) / 3)


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_pointwise_gradients(activation: str) -> None:
    shapes = [(2, 4, 5, 3), (2, 2, 7, 3), (2, 2, 7, 3)]
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    visibility = Visibility(5, 7, torch.rand(2, 7) < 0.7, torch.device("cpu"))

    def run(*z: Tensor) -> Tensor:
        return pointwise_attention(*z, visibility, activation=activation, scale=0.6, shift=-0.2)

    assert torch.autograd.gradcheck(run, tensors)
    torch.library.opcheck(
        torch.ops.lmzoo.pointwise_attention.default,
        (*tensors, torch.ones(1, 5, dtype=torch.float64), None, activation, 0.6, -0.2),
    )


@pytest.mark.parametrize("name", LAYERS)
def test_equal_keys_give_the_mean_value(name: str) -> None:
    key = torch.randn(1, 1, 1, 8).expand(1, 1, 9, 8)
    query, value = torch.randn(1, 1, 9, 8), torch.randn(1, 1, 9, 8)
    arguments = [query, key, value] + ([torch.ones(1)] if name == "ssmax" else [])
    y = getattr(functional, f"{name}_attention")(*arguments, **FUNCTIONS[name])
    mean = value.cumsum(dim=2) / torch.arange(1, 10)[:, None]
    share = (query * key).sum(-1, keepdim=True) / math.sqrt(8)
    if name == "relu":
        mean = mean * share.relu()
    elif name == "sigmoid":
        mean = mean * torch.sigmoid(share - math.log(40)) * torch.arange(1, 10)[:, None]
    assert torch.allclose(y, mean, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_zero_vectors_are_finite(name: str) -> None:
    tensors = [torch.zeros(1, 2, 7, 8, requires_grad=True) for _ in range(2)]
    value = torch.randn(1, 2, 7, 8, requires_grad=True)
    more = [torch.ones(2)] if name == "ssmax" else []
    y = getattr(functional, f"{name}_attention")(*tensors, value, *more, **FUNCTIONS[name])
    assert bool(y.isfinite().all())
    assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(y.square().sum(), [*tensors, value]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", LAYERS)
def test_half_precision_gradients(name: str, dtype: torch.dtype) -> None:
    """The error against float32 is at most twice that of the reference in half precision, and one rounding."""
    half = LAYERS[name](64, 4).to(dtype)
    truth = LAYERS[name](64, 4)
    truth.load_state_dict(half.state_dict())
    x = torch.randn(2, 111, 64).to(dtype)
    weight = torch.randn(2, 111, 64).to(dtype)
    given = torch.autograd.grad(half(x), list(half.parameters()), weight)
    ordinary = torch.autograd.grad(dense(half, x, None), list(half.parameters()), weight)
    expected = torch.autograd.grad(truth(x.float()), list(truth.parameters()), weight.float())
    for a, b, c in zip(given, ordinary, expected):
        allowed = 2 * (b.float() - c).norm() + torch.finfo(dtype).eps * c.norm()
        assert float((a.float() - c).norm()) < float(allowed)


@pytest.mark.parametrize("name", LAYERS)
def test_autocast_trains(name: str) -> None:
    layer = LAYERS[name](64, 4, n_kv_heads=2)
    x = torch.randn(2, 40, 64)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    full = layer(x)
    assert float((y - full).detach().norm()) < 0.03 * float(full.detach().norm())
    y.sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in layer.parameters())


@pytest.mark.parametrize("name", ["sigmoid", "relu"])
def test_no_quadratic_memory(name: str) -> None:
    from lmzoo.layers.testing.allocation import largest_allocation

    layer = LAYERS[name](16, 2)
    x = torch.randn(1, 2048, 16, requires_grad=True)
    assert largest_allocation(lambda: layer(x).sum().backward()) < 4 * 2048 * 2048 / 2


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: SigmoidAttention(24, 4, train_length=0), "train_length"),
        (lambda: SSMaxAttention(24, 4, initial_scale=0.0), "initial_scale"),
        (lambda: SigmoidAttention(24, 4, position=ALiBi), "position"),
        (lambda: ReLUAttention(24, 4, position=ALiBi), "position"),
        (lambda: QKNormAttention(24, 24, position=NoPosition), "n_heads"),
    ],
)
def test_bad_arguments(make: Callable[[], Attention], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert caught.value.argument == argument


def test_learned_scale_does_not_decay_and_starts_where_told() -> None:
    layer = SSMaxAttention(24, 4, initial_scale=0.5)
    assert layer.length_scale.tolist() == [0.5] * 4
    assert layer.length_scale.ndim == 1


FITTING: dict[str, dict[str, object]] = {
    "qk_norm": {},
    "sigmoid": {"train_length": 40},
    "relu": {},
    "softplus": {},
    "complex": {"delta": torch.zeros(4, 4), "bias": torch.zeros(4, 4)},
    "ssmax": {"length_scale": torch.ones(4)},
}


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("name", FITTING)
def test_a_mask_of_another_batch_is_an_error(name: str, rows: int) -> None:
    query, key, value = (torch.randn(4, 4, 5, 8) for _ in range(3))
    mask = torch.ones(rows, 5, dtype=torch.bool)
    with pytest.raises(ArgumentError, match=r"attention_mask: expected shape \(4, 5\)"):
        getattr(functional, f"{name}_attention")(query, key, value, **FITTING[name], key_mask=mask)
