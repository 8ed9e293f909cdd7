from __future__ import annotations

import math

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import ALiBi, LearnedPosition, NoPosition, Rotary, Sinusoidal, SoftmaxAttention, reference
from lmzoo.layers.attention.softmax_mix import fold_key_bias
from lmzoo.layers.functional import alibi_slopes, rotary


@pytest.mark.parametrize("start", [0, 7, 99_990])
@pytest.mark.parametrize("width", [2, 6, 64])
def test_rotary_equals_reference(width: int, start: int) -> None:
    x = torch.randn(2, 3, 11, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn_like(x)
    given, expected = rotary(x, start=start), reference.rotary(x, start=start)
    assert torch.allclose(given, expected, rtol=0, atol=1e-10)
    ours, theirs = (torch.autograd.grad((weight * y).sum(), x)[0] for y in (given, expected))
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-10)


def test_rotary_gradient_and_its_gradient() -> None:
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotary, x)
    assert torch.autograd.gradgradcheck(rotary, x)


def test_rotary_scores_depend_on_distance_alone() -> None:
    query, key = torch.randn(2, 1, 1, 1, 64, dtype=torch.float64)
    near = (rotary(query, start=12) * rotary(key, start=5)).sum()
    far = (rotary(query, start=100_012) * rotary(key, start=100_005)).sum()
    assert float(near) == pytest.approx(float(far), abs=1e-8)


def test_rotary_float32_is_exact_far_out() -> None:
    x = torch.randn(1, 1, 4, 64)
    truth = reference.rotary(x.double(), start=100_000)
    assert float((rotary(x, start=100_000) - truth).abs().max()) < 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rotary_in_half_precision_rounds_once(dtype: torch.dtype) -> None:
    x = torch.randn(1, 4, 64, 64).to(dtype)
    truth = reference.rotary(x.double())
    rounding = (truth.to(dtype).double() - truth).abs().max()
    assert float((rotary(x).double() - truth).abs().max()) <= 1.01 * float(rounding) + 1e-6


def test_rotary_angles_survive_a_cast_of_the_layer() -> None:
    layer = SoftmaxAttention(64, 1, position=Rotary())
    layer(torch.randn(1, 9, 64))
    layer.bfloat16()(torch.randn(1, 9, 64, dtype=torch.bfloat16))
    assert isinstance(layer.position, Rotary)
    assert [column.dtype for column in layer.position._table.columns] == [torch.float32] * 2


def test_slopes_as_published() -> None:
    assert alibi_slopes(8) == [2.0**-h for h in range(1, 9)]
    assert alibi_slopes(1) == [2.0**-8]
    # twelve heads: eight of eight, then the first, third, fifth and seventh of sixteen
    assert alibi_slopes(12) == pytest.approx([2.0**-h for h in range(1, 9)] + [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5])


@pytest.mark.parametrize("n_heads", range(1, 34))
def test_slopes_equal_reference(n_heads: int) -> None:
    assert alibi_slopes(n_heads) == pytest.approx(reference.alibi_slopes(n_heads))


@pytest.mark.parametrize("n_heads", [3, 8])
@pytest.mark.parametrize(
    ("dtype", "length"), [(torch.float64, 300), (torch.float32, 4096), (torch.bfloat16, 1024), (torch.float16, 1024)]
)
def test_alibi_by_channels_equals_dense_bias(dtype: torch.dtype, length: int, n_heads: int) -> None:
    query, key, value = torch.randn(3, 1, n_heads, length, 16).to(dtype)
    rows = 64  # of the dense reference, at the end of the keys
    scale = 1.0 / math.sqrt(16)
    position = ALiBi().bind(d_model=16 * n_heads, n_heads=n_heads)
    folded = fold_key_bias(query, key, value, position.score_bias(length, length, query) / scale)
    with torch.no_grad():
        given = torch.nn.functional.scaled_dot_product_attention(*folded, is_causal=True, scale=scale)[..., :16]
        bias = reference.alibi_bias(n_heads, rows, length)
        last = query[:, :, -rows:]
        truth = reference.softmax_attention(last.double(), key.double(), value.double(), bias=bias)
        # what half precision costs when the bias itself is exact
        plain = torch.nn.functional.scaled_dot_product_attention(
            last,
            key,
            value,
            bias.float()[None]
            .masked_fill(~reference.visible(rows, length, None, query.device), -torch.inf)
            .to(torch.float64 if dtype == torch.float64 else torch.float32),
        )
    error = float((given[:, :, -rows:].double() - truth).abs().max())
    ordinary = float((plain.double() - truth).abs().max())
    bound = {torch.float64: 1e-12, torch.float32: 1e-4}.get(dtype, 1.5 * ordinary)
    assert error < bound


def test_alibi_reaches_far_in_float16() -> None:
    query, key, value = torch.randn(3, 1, 2, 40_000, 64).to(torch.float16)
    position = ALiBi().bind(d_model=128, n_heads=2)
    folded = fold_key_bias(query[:, :, -1:], key, value, position.score_bias(1, 40_000, query) * 8)
    assert all(bool(z.isfinite().all()) for z in folded)


def test_alibi_channels_carry_24_bits() -> None:
    bias = ALiBi().bind(d_model=64, n_heads=4).score_bias(1, 5000, torch.zeros(())) * 4.0
    for dtype in (torch.float16, torch.bfloat16):
        zeros = torch.zeros(1, 4, 5000, 16, dtype=dtype)
        query, key, _ = fold_key_bias(zeros[:, :, :1], zeros, zeros, bias)
        carried = (query.double() * key.double()).sum(-1)[0]
        assert float((carried - bias[:, 0].double()).abs().max()) <= float(bias.abs().max()) * 2.0**-23


def test_sinusoidal_values() -> None:
    position = Sinusoidal(base=100.0).bind(d_model=4, n_heads=1)
    index = torch.tensor([0, 1, 1_000_003])
    expected = [[math.sin(t), math.cos(t), math.sin(t / 10), math.cos(t / 10)] for t in (0, 1, 1_000_003)]
    assert torch.allclose(position.encode(index, torch.zeros((), dtype=torch.float64)), torch.tensor(expected).double())
    assert position.encode(index, torch.zeros((), dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_learned_position_ends_with_an_error() -> None:
    position = LearnedPosition(max_length=4).bind(d_model=8, n_heads=1)
    like = torch.zeros(())
    assert torch.equal(position.encode(torch.arange(4), like), position.table.weight)
    with pytest.raises(ArgumentError, match="max_length"):
        position.encode(torch.arange(5), like)


def test_binding_leaves_the_template_alone() -> None:
    template = LearnedPosition(4)
    first, second = (template.bind(d_model=8, n_heads=1) for _ in range(2))
    assert list(template.parameters()) == []
    assert first.table is not second.table


@pytest.mark.parametrize("bad", [lambda: Rotary(base=0.0), lambda: Sinusoidal(base=-1.0), lambda: LearnedPosition(0)])
def test_bad_arguments(bad: object) -> None:
    with pytest.raises(ArgumentError):
        bad()  # type: ignore[operator]


def test_only_embedding_positions_encode() -> None:
    with pytest.raises(ArgumentError):
        NoPosition().encode(torch.arange(3), torch.zeros(()))
