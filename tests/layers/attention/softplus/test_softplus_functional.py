"""The strips equal the dense reference, in value and in every gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers.attention import strips
from lmzoo.layers.functional import softplus_attention
from lmzoo.layers.reference import softplus_attention as dense
from torch import Tensor

LENGTHS = [1, 2, 3, 4, 63, 64, 65, 111, 129]
ACTIVATIONS = ["softplus", "exp", "sigmoid", "relu"]
POWERS = [None, 0.5, 1.0, 2.5, 3.0, 15.0]


def inputs(n_queries: int, n_keys: int, n_heads: int = 4, groups: int = 4, width: int = 8) -> list[Tensor]:
    shapes = [(2, n_heads, n_queries, width), (2, groups, n_keys, width), (2, groups, n_keys, width)]
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def compare(tensors: list[Tensor], tolerance: float = 1e-10, **options: Any) -> None:
    wanted = tensors + [z for z in options.values() if isinstance(z, Tensor) and z.requires_grad]
    given, expected = softplus_attention(*tensors, **options), dense(*tensors, **options)
    assert given.isfinite().all()
    weight = torch.randn_like(given)
    results = []
    for y in (given, expected):
        gradients = torch.autograd.grad((weight * y).sum(), wanted, allow_unused=True, materialize_grads=True)
        results.append([y.detach(), *gradients])
    for a, b in zip(*results):
        assert torch.allclose(a, b, rtol=tolerance, atol=tolerance * (1.0 + float(b.abs().max())))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("power", POWERS)
def test_lengths_and_powers(length: int, power: float | None) -> None:
    compare(inputs(length, length), power=power)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("free_rows", [0, 3])
def test_activations(activation: str, power: float | None, free_rows: int) -> None:
    compare(inputs(70, 70), power=power, activation=activation, free_rows=free_rows)


@pytest.mark.parametrize("power", [float(p) for p in range(2, 67)])
def test_integer_powers(power: float) -> None:
    compare(inputs(9, 9, n_heads=2, groups=2), power=power, tolerance=1e-9)


@pytest.mark.parametrize("power", [None, 3.0])
@pytest.mark.parametrize("factor", [20.0, 1e3, 1e6])
def test_scores_far_beyond_the_range_of_exp(power: float | None, factor: float) -> None:
    tensors, factors = inputs(40, 40), torch.full((4,), factor, dtype=torch.float64)
    compare(tensors, power=power, score_factor=factors, tolerance=1e-8)
    in_float32 = [z.detach().float().requires_grad_() for z in tensors]
    y = softplus_attention(*in_float32, power=power, score_factor=factors)
    assert all(z.isfinite().all() for z in (y, *torch.autograd.grad(y.square().sum(), in_float32)))
    if factor == 20.0:  # beyond, rows of negative scores alone underflow in float32
        assert torch.allclose(y.double(), dense(*tensors, power=power, score_factor=factors), rtol=0, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("power", [None, 15.0])
@pytest.mark.parametrize("elements", [1, 1 << 12])
def test_groups_padding_and_strip_sizes(
    groups: int, power: float | None, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "_ELEMENTS", {"cpu": elements, "other": elements})
    monkeypatch.setattr(strips, "_FEW_ELEMENTS", elements)
    monkeypatch.setattr(strips, "_ROWS", 7)
    for n_queries, n_keys in ((40, 40), (1, 40), (13, 40)):
        mask = torch.arange(n_keys)[None] >= torch.tensor([[29], [0]])
        for key_mask in (None, mask, mask.flip(1)):
            compare(inputs(n_queries, n_keys, groups=groups), power=power, key_mask=key_mask)


@pytest.mark.parametrize("length_scale", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_of_learned_powers_and_factors(activation: str, length_scale: bool) -> None:
    power = torch.tensor([0.7, 1.0, 3.0, 15.0], dtype=torch.float64, requires_grad=True)
    factor = torch.tensor([0.5, 1.0, 2.0, 1.3], dtype=torch.float64, requires_grad=True)
    mask = torch.rand(2, 67) > 0.3
    options: dict[str, Any] = {"activation": activation, "length_scale": length_scale, "free_rows": 2}
    compare(inputs(67, 67, groups=2), power=power, score_factor=factor, key_mask=mask, **options)
    equal = torch.full((4,), 15.0, dtype=torch.float64, requires_grad=True)
    compare(inputs(67, 67), power=equal, score_factor=factor, **options)


def test_gradients_against_finite_differences() -> None:
    tensors = inputs(6, 9, n_heads=2, groups=1, width=4)
    power = torch.tensor([3.0, 2.2], dtype=torch.float64, requires_grad=True)
    for p in (None, 3.0, power):
        given = [*tensors, p] if isinstance(p, Tensor) else tensors

        def f(q: Tensor, k: Tensor, v: Tensor, learned: Tensor | None = None, p: Any = p) -> Tensor:
            return softplus_attention(q, k, v, power=p if learned is None else learned)

        assert torch.autograd.gradcheck(f, given)


@pytest.mark.parametrize("power", POWERS)
def test_rows_of_equal_weights_average_the_values(power: float | None) -> None:
    query, key, value = inputs(65, 65)
    same = key.detach()[:, :, :1].expand_as(key).clone().requires_grad_()
    zeros = torch.zeros_like(key).requires_grad_()
    average = value.cumsum(dim=2) / torch.arange(1, 66)[:, None]
    for q, k in ((query, same), (zeros, key), (query, zeros)):
        y = softplus_attention(q, k, value, power=power)
        assert torch.allclose(y, average, rtol=0, atol=1e-12)
        compare([q, k, value], power=power)
        in_float32 = softplus_attention(q.float(), k.float(), value.float(), power=power)
        assert torch.allclose(in_float32.double(), average, rtol=0, atol=1e-4)


def test_relu_without_a_positive_score_weighs_equally() -> None:
    query, key, value = inputs(20, 20)
    opposite = -key.detach().abs()
    y = softplus_attention(query.detach().abs(), opposite, value, activation="relu", power=15.0)
    assert torch.allclose(y, value.cumsum(dim=2) / torch.arange(1, 21)[:, None])
    compare([query.detach().abs().requires_grad_(), opposite.requires_grad_(), value], activation="relu")


def test_the_first_row_is_its_own_value() -> None:
    for activation in ACTIVATIONS:
        for free_rows in (0, 3):
            query, key, value = inputs(5, 5)
            y = softplus_attention(query, key, value, activation=activation, free_rows=free_rows)
            assert torch.allclose(y[:, :, 0], value[:, :, 0])


def test_only_keys_above_the_average_count() -> None:
    """Four keys: cos 1, -1, 0, 1/2. The row mean lies above the third's softplus."""
    query = torch.tensor([[[[2.0, 0.0]]]], dtype=torch.float64)
    key = torch.tensor([[[[3.0, 0.0], [-1.0, 0.0], [0.0, 5.0], [1.0, 3.0**0.5]]]], dtype=torch.float64)
    value = torch.eye(4, dtype=torch.float64)[None, None]
    s = torch.log(torch.tensor(2.0)) * torch.log(torch.tensor(4.0)) * torch.tensor([1.0, -1.0, 0.0, 0.5])
    phi = torch.log(1 + torch.exp(s.double()))
    a = phi / phi.sum()
    assert torch.allclose(softplus_attention(query, key, value, power=None)[0, 0, 0], a, atol=1e-6)
    w = torch.clamp(4 * a - 1, min=0) ** 3
    assert (w > 0).sum() == 2
    assert torch.allclose(softplus_attention(query, key, value, power=3.0)[0, 0, 0], w / w.sum(), atol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e3, 1e18, 1e30])
def test_extreme_inputs_stay_finite(activation: str, scale: float) -> None:
    tensors = [(scale * z.detach().float()).requires_grad_() for z in inputs(66, 66)[:2]]
    value = torch.randn(2, 4, 66, 8, requires_grad=True)
    y = softplus_attention(*tensors, value, activation=activation)
    assert y.isfinite().all()
    for gradient in torch.autograd.grad(y.square().sum(), [*tensors, value]):
        assert gradient.isfinite().all()


def test_the_length_of_queries_and_keys_does_not_matter() -> None:
    query, key, value = (z.detach() for z in inputs(50, 50))
    y = softplus_attention(query, key, value)
    assert torch.allclose(softplus_attention(1e3 * query, 1e-3 * key, value), y, atol=1e-12)


@pytest.mark.parametrize("activation", ["softplus", "exp"])
@pytest.mark.parametrize("width", [64, 512])
def test_float32_is_enough_at_8192_keys(activation: str, width: int) -> None:
    query, key, value = (torch.randn(1, 1, n, width) for n in (2, 8192, 8192))
    key[0, 0, 77] = query[0, 0, 1]  # one score at its bound log(dh) log(N)
    for power in (None, 15.0):
        given = softplus_attention(query, key, value, power=power, activation=activation)
        truth = dense(query.double(), key.double(), value.double(), power=power, activation=activation)
        assert (given - truth).norm() / truth.norm() < 1e-4


def test_half_precision_keeps_its_type_and_computes_in_float32() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        rounded = [z.detach().to(dtype) for z in inputs(40, 40)]
        y = softplus_attention(*rounded)
        assert y.dtype == dtype
        assert torch.equal(y, softplus_attention(*(z.float() for z in rounded)).to(dtype))


def test_autocast_leaves_the_kernel_in_float32() -> None:
    tensors = [z.detach().float().requires_grad_() for z in inputs(40, 40)]
    plain = softplus_attention(*tensors)
    expected = torch.autograd.grad(plain.sum(), tensors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = softplus_attention(*tensors)
        given = torch.autograd.grad(y.sum(), tensors)
    assert torch.equal(y, plain)
    assert all(torch.equal(a, b) for a, b in zip(given, expected))


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"activation": "tanh"}, "activation"),
        ({"power": 0.0}, "power"),
        ({"power": float("inf")}, "power"),
        ({"power": torch.ones(3)}, "power"),
        ({"free_rows": -1}, "free_rows"),
        ({"key_mask": torch.ones(2, 4, dtype=torch.bool)}, "attention_mask"),
    ],
)
def test_bad_options(change: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        softplus_attention(*inputs(5, 5), **change)
    assert caught.value.argument == argument


@pytest.mark.parametrize("shape", [(), (1,), (3,), (4, 1)])
def test_bad_score_factor(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=r"shape \(4,\)") as caught:
        softplus_attention(*inputs(5, 5), score_factor=torch.ones(shape))
    assert caught.value.argument == "score_factor"


def test_heads_of_width_one_are_refused() -> None:
    with pytest.raises(ArgumentError, match="width 2 or more") as caught:
        softplus_attention(*inputs(5, 5, width=1))
    assert caught.value.argument == "query"


def test_bad_shapes() -> None:
    query, key, value = inputs(5, 5)
    for tensors, argument in (
        ((query[0], key, value), "query"),
        ((query, key[:, :3], value[:, :3]), "key"),
        ((query, key[:, :, :4], value), "key"),
        ((query, key, value[:, :1]), "value"),
    ):
        with pytest.raises(ArgumentError) as caught:
            softplus_attention(*tensors)
        assert caught.value.argument == argument
