"""Frequencies by hand: base 10^4 and a head of 8 channels give 1, 1/10, 1/100, 1/1000 radians a token."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import ALiBi, QKNormAttention, Rotary, SoftmaxAttention, reference
from lmzoo.layers.functional import extend_rotary
from lmzoo.layers.position.rotary_extension import EXTENSIONS, rotary_frequencies
from lmzoo.layers.testing.attention_checks import ATTENTION_CHECKS
from torch import Tensor

PLAIN = [1.0, 0.1, 0.01, 0.001]
L = 1000  # turns in training: 159, 15.9, 1.59, 0.159


def test_without_a_rule() -> None:
    frequency, factor = rotary_frequencies(8, 10000.0)
    assert frequency.tolist() == pytest.approx(PLAIN, rel=1e-14)
    assert frequency.dtype == torch.float64
    assert factor == 1.0


def test_linear() -> None:
    frequency, factor = rotary_frequencies(8, 10000.0, "linear", factor=4.0)
    assert frequency.tolist() == pytest.approx([0.25, 0.025, 0.0025, 0.00025], rel=1e-14)
    assert factor == 1.0


def test_ntk() -> None:
    # the new base is 10^4 8^(8/6) = 10^4 16, whose powers are 1/20, 1/400, 1/8000
    frequency, factor = rotary_frequencies(8, 10000.0, "ntk", factor=8.0)
    assert frequency.tolist() == pytest.approx([1.0, 1 / 20, 1 / 400, 1 / 8000], rel=1e-12)
    assert frequency[-1] == pytest.approx(PLAIN[-1] / 8.0), "the slowest pair is stretched by the whole factor"
    assert factor == 1.0


def test_yarn() -> None:
    frequency, factor = rotary_frequencies(8, 10000.0, "yarn", factor=4.0, train_length=L)
    middle = [(L * g / (2 * math.pi) - 1) / 31 for g in PLAIN[1:3]]
    expected = [1.0, *(w * g + (1 - w) * g / 4 for w, g in zip(middle, PLAIN[1:3])), 0.001 / 4]
    assert middle == pytest.approx([0.4811, 0.0191], abs=1e-4)
    assert frequency.tolist() == pytest.approx(expected, rel=1e-12)
    assert factor == pytest.approx(0.1 * math.log(4.0) + 1.0)


def test_truncated() -> None:
    # at L = 1000 three pairs turn fully and the slowest makes 0.159 turns; at L = 2000 it makes 0.318
    frequency, factor = rotary_frequencies(8, 10000.0, "truncated", factor=4.0, train_length=L)
    assert frequency.tolist() == pytest.approx([1.0, 0.1, 0.01, 0.0], rel=1e-14)
    longer, _ = rotary_frequencies(8, 10000.0, "truncated", factor=4.0, train_length=2000)
    assert longer.tolist() == pytest.approx([1.0, 0.1, 0.01, math.pi / 16000], rel=1e-14)
    assert factor == 1.0


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_factor_of_one_changes_nothing(extension: str) -> None:
    frequency, factor = rotary_frequencies(8, 10000.0, extension, train_length=10_000)
    assert frequency.tolist() == pytest.approx(PLAIN, rel=1e-14)
    assert factor == 1.0


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_head_of_one_pair(extension: str) -> None:
    frequency, _ = rotary_frequencies(2, 10000.0, extension, factor=2.0, train_length=500)
    assert frequency.tolist() == [0.5 if extension == "linear" else 1.0]


def turned(x: Tensor, frequency: Tensor, factor: float) -> Tensor:
    angle = torch.arange(x.size(2), dtype=torch.float64)[:, None] * frequency
    a, b = x.chunk(2, dim=-1)
    return factor * torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], dim=-1)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_attention_uses_the_rule_in_value_and_gradient(extension: str) -> None:
    layer = SoftmaxAttention(32, 4).double()
    before = layer(torch.ones(1, 3, 32, dtype=torch.float64))  # fills the table of the plain rule
    assert isinstance(layer.position, Rotary)
    layer.position.extend(extension, factor=4.0, train_length=20)
    x = torch.randn(2, 63, 32, dtype=torch.float64, requires_grad=True)
    packed = torch.nn.functional.linear(x, layer.qkv.weight).view(2, 63, 12, 8).transpose(1, 2)
    query, key, value = packed.chunk(3, dim=1)
    frequency, factor = rotary_frequencies(8, 10000.0, extension, factor=4.0, train_length=20)
    query, key = (turned(z, frequency, factor) for z in (query, key))
    y = reference.softmax_attention(query, key, value).transpose(1, 2).flatten(2) @ layer.output.weight.T
    given = layer(x)
    assert torch.allclose(given, y, rtol=0, atol=1e-12)
    weight = torch.randn_like(y)
    ours, theirs = (torch.autograd.grad((weight * z).sum(), x)[0] for z in (given, y))
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    layer.position.extend(None)
    assert torch.equal(layer(torch.ones(1, 3, 32, dtype=torch.float64)), before)


@pytest.mark.parametrize("check", ["arguments", "cache", "padding", "half_precision", "state_dict"])
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_contract(extension: str, check: str) -> None:
    position = Rotary(extension=extension, factor=2.0, train_length=16)
    ATTENTION_CHECKS[check](partial(SoftmaxAttention, 32, 4, position=position))


def test_a_whole_model_is_extended() -> None:
    model = torch.nn.ModuleList(
        [SoftmaxAttention(16, 2), QKNormAttention(16, 2), SoftmaxAttention(16, 2, position=ALiBi)]
    )
    assert extend_rotary(model, "yarn", factor=2.0, train_length=64) == 2
    for layer in model[:2]:
        rotary = layer.position
        assert (rotary.extension, rotary.factor, rotary.train_length) == ("yarn", 2.0, 64)
    with pytest.raises(ArgumentError, match="Rotary"):
        extend_rotary(model[2], "linear", factor=2.0)


def test_temperature_reaches_unit_queries() -> None:
    layer = QKNormAttention(16, 2).double()
    assert isinstance(layer.position, Rotary)
    layer.position.extend("yarn", factor=4.0, train_length=1 << 30)  # no pair is stretched, only the temperature stays
    query = torch.randn(1, 2, 5, 8, dtype=torch.float64)
    norm = torch.linalg.vector_norm(layer.transform(query, query, 0)[0], dim=-1)
    assert torch.allclose(norm, torch.full_like(norm, 0.1 * math.log(4.0) + 1.0))


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"extension": "dynamic"}, "extension"),
        ({"extension": "linear", "factor": 0.5}, "factor"),
        ({"factor": 2.0}, "factor"),
        ({"extension": "yarn", "factor": 2.0}, "train_length"),
        ({"extension": "truncated", "factor": 2.0, "train_length": 0}, "train_length"),
        ({"base": 0.0}, "base"),
    ],
)
def test_bad_arguments(options: dict[str, object], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Rotary(**options)  # type: ignore[arg-type]
    assert caught.value.argument == argument
