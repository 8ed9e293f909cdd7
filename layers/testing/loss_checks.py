"""What a loss promises."""

from __future__ import annotations

from typing import Any
from unittest import SkipTest

import torch
from torch import Tensor

from ...errors import ArgumentError
from ..loss.cross_entropy import CrossEntropy
from ..loss.loss import Loss
from .arguments import ARGUMENTS
from .corpus import introduce
from .differences import check_differences
from .promise import Candidate, Promise
from .repeats import check_repeats

# of the vocabulary, for a loss that does not know its own
_VOCABULARY = 64


def check_scalar(make: Candidate) -> None:
    """A finite scalar in the type of nll, for one row and for many."""
    for n in (1, 5, 300):
        for dtype in (torch.float32, torch.float64):
            loss, size = ready(make)
            nll, target = _rows(n, size, dtype)
            value = loss(nll, target)
            assert value.shape == (), f"{n} rows gave a loss of shape {tuple(value.shape)}"
            assert value.dtype == dtype, f"nll is {dtype} and the loss {value.dtype}"
            assert bool(value.isfinite()), f"the loss of {n} rows is {float(value)}"


def check_neutral(make: Candidate) -> None:
    """With its neutral arguments the loss is cross-entropy, in value and gradient."""
    assert issubclass(make.part, Loss)
    neutral = make.part.neutral
    if neutral is None:
        raise SkipTest("the class does not say with which arguments it is cross-entropy (its attribute neutral)")
    loss, size = ready(make, **neutral)
    nll, target = _rows(63, size, torch.float64)
    given, expected = (_value_and_gradient(each, nll, target) for each in (loss, CrossEntropy()))
    for what, ours, plain in zip(("the loss", "a gradient"), given, expected):
        error = float((ours - plain).abs().max() / plain.abs().max())
        assert error < 1e-12, f"with {dict(neutral)} {what} differs from cross-entropy's by {error:.3g} of it"


def check_order(make: Candidate) -> None:
    """The order of the rows does not matter."""
    loss, size = ready(make)
    nll, target = _rows(63, size, torch.float64)
    order = torch.randperm(63)
    first, second = float(loss(nll, target).detach()), float(loss(nll[order], target[order]).detach())
    assert abs(first - second) <= 1e-9 * abs(first), f"the same rows in another order: {first:.9g} and {second:.9g}"


def check_direction(make: Candidate) -> None:
    """A text that is less likely, each token alike, has a larger loss."""
    loss, size = ready(make)
    nll, target = _rows(63, size, torch.float64)
    for shift in (0.01, 1.0):
        before, after = float(loss(nll, target).detach()), float(loss(nll + shift, target).detach())
        assert after > before, f"{shift} nats more for every token changed the loss from {before:.9g} to {after:.9g}"


def check_finite(make: Candidate) -> None:
    """Values and gradients are finite for certain, near-certain and hopeless tokens."""
    for nats in (0.0, 1e-30, 1e-6, 1.0, 50.0, 1e4):
        loss, size = ready(make)
        nll = torch.full((9,), nats, requires_grad=True)
        value, gradient = _value_and_gradient(loss, nll, torch.arange(9) % size)
        assert bool(value.isfinite()), f"the loss is {float(value)} where every nll is {nats:g}"
        assert bool(gradient.isfinite().all()), f"a gradient is not finite where every nll is {nats:g}"


def check_empty(make: Candidate) -> None:
    """No rows give 0, with gradients of 0."""
    loss, _ = ready(make)
    hidden = torch.ones(3, requires_grad=True)
    value = loss(hidden[:0], torch.zeros(0, dtype=torch.int64))
    assert value.shape == (), f"no rows gave a loss of shape {tuple(value.shape)}"
    assert float(value.detach()) == 0.0, f"no rows gave a loss of {float(value.detach())}"
    assert value.requires_grad, "the loss of no rows has no gradient"
    (gradient,) = torch.autograd.grad(value, hidden)
    assert float(gradient.abs().sum()) == 0.0, "no rows gave a gradient other than 0"


def check_gradients(make: Candidate) -> None:
    """Gradients of nll equal finite differences."""
    loss, size = ready(make)
    nll, target = _rows(63, size, torch.float64)
    check_differences(lambda: loss(nll, target), {"nll": nll})


def check_log_weight(make: Candidate) -> None:
    """The loss is least at q(t) proportional to w(t) p(t), w of log_weight()."""
    loss, size = ready(make)
    log_weight = loss.log_weight()
    if log_weight is None:
        raise SkipTest("log_weight() is None: the loss does not claim to shift its optimum by a factor for each token")
    assert log_weight.shape == (size,), f"log w has shape {tuple(log_weight.shape)} for {size} tokens"
    assert bool(log_weight.isfinite().all()), "log w is not finite"
    # every id occurs, so that p is positive
    target = torch.cat([torch.arange(size), torch.randint(size, (2 * size,))])
    log_p = torch.log(torch.bincount(target, minlength=size).double() / len(target))

    def slope(logits: Tensor) -> float:
        """The size of the gradient at one distribution for all rows."""
        leaf = logits.clone().requires_grad_()
        nll = -torch.log_softmax(leaf, 0)[target]
        (gradient,) = torch.autograd.grad(loss(nll, target), leaf)
        return float(gradient.abs().max())

    there, elsewhere = slope(log_p + log_weight.double()), slope(log_p.roll(1) + log_weight.double() + 1.0)
    assert there < 1e-6 * elsewhere, (
        f"the gradient at w(t) p(t) is {there:.3g} and not 0; elsewhere it is {elsewhere:.3g}"
    )


def check_row_weight(make: Candidate) -> None:
    """Gradients of nll are in proportion to row_weight()."""
    loss, size = ready(make)
    nll, target = _rows(63, size, torch.float64)
    weight = loss.row_weight(target)
    if weight is None:
        raise SkipTest("row_weight() is None: the loss does not say that its weights follow from the targets")
    assert weight.shape == (63,), f"weights of 63 rows have shape {tuple(weight.shape)}"
    assert weight.is_floating_point(), f"weights are {weight.dtype}"
    _, gradient = _value_and_gradient(loss, nll, target)
    exact = weight.detach().double()
    factor = (gradient @ exact) / (exact @ exact).clamp(min=torch.finfo(torch.float64).tiny)
    error = float((gradient - factor * exact).abs().max() / gradient.abs().max())
    # a weight may be of float32
    assert error < 1e-5, f"gradients of nll are in no proportion to the weights: {error:.3g} of the largest is left"


def check_deterministic(make: Candidate) -> None:
    """The same input gives the same bits, forward and backward."""
    loss, size = ready(make)
    nll, target = _rows(63, size, torch.float32)
    check_repeats(lambda: loss(nll, target), [nll])


_PROMISES = (
    ARGUMENTS,
    Promise(
        "scalar",
        "A finite scalar in the type of nll, for one row and for many",
        "Training stops at the first step, or loses digits.",
        "Return a tensor without dimensions; make your own tensors with nll.new_tensor(...).",
        check_scalar,
    ),
    Promise(
        "neutral",
        "Reduces to cross-entropy with its neutral arguments",
        "A difference between this loss and cross-entropy could come from something else than its idea.",
        "Take the mean over rows, and let the factors be exactly 1 there; or set neutral to the right arguments.",
        check_neutral,
    ),
    Promise(
        "order",
        "The order of the rows does not matter",
        "The loss depends on how a batch happens to be packed.",
        "Use nothing but each row's nll and target, and sums over rows.",
        check_order,
    ),
    Promise(
        "direction",
        "A text that is less likely has a larger loss",
        "Training makes the model worse.",
        "Look for a sign: nll is -log p, positive, and smaller is better.",
        check_direction,
    ),
    Promise(
        "finite",
        "Values and gradients are finite for certain and for hopeless tokens",
        "One unlucky batch ends a training run.",
        "p = exp(-nll) is 1 for nll = 0 and 0 from about 104 nats on: use expm1 and log1p, and clamp before a power, a "
        "logarithm or a division.",
        check_finite,
    ),
    Promise(
        "empty",
        "No rows give 0, with gradients of 0",
        "A batch without targets on one of several devices makes the whole step NaN.",
        "lmzoo.layers.loss.loss.mean does it; or return nll.sum() where nll.numel() is 0.",
        check_empty,
    ),
    Promise(
        "gradients",
        "Gradients equal finite differences in float64",
        "Training follows something other than this loss.",
        "Look at detach() and at backward() of your autograd.Function; keep float64 as float64. A factor that is held "
        "constant on purpose, such as a detached weight, belongs to the constructor's arguments or to log_weight().",
        check_gradients,
    ),
    Promise(
        "log_weight",
        "It is least at w(t) p(t), w as log_weight() says",
        "lmzoo validate --debias would take back another shift than the one that was learned.",
        "log_weight() is the logarithm of the factor that each target's nll has in the loss, up to a constant; None "
        "where there is no such factor.",
        check_log_weight,
    ),
    Promise(
        "row_weight",
        "Gradients of nll are in proportion to what row_weight() says",
        "A head prepares gradients that do not come, and each step takes longer than without a word.",
        "row_weight() is the factor that each target's nll has in the loss, up to a common one; None where the factor "
        "hangs on more than the targets.",
        check_row_weight,
    ),
    Promise(
        "deterministic",
        "The same input gives the same bits twice",
        "Runs cannot be repeated, and resumed runs differ from uninterrupted ones.",
        "Draw nothing in forward(), and keep no running statistics.",
        check_deterministic,
    ),
)

LOSS_PROMISES = {promise.name: promise for promise in _PROMISES}
"""By name."""


def ready(make: Candidate, **more: Any) -> tuple[Loss, int]:
    """A loss that knows a corpus, if it wants to know one, and the size of its vocabulary."""
    loss: Loss = make(**more)
    try:
        known = loss.log_weight()
    except ArgumentError:  # it waits for the corpus
        known = None
    size = _VOCABULARY if known is None else len(known)
    introduce(loss, size)
    return loss, size


def _rows(n: int, vocab_size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    nll = (5 * torch.rand(n, dtype=dtype)).requires_grad_()
    return nll, torch.randint(vocab_size, (n,))


def _value_and_gradient(loss: Loss, nll: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    value = loss(nll, target)
    return value.detach(), torch.autograd.grad(value, nll)[0]
