# mypy: ignore-errors
"""The kernels of softplus attention for CUDA, in Triton: two passes over the keys, no strip ever in memory.

They take and give what the functions of ``kernel.py`` do, and ``operator.py`` calls them on CUDA where they serve. A
row's maximum of phi is known after the first pass, so the second needs no rescaling. Products are IEEE float32: a power
of 15 would make much of TF32's rounding.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from .kernel import Problem
from .triton_kernels import forward_kernel, key_kernel, row_kernel

_BLOCK = 32
# Wider heads would need more shared memory than many devices have.
_WIDEST = 64


def serves(query: Tensor, value: Tensor, activation: str) -> bool:
    """Float32, heads of at most 64, and not ``exp``, which needs a third pass. Gradients of a power are the strips'."""
    return query.dtype == torch.float32 and max(query.size(-1), value.size(-1)) <= _WIDEST and activation != "exp"


def forward(problem: Problem) -> tuple[Tensor, Tensor]:
    """(y, statistics), as the strips compute them, but with factor -1 in rows whose weights are all 0."""
    y, statistics = problem.outputs()
    call, query = _Call(problem), problem.query
    grid = (triton.cdiv(query.size(2), _BLOCK), query.size(0) * query.size(1))
    forward_kernel[grid](*call.tensors, y, statistics, *call.sizes, problem.free_rows, **call.constants)
    return y, statistics


def gradients(gradient: Tensor, y: Tensor, statistics: Tensor, problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by query, key and value."""
    query, key, value = problem[:3]
    dquery, dkey, dvalue = (query.new_empty(z.shape) for z in (query, key, value))
    of_rows = query.new_empty(2, *query.shape[:3])
    call = _Call(problem)
    gradient = gradient.contiguous()
    grid = (triton.cdiv(query.size(2), _BLOCK), query.size(0) * query.size(1))
    row_kernel[grid](*call.tensors, gradient, y, statistics, of_rows, dquery, *call.sizes, **call.constants)
    grid = (triton.cdiv(key.size(2), _BLOCK), key.size(0) * key.size(1))
    key_kernel[grid](*call.tensors, gradient, statistics, of_rows, dkey, dvalue, *call.sizes, **call.constants)
    return dquery, dkey, dvalue


class _Call:
    """What every kernel is given first."""

    def __init__(self, problem: Problem) -> None:
        query, key, value, power, count, key_mask, activation, _ = problem
        batch, n_heads, n_queries, width = query.shape
        powers = count.new_ones(n_heads) if power is None else power.contiguous()
        mask = count if key_mask is None else key_mask.to(torch.int8).contiguous()
        counts = count.expand(batch, n_queries).contiguous()
        self.tensors = (query.contiguous(), key.contiguous(), value.contiguous(), powers, counts, mask)
        self.sizes = (n_heads, key.size(1), n_queries, key.size(2), query.numel() // max(1, width))
        self.constants: dict[str, Any] = {
            "WIDTH": width,
            "VALUE_WIDTH": value.size(3),
            "PADDED": max(16, triton.next_power_of_2(width)),
            "VALUE_PADDED": max(16, triton.next_power_of_2(value.size(3))),
            "ACTIVATION": activation,
            "REWEIGHT": power is not None,
            "MASKED": key_mask is not None,
            "BLOCK": _BLOCK,
        }
