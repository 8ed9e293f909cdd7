"""Run by test_softplus_triton.py in a process of its own: Triton reads TRITON_INTERPRET when it is first imported."""

from __future__ import annotations

from typing import Any

import torch
from lmzoo.layers.attention.softplus import operator
from lmzoo.layers.attention.softplus import triton as softplus_triton
from lmzoo.layers.functional import softplus_attention
from lmzoo.layers.reference import softplus_attention as dense
from torch import Tensor

SIZES = [(1, 1, 2, 2, 8), (3, 3, 2, 1, 8), (40, 40, 2, 2, 16), (33, 70, 4, 2, 24), (1, 50, 2, 1, 8), (65, 65, 2, 1, 16)]
OPTIONS: list[dict[str, Any]] = [
    {"power": 15.0},
    {"power": 3.0, "free_rows": 0, "masked": True},
    {"power": None, "masked": True},
    {"power": 2.5, "activation": "sigmoid", "masked": True},
    {"power": 15.0, "activation": "relu", "free_rows": 0},
    {"power": None, "activation": "relu", "masked": True},
    {"power": 1.0, "length_scale": False},
]


def compare(tensors: list[Tensor], options: dict[str, Any]) -> None:
    """Values and gradients in float32 against the dense reference in float64."""
    results = []
    for function, dtype in ((softplus_attention, torch.float32), (dense, torch.float64)):
        cast = [z.to(dtype).requires_grad_() for z in tensors]
        y = function(*cast, **options)
        weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        results.append([y, *torch.autograd.grad((weight * y).sum(), cast)])
    for given, expected in zip(*results):
        assert torch.isfinite(given).all(), options
        assert (given - expected).norm() < 1e-4 * expected.norm() + 1e-4, options


def main() -> None:
    """Every size with every option, then the rows that the equations leave open."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    calls = []

    def fused(query: Tensor, value: Tensor, activation: str) -> Any:
        calls.append(query.shape)
        assert softplus_triton.serves(query, value, activation)
        return softplus_triton

    operator._triton = fused
    for n_queries, n_keys, n_heads, groups, width in SIZES:
        for option in OPTIONS:
            options = {k: v for k, v in option.items() if k != "masked"}
            if option.get("masked"):
                options["key_mask"] = torch.rand(2, n_keys) > 0.3
            shapes = [(2, n_heads, n_queries, width), (2, groups, n_keys, width), (2, groups, n_keys, width)]
            compare([torch.randn(shape) for shape in shapes], options)
    query, key, value = (torch.randn(1, 2, 35, 8) for _ in range(3))
    same = key[:, :, :1].expand_as(key)
    for tensors in ([torch.zeros_like(query), key, value], [query, torch.zeros_like(key), value]):
        compare(tensors, {"power": 15.0})
    average = value.cumsum(2) / torch.arange(1, 36)[:, None]
    assert torch.allclose(softplus_attention(query, same, value), average, atol=1e-4)
    compare([query.abs(), -key.abs(), value], {"power": 15.0, "activation": "relu"})
    assert len(calls) >= 2 * len(SIZES) * len(OPTIONS)
    print("equal")


if __name__ == "__main__":
    main()
