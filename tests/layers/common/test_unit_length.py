from __future__ import annotations

import pytest
import torch
from lmzoo.layers.common.unit_length import unit_length
from torch import Tensor


def plain(x: Tensor, scale: Tensor | None) -> Tensor:
    unit = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return unit if scale is None else scale * unit


@pytest.mark.parametrize("shape", [None, (1, 1, 7, 1), (2, 1, 7, 1), (1, 3, 7, 1)])
@pytest.mark.parametrize("learned", [False, True])
def test_value_and_gradients(shape: tuple[int, ...] | None, learned: bool) -> None:
    # the layout that heads have before they are copied
    x = torch.randn(2, 7, 3, 5, dtype=torch.float64, requires_grad=True)
    scale = None if shape is None else torch.randn(shape, dtype=torch.float64, requires_grad=learned)
    given, expected = unit_length(x.transpose(1, 2), scale), plain(x.transpose(1, 2), scale)
    assert learned or given.is_contiguous()
    assert torch.allclose(given, expected, rtol=0, atol=1e-14)
    weight = torch.randn_like(given)
    wanted = [x, scale] if learned and scale is not None else [x]
    ours, theirs = (torch.autograd.grad((weight * y).sum(), wanted) for y in (given, expected))
    for a, b in zip(ours, theirs):
        assert torch.allclose(a, b, rtol=0, atol=1e-13)


def test_short_vectors_and_scales_of_zero_leave_no_gradient() -> None:
    x = torch.randn(1, 1, 4, 6)
    x[0, 0, 0] = 0.0
    x[0, 0, 1] *= 1e-14
    x.requires_grad_()
    scale = torch.tensor([1.0, 1.0, 0.0, 2.0]).view(1, 1, 4, 1)
    y = unit_length(x, scale)
    (gradient,) = torch.autograd.grad((torch.randn_like(y) * y).sum(), x)
    assert (y[0, 0, :3] == 0).all()
    assert (gradient[0, 0, :3] == 0).all()
    assert torch.allclose(y[0, 0, 3].norm(), torch.tensor(2.0))
    # what lengthens a vector does not move its direction
    assert abs(float((gradient * x.detach())[0, 0, 3].sum())) < 1e-6


@pytest.mark.parametrize("size", [1e-11, 1e-6, 1e6, 1e18])
def test_any_size_of_vector_keeps_its_direction(size: float) -> None:
    x = torch.randn(2, 2, 9, 8)
    small = (size * x).requires_grad_()
    y = unit_length(small)
    assert torch.allclose(y, plain(x, None), rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad(y[..., 0].sum(), small)
    (expected,) = torch.autograd.grad(plain(x.requires_grad_(), None)[..., 0].sum(), x)
    assert torch.allclose(size * gradient, expected, rtol=1e-4, atol=1e-6)
