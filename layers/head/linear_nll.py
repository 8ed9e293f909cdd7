"""Negative log-likelihood of a linear head, in chunks of rows, without ever holding (N, V)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...errors import require
from ..common.full_precision import full_dtype, under_autocast
from .row_forecast import proportion, relative

_SMALLEST_CHUNK = 1 << 22
_LARGEST_CHUNK = 1 << 24


def linear_nll(
    hidden: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    bias: Tensor | None = None,
    chunk_size: int | None = None,
    uniform: bool = True,
    row_weight: Tensor | None = None,
) -> Tensor:
    """nll_n = logsumexp_v(h_n . w_v + b_v) - (h_n . w_t + b_t), t = target_n, in nats.

    Logits exist for ``chunk_size`` rows at a time, forward and backward; memory is O(chunk_size V + N d + V d).
    Products run in the type of the inputs (under autocast in autocast's); everything behind them and the sum over
    chunks is float32, or float64 for float64 inputs.

    The gradient that comes back may differ from row to row, as behind a loss that weighs rows. The gradient by hidden
    is that of sum(nll) times a factor a row, but the gradient by weight mixes the rows before they can be told apart:
    the forward pass can prepare it only where all rows will get one gradient, as behind a mean, and ``uniform`` says
    so, or where ``row_weight`` tells their proportions. A forecast, not a promise: results are the same, to the last
    bit without ``row_weight`` and to a few units in the last place of each row's gradient with it. Products of N V d
    multiply-adds in all: 3 as forecast, 4 without a forecast (logits once more in the backward pass), 5 after a wrong
    one.

    Args:
        hidden: (N, d).
        weight: (V, d), of the same type.
        target: (N) int64 in 0..V-1. No index is ignored: leave such rows out.
        bias: (V), of the same type or of that of the result, or None; added behind the product, unrounded.
        chunk_size: rows at a time; None takes what was fastest on a CPU: 4 million logits (16 MB in float32) or 256
            rows, whichever is more, but no more than 16 million logits.
        uniform: prepare the gradient by weight in the forward pass, for rows with equal gradients.
        row_weight: (N,), or None; prepare it for rows whose gradients are proportional to these.

    Returns:
        (N) float32, float64 for float64 inputs.

    Raises:
        ArgumentError: shapes or types do not fit, or, on a CPU, a target is out of range. (CUDA asserts it.)

    Not supported: second derivatives, which raise RuntimeError; forward-mode derivatives; class probabilities as
    targets.
    """
    _check_shapes(hidden, weight, target, bias)
    require(chunk_size is None or chunk_size >= 1, "chunk_size", "None or an integer of at least 1", chunk_size)
    if under_autocast(hidden) and hidden.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    require(weight.dtype == hidden.dtype, "weight", f"the type of hidden, {hidden.dtype}", weight.dtype)
    if bias is not None:
        fits = bias.dtype in (hidden.dtype, full_dtype(hidden))
        require(fits, "bias", f"{hidden.dtype} or {full_dtype(hidden)}", bias.dtype)
    vocab_size = weight.size(0)
    if chunk_size is None:
        chunk_size = max(1, _SMALLEST_CHUNK // vocab_size, min(256, _LARGEST_CHUNK // vocab_size))
    if row_weight is not None:
        fits = row_weight.shape == target.shape and row_weight.is_floating_point()
        given = f"{tuple(row_weight.shape)} {row_weight.dtype}"
        require(fits, "row_weight", f"{tuple(target.shape)} floating-point numbers", given)
        row_weight = relative(row_weight.detach()).to(full_dtype(hidden))
    recorded = torch.is_grad_enabled()
    on_hidden = recorded and hidden.requires_grad
    on_weight = recorded and (weight.requires_grad or (bias is not None and bias.requires_grad))
    nll: Tensor = _forward(hidden, weight, bias, target, row_weight, chunk_size, on_hidden, on_weight, uniform)[0]
    return nll


def _check_shapes(hidden: Tensor, weight: Tensor, target: Tensor, bias: Tensor | None) -> None:
    require(hidden.dim() == 2, "hidden", "shape (N, d): flatten the leading dimensions", tuple(hidden.shape))
    fits = weight.dim() == 2 and weight.size(1) == hidden.size(1)
    require(fits, "weight", f"shape (V, {hidden.size(1)})", tuple(weight.shape))
    require(target.shape == hidden.shape[:1], "target", f"shape ({hidden.size(0)},)", tuple(target.shape))
    require(target.dtype == torch.int64, "target", "int64", target.dtype)
    if bias is not None:
        require(bias.shape == weight.shape[:1], "bias", f"shape ({weight.size(0)},)", tuple(bias.shape))


# Operators of their own, so that torch.compile keeps them whole instead of unrolling the chunks.
@torch.library.custom_op("lmzoo::linear_nll", mutates_args=())
def _forward(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    row_weight: Tensor | None,
    chunk_size: int,
    on_hidden: bool,
    on_weight: bool,
    uniform: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(nll, dhidden, dweight, dbias); empty where not asked for, NaN where not prepared.

    dhidden is the gradient of sum(nll), dweight and dbias that of sum_n row_weight_n nll_n.
    """
    if target.device.type == "cpu" and target.numel():
        span = tuple(int(t) for t in target.aminmax())
        require(span[0] >= 0 and span[1] < weight.size(0), "target", f"values in 0..{weight.size(0) - 1}", span)
    n = hidden.size(0)
    prepared = on_weight and (uniform or row_weight is not None)
    nll, dhidden, dweight, dbias = _outputs(hidden, weight, bias, on_hidden, on_weight, prepared)
    chunks = _LogProbabilities(hidden, weight, bias, min(chunk_size, n))
    for start in range(0, n, chunk_size):
        rows = slice(start, min(start + chunk_size, n))
        index = target[rows, None]
        block = chunks.rows(rows)
        nll[rows] = -block.gather(1, index).squeeze(1)
        if not (on_hidden or prepared):
            continue
        block.exp_().scatter_add_(1, index, block.new_full((1, 1), -1.0).expand_as(index))
        low = block.to(hidden.dtype)
        if on_hidden:
            torch.mm(low, weight, out=dhidden[rows])
        if prepared:
            if row_weight is not None:
                low = block.mul_(row_weight[rows, None]).to(hidden.dtype)
            _accumulate(dweight, dbias, block, low, hidden[rows])
    return nll, dhidden, dweight, dbias


@torch.library.custom_op("lmzoo::linear_nll_weight_gradient", mutates_args=())
def _weight_gradient(
    gradient: Tensor,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    row_weight: Tensor | None,
    dweight: Tensor,
    dbias: Tensor,
    chunk_size: int,
) -> tuple[Tensor, Tensor]:
    """Gradients of sum_n gradient_n nll_n by weight and bias; ``dweight`` and ``dbias`` are those of
    sum_n row_weight_n nll_n, or NaN where the forward pass did not prepare them.
    """
    n = hidden.size(0)
    prepared, common = not bool(dweight[0, 0].isnan()), n == 0 or bool((gradient == gradient[0]).all())
    whole = gradient[0] if n and common else gradient.new_ones(())
    if prepared and row_weight is not None:
        proportional, factor = proportion(gradient, row_weight)
        if proportional:
            return dweight * factor, dbias * factor
    elif prepared and common:
        return dweight * whole, dbias * whole
    _, _, dweight, dbias = _outputs(hidden, weight, bias, False, True, True)
    chunks = _LogProbabilities(hidden, weight, bias, min(chunk_size, n))
    for start in range(0, n, chunk_size):
        rows = slice(start, min(start + chunk_size, n))
        # a common factor is applied at the end, as if the forward pass had prepared the sum
        factor = torch.ones_like(gradient[rows, None]) if common else gradient[rows, None]
        block = chunks.rows(rows).exp_()
        if not common:
            block.mul_(factor)
        block.scatter_add_(1, target[rows, None], -factor)
        _accumulate(dweight, dbias, block, block.to(hidden.dtype), hidden[rows])
    return dweight.mul_(whole), dbias.mul_(whole)


class _LogProbabilities:
    """log softmax of a chunk of rows at a time, in float32 or float64, always in the same memory."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, chunk_size: int) -> None:
        self.hidden, self.weight, self.bias = hidden, weight, bias
        self.logits = hidden.new_empty(chunk_size, weight.size(0))
        # Log-softmax reads a row to its end before it writes the row, so that it may overwrite the logits; a test pins
        # this. Half the memory, and faster on a CPU, where fresh cache lines are what a chunk costs.
        self.block = self.logits.to(full_dtype(hidden))

    def rows(self, rows: slice) -> Tensor:
        """Log p (chunk, V) of some rows, to be overwritten by the caller at will."""
        n = rows.stop - rows.start
        logits, block = self.logits[:n], self.block[:n]
        if self.bias is not None and logits.dtype == block.dtype:
            torch.addmm(self.bias, self.hidden[rows], self.weight.t(), out=logits)
        else:
            torch.mm(self.hidden[rows], self.weight.t(), out=logits)
            if self.bias is not None:
                # half precision would round a bias, such as the shift that takes a loss's weights back
                logits = block.copy_(logits).add_(self.bias)
        return torch.log_softmax(logits, 1, dtype=block.dtype, out=block)


def _accumulate(dweight: Tensor, dbias: Tensor, block: Tensor, low: Tensor, hidden: Tensor) -> None:
    if low.dtype == dweight.dtype:
        dweight.addmm_(low.t(), hidden)
    else:
        dweight.add_(torch.mm(low.t(), hidden))
    if dbias.numel():
        dbias.add_(block.sum(0))


def _outputs(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, on_hidden: bool, on_weight: bool, prepared: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    nll = hidden.new_empty(hidden.size(0), dtype=full_dtype(hidden))
    dhidden = torch.empty_like(hidden) if on_hidden else hidden.new_empty(0)

    def start(parameter: Tensor | None) -> Tensor:
        if not on_weight or parameter is None:
            return nll.new_empty(0)
        if prepared:
            return torch.zeros_like(parameter, dtype=nll.dtype)
        # One number in the shape of all: what is saved for the backward pass has the same shapes whatever the forecast.
        # torch.utils.checkpoint runs the forward pass again when the forecast may be another, and insists on that.
        return nll.new_full((), torch.nan).expand(parameter.shape)

    return nll, dhidden, start(weight), start(bias)


@_forward.register_fake
def _forward_fake(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    row_weight: Tensor | None,
    chunk_size: int,
    on_hidden: bool,
    on_weight: bool,
    uniform: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _outputs(hidden, weight, bias, on_hidden, on_weight, uniform or row_weight is not None)


@_weight_gradient.register_fake
def _weight_gradient_fake(
    gradient: Tensor,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    row_weight: Tensor | None,
    dweight: Tensor,
    dbias: Tensor,
    chunk_size: int,
) -> tuple[Tensor, Tensor]:
    _, _, on_weight, on_bias = _outputs(hidden, weight, bias, False, True, True)
    return on_weight, on_bias


class _Once(torch.autograd.Function):
    """A gradient prepared in the forward pass: autograd would take it for a constant, and differentiate it as one."""

    @staticmethod
    def forward(result: Tensor, *causes: Tensor) -> Tensor:
        return result.view_as(result)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing is needed."""

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError("linear_nll has no second derivatives; take the cross-entropy of the head's logits instead")


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    hidden, weight, bias, target, row_weight, ctx.chunk_size, ctx.on_hidden, ctx.on_weight, _ = inputs
    _, *rest = output
    ctx.mark_non_differentiable(*rest)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(hidden, weight, bias, target, row_weight, *rest)


def _backward(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * 9
    hidden, weight, bias, target, row_weight, dhidden, dweight, dbias = ctx.saved_tensors
    on_hidden = dhidden * gradient[:, None].to(dhidden.dtype) if ctx.on_hidden else None
    on_weight = on_bias = None
    if ctx.on_weight:
        prepared = row_weight, dweight, dbias
        on_weight, on_bias = _weight_gradient(gradient, hidden, weight, bias, target, *prepared, ctx.chunk_size)
        on_weight, on_bias = on_weight.to(weight.dtype), None if bias is None else on_bias.to(bias.dtype)
    if on_hidden is not None and torch.is_grad_enabled():
        on_hidden = _Once.apply(on_hidden, gradient, hidden, weight)  # type: ignore[no-untyped-call]
    return on_hidden, on_weight, on_bias, None, None, None, None, None, None


_forward.register_autograd(_backward, setup_context=_save)
