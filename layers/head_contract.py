"""What every output head promises, as checks that run on any of them; see :mod:`lmzoo.layers.contract`."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .allocation import largest_allocation
from .contract import check_arguments
from .head import Head

MakeHead = Callable[[], Head]


def check_agreement(make: MakeHead) -> None:
    """``nll`` is the cross-entropy of the logits, in value and gradient, for any weight of the rows."""
    head = _ready(make).double()
    hidden, target = _rows(head, 37)
    weight = torch.linspace(0.0, 2.0, 37, dtype=torch.float64)
    parameters = [hidden, *(p for p in head.parameters() if p.requires_grad)]
    given = head.nll(hidden, target)
    expected = F.cross_entropy(head(hidden), target, reduction="none")
    _close(given, expected, "nll and the cross-entropy of the logits differ")
    ours = torch.autograd.grad((weight * given).sum(), parameters)
    theirs = torch.autograd.grad((weight * expected).sum(), parameters)
    for a, b in zip(ours, theirs):
        _close(a, b, "a gradient of nll differs from that of the cross-entropy of the logits")


def check_distribution(make: MakeHead) -> None:
    """exp(-nll) sums to 1 over the vocabulary."""
    head = _ready(make).double()
    hidden, _ = _rows(head, 3)
    every = torch.arange(head.vocab_size)
    for row in hidden:
        total = float(torch.exp(-head.nll(row.expand(head.vocab_size, -1), every)).sum().detach())
        assert abs(total - 1.0) < 1e-9, f"probabilities sum to {total}"


def check_types(make: MakeHead) -> None:
    """``nll`` is (N) float32 for any type up to float32; logits are (..., V)."""
    for dtype in (torch.float32, torch.bfloat16):
        head = _ready(make).to(dtype)
        hidden, target = _rows(head, 5)
        nll = head.nll(hidden.to(dtype), target)
        assert nll.dtype == torch.float32, f"nll is {nll.dtype} for {dtype} inputs"
        assert nll.shape == (5,), f"nll has shape {tuple(nll.shape)} for 5 rows"
        assert bool(nll.isfinite().all()), "a likelihood is not finite"
    logits = _ready(make)(torch.zeros(2, 3, head.d_model))
    assert logits.shape == (2, 3, head.vocab_size), f"logits have shape {tuple(logits.shape)}"


def check_memory(make: MakeHead) -> None:
    """Training never holds (N, V) logits."""
    head = _ready(make)
    n = 1 + (1 << 24) // head.vocab_size
    hidden, target = _rows(head, n)
    rows = hidden.detach().float().requires_grad_()
    largest = largest_allocation(lambda: torch.autograd.backward(head.nll(rows, target).mean()))
    assert largest < 4 * n * head.vocab_size, f"an allocation of {largest} bytes for {n} rows"


HEAD_CHECKS: dict[str, Callable[[MakeHead], None]] = {
    "arguments": check_arguments,
    "agreement": check_agreement,
    "distribution": check_distribution,
    "types": check_types,
    "memory": check_memory,
}


def _ready(make: MakeHead) -> Head:
    head = make()
    if head.tied:
        head.tie(nn.Parameter(torch.randn(head.vocab_size, head.d_model)))
    return head


def _rows(head: Head, n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    hidden = torch.randn(n, head.d_model, generator=generator, dtype=torch.float64)
    return hidden.requires_grad_(), torch.randint(head.vocab_size, (n,), generator=generator)


def _close(given: Tensor, truth: Tensor, sentence: str) -> None:
    error = float((given.double() - truth.double()).abs().max().detach())
    assert error < 1e-8, f"{sentence} (by {error:.3g})"
