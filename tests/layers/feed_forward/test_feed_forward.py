from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from lmzoo.errors import ArgumentError
from lmzoo.layers import FeedForward, RMSNorm, SwiGLU, reference
from lmzoo.layers.common.linear import Linear


def test_feed_forward_equals_reference() -> None:
    layer = FeedForward(6, 10).double()
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    assert torch.allclose(layer(x), reference.feed_forward(x, layer.input.weight, layer.output.weight), atol=1e-13)


def test_swiglu_equals_reference() -> None:
    layer = SwiGLU(6, 10).double()
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    gate, up = layer.input.weight.chunk(2)
    assert torch.allclose(layer(x), reference.swiglu(x, gate, up, layer.output.weight), atol=1e-13)


def test_default_widths_have_equal_parameters() -> None:
    assert FeedForward(256).hidden == 1024
    assert SwiGLU(256).hidden == 688  # 8 x 256 / 3 = 682.7, rounded up to a multiple of 16
    assert SwiGLU(48).hidden == 128


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e3])
def test_rms_norm_equals_reference_in_value_and_gradient(dtype: torch.dtype, scale: float) -> None:
    norm = RMSNorm(12).to(dtype)
    torch.nn.init.normal_(norm.weight)
    x = (scale * torch.randn(3, 5, 12, dtype=dtype)).requires_grad_()
    weight = torch.randn_like(x)
    given, expected = norm(x), reference.rms_norm(x.double(), norm.weight.double())
    tolerance = {torch.float64: 1e-11, torch.float32: 2e-5}[dtype]
    assert torch.allclose(given.double(), expected, rtol=tolerance, atol=tolerance)
    ours = torch.autograd.grad((weight * given).sum(), (x, norm.weight))
    theirs = torch.autograd.grad((weight.double() * expected).sum(), (x, norm.weight))
    for a, b in zip(ours, theirs):
        assert float((a - b).norm()) <= tolerance * float(b.norm())


def test_rms_norm_of_zeros_is_zero_with_finite_gradient() -> None:
    x = torch.zeros(2, 8, requires_grad=True)
    y = RMSNorm(8)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(y, torch.zeros(2, 8))
    assert torch.allclose(gradient, torch.full((2, 8), 1e3))  # 1 / sqrt(eps)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rms_norm_is_float32_inside_half_precision(dtype: torch.dtype) -> None:
    x = (300 * torch.randn(4, 512)).to(dtype)  # a sum of squares far beyond float16
    truth = reference.rms_norm(x.double(), torch.ones(512, dtype=torch.float64))
    y = RMSNorm(512).to(dtype)(x).detach()
    assert y.dtype == dtype
    assert float((y.double() - truth).abs().max()) <= 1.01 * float((truth.to(dtype).double() - truth).abs().max())


@pytest.mark.parametrize("rows", [(1,), (3, 5), (2, 64), (200,)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_linear_is_torch_linear(rows: tuple[int, ...], bias: bool, dtype: torch.dtype) -> None:
    layer = Linear(24, 40, bias=bias).to(dtype)
    x = torch.randn(*rows, 24).to(dtype).requires_grad_()
    given, expected = layer(x), F.linear(x, layer.weight, layer.bias)
    assert given.shape == expected.shape
    assert given.is_contiguous()
    assert torch.allclose(given, expected, atol=1e-5)
    weight = torch.randn_like(given)
    ours, theirs = (torch.autograd.grad((weight * y).sum(), (x, *layer.parameters())) for y in (given, expected))
    for a, b in zip(ours, theirs):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-4)


def test_linear_under_autocast_multiplies_low() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Linear(24, 40)(torch.randn(100, 24)).dtype == torch.bfloat16


@pytest.mark.parametrize("make", [lambda: FeedForward(8, 0), lambda: SwiGLU(0), lambda: RMSNorm(8, eps=0.0)])
def test_bad_arguments(make: object) -> None:
    with pytest.raises(ArgumentError):
        make()  # type: ignore[operator]
