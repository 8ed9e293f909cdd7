"""Softplus attention as an operator of PyTorch, which takes Triton's kernels where they serve, else strips."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import kernel
from .kernel import Problem

# The fields of Problem as schemas. What torch.compile has cached on disk calls the operators with their arguments in
# this order, so a change of it needs operators of other names.
_TENSORS = "Tensor query, Tensor key, Tensor value, Tensor? power, Tensor count, Tensor? key_mask"
_OPTIONS = "str activation, int free_rows"


def attend(problem: Problem) -> Tensor:
    """Y = B v, (B, H, Tq, dv), or A v without a power."""
    y: Tensor = _forward(*problem)[0]
    return y


# Operators of their own, so that torch.compile keeps them whole instead of unrolling the strips.
@torch.library.custom_op(
    "lmzoo::softplus_attention", mutates_args=(), schema=f"({_TENSORS}, {_OPTIONS}) -> (Tensor, Tensor)"
)
def _forward(*arguments: Any) -> tuple[Tensor, Tensor]:
    """See :func:`kernel.forward`."""
    problem = Problem(*arguments)
    fused = _triton(problem.query, problem.value, problem.activation)
    if fused is None:
        return kernel.forward(problem)
    of_fused: tuple[Tensor, Tensor] = fused.forward(problem)
    return of_fused


@torch.library.custom_op(
    "lmzoo::softplus_attention_backward",
    mutates_args=(),
    schema=f"(Tensor gradient, {_TENSORS}, Tensor y, Tensor statistics, {_OPTIONS}, bool on_power)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)
def _gradients(gradient: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See :func:`kernel.gradients`."""
    *tensors, y, statistics, activation, free_rows, on_power = arguments
    problem = Problem._make((*tensors, activation, free_rows))
    fused = None if on_power else _triton(problem.query, problem.value, problem.activation)
    if fused is None:
        return kernel.gradients(gradient, y, statistics, problem, on_power=on_power)
    return *fused.gradients(gradient, y, statistics, problem), problem.query.new_empty(0)


def _triton(query: Tensor, value: Tensor, activation: str) -> Any:
    """The module of fused kernels where they serve, else None."""
    if query.device.type != "cuda":
        return None
    try:
        from . import triton as softplus_triton
    except ImportError:
        return None
    return softplus_triton if softplus_triton.serves(query, value, activation) else None


@_forward.register_fake
def _forward_fake(*arguments: Any) -> tuple[Tensor, Tensor]:
    return Problem(*arguments).outputs()


@_gradients.register_fake
def _gradients_fake(gradient: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    (query, key, value), on_power = arguments[:3], arguments[-1]
    dquery, dkey, dvalue = (query.new_empty(z.shape) for z in (query, key, value))
    return dquery, dkey, dvalue, query.new_empty(query.size(1) if on_power else 0)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, activation, free_rows = inputs
    ctx.options = activation, free_rows
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, *output)


def _backward(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * len(Problem._fields)
    on_power = ctx.needs_input_grad[3]
    *of_inputs, of_power = _gradients(gradient, *ctx.saved_tensors, *ctx.options, on_power)
    return *of_inputs, of_power if on_power else None, None, None, None, None


_forward.register_autograd(_backward, setup_context=_save)
