"""What an output head promises: checks that run on any of them, and the promises in words; see attention_checks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from unittest import SkipTest

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..head.head import Head
from .allocation import peak_growth
from .arguments import ARGUMENTS, check_kept
from .corpus import introduce
from .differences import check_differences
from .promise import Candidate, Promise
from .repeats import check_repeats, trained

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
    # rows of rare tokens may be absent from so few targets, and their parameters from the graph
    ours, theirs = (
        torch.autograd.grad((weight * nll).sum(), parameters, allow_unused=True, materialize_grads=True)
        for nll in (given, expected)
    )
    for a, b in zip(ours, theirs):
        _close(a, b, "a gradient of nll differs from that of the cross-entropy of the logits")


def check_row_weight(make: MakeHead) -> None:
    """``row_weight`` changes neither ``nll`` nor its gradients, be it what comes, something else or zero."""
    head = _ready(make).double()
    if not head.takes_row_weight:
        raise SkipTest("nll() has no argument row_weight, and need not have it")
    hidden, target = _rows(head, 37)
    weight = torch.linspace(0.0, 2.0, 37, dtype=torch.float64)
    parameters = [hidden, *(p for p in head.parameters() if p.requires_grad)]

    def outcome(**told: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        nll = head.nll(hidden, target, **told)
        total = (weight * nll).sum()
        return nll, torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True)

    plain, theirs = outcome()
    for what, told in (("right", 3.0 * weight), ("wrong", weight.flip(0)), ("zero", torch.zeros_like(weight))):
        nll, ours = outcome(row_weight=told)
        _close(nll, plain, f"nll differs when it is told {what} weights")
        for a, b in zip(ours, theirs):
            _close(a, b, f"a gradient of nll differs when it is told {what} weights")


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
    """Training never holds (N, V) logits, be it in one piece or in many: twice the rows cost less than half of those.

    Of the growth of memory at its peak, forward and backward, behind weighed rows, less the gradients. What does not
    grow with N, such as a chunk of logits, does not count; what is kept for each row, such as a copy of its hidden
    state or its gradient, does, and is told from logits only where V is at least 8 d: else the check is skipped.
    """
    head = _ready(make)
    if head.vocab_size < 8 * head.d_model:
        raise SkipTest(
            f"logits of {head.vocab_size} tokens are not told from hidden states of width {head.d_model}: ask again "
            f"with vocab_size={8 * head.d_model} or more"
        )

    def growth(n: int) -> int:
        hidden, target = _rows(head, n)
        rows, weight = hidden.detach().float().requires_grad_(), torch.linspace(0.5, 1.5, n)
        leaves = [rows, *(p for p in head.parameters() if p.requires_grad)]
        for leaf in leaves:
            leaf.grad = None
        peak = peak_growth(lambda: torch.autograd.backward((weight * head.nll(rows, target)).mean()))
        return peak - sum(leaf.grad.nbytes for leaf in leaves if leaf.grad is not None)

    n = -(-(1 << 23) // head.vocab_size)
    more, logits = growth(2 * n) - growth(n), 4 * n * head.vocab_size
    assert 2 * more < logits, f"{n} more rows, whose logits have {logits} bytes, took {more} bytes at the peak"


def check_finite(make: MakeHead) -> None:
    """Values and gradients are finite, and normalised, for zero and for huge hidden states and for a single row."""
    head = _ready(make).double()
    every = torch.arange(head.vocab_size)
    for scale in (0.0, 1.0, 1e3, 1e4):
        hidden = (scale * _rows(head, 1)[0]).detach().requires_grad_()
        nll = head.nll(hidden.expand(head.vocab_size, -1), every)
        (gradient,) = torch.autograd.grad(nll.sum(), hidden)
        assert bool(nll.isfinite().all()), f"a likelihood is not finite for hidden states x {scale:g}"
        assert bool(gradient.isfinite().all()), f"a gradient is not finite for hidden states x {scale:g}"
        total = float(torch.exp(-nll).sum().detach())
        assert abs(total - 1.0) < 1e-6, f"probabilities sum to {total} for hidden states x {scale:g}"


def check_empty(make: MakeHead) -> None:
    """No rows give no likelihoods, and gradients of zero."""
    head = _ready(make)
    hidden = torch.zeros(0, head.d_model, requires_grad=True)
    nll = head.nll(hidden, torch.zeros(0, dtype=torch.int64))
    assert nll.shape == (0,), f"nll has shape {tuple(nll.shape)} for no rows"
    nll.sum().backward()
    assert hidden.grad is not None, "hidden states have no gradient where there are no rows"
    gradients = [p.grad for p in head.parameters() if p.grad is not None]
    assert all(float(g.abs().sum()) == 0.0 for g in gradients), "a gradient is not zero where there are no rows"


def check_autocast(make: MakeHead) -> None:
    """Under autocast the mean error of ``nll`` is at most twice that of plain logits in bfloat16; ``nll`` is float32.

    Errors are those against the same head in float64; the plain logits are a product of the hidden states and the
    head's linear part, and most of their error is the rounding of both.
    """
    head = _ready(make)
    hidden, target = _rows(head, 64)
    rows = hidden.detach().float()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        given = head.nll(rows, target)
    assert given.dtype == torch.float32, f"nll is {given.dtype} under autocast"
    exact = copy.deepcopy(head).double()
    with torch.no_grad():
        weight = exact(torch.eye(head.d_model).double()).T - exact(torch.zeros(1, head.d_model).double()).T
        ordinary = float(((rows.bfloat16() @ weight.bfloat16().T).double() - rows.double() @ weight.T).abs().mean())
        error = float((given.double() - exact.nll(rows.double(), target)).abs().mean())
    assert error <= 2.0 * ordinary, (
        f"under autocast nll is off by {error:.3g} on average, logits in bfloat16 by {ordinary:.3g}"
    )


def check_state_dict(make: MakeHead) -> None:
    """Another head that loads the state dict computes the same."""
    torch.manual_seed(1)
    first = _ready(make)
    torch.manual_seed(2)
    second = _ready(make)
    second.load_state_dict(first.state_dict())
    hidden, target = _rows(first, 17)
    rows = hidden.detach().float()
    same = torch.equal(first.nll(rows, target), second.nll(rows, target)) and torch.equal(first(rows), second(rows))
    assert same, "the state dict does not hold everything that the head computes with"


def check_gradients(make: MakeHead) -> None:
    """Gradients of the hidden states and of every parameter equal finite differences."""
    head = _ready(make).double()
    hidden, target = _drawn(head, torch.float64)
    check_differences(lambda: head.nll(hidden, target), {"hidden": hidden, **trained(head)})


def check_deterministic(make: MakeHead) -> None:
    """The same input gives the same bits, forward and backward."""
    head = _ready(make)
    hidden, target = _drawn(head, torch.float32)
    check_repeats(lambda: head.nll(hidden, target), [hidden, *trained(head).values()])


HEAD_CHECKS: dict[str, Callable[[MakeHead], None]] = {
    "arguments": check_kept,
    "agreement": check_agreement,
    "row_weight": check_row_weight,
    "distribution": check_distribution,
    "types": check_types,
    "memory": check_memory,
    "finite": check_finite,
    "empty": check_empty,
    "autocast": check_autocast,
    "state_dict": check_state_dict,
}
"""Checks that take any function that builds a head, by the names of the promises."""


def _with_corpus(check: Callable[[MakeHead], None]) -> Callable[[Candidate], None]:
    """The check, on heads that know a corpus; another one each time, which the state dict has to carry."""

    def run(make: Candidate) -> None:
        def build() -> Head:
            head: Head = make()
            introduce(head, head.vocab_size, head.d_model)
            return head

        check(build)

    return run


_PROMISES = (
    ARGUMENTS,
    Promise(
        "distribution",
        "A distribution over the vocabulary: exp(-nll) sums to 1",
        "Its perplexity cannot be compared with any other model's.",
        "Normalise over all V tokens; a token that no row of the head stands for still has to have its share.",
        _with_corpus(check_distribution),
    ),
    Promise(
        "agreement",
        "nll is the cross-entropy of the logits, in value and gradient",
        "The model that generates is not the model that was trained and scored.",
        "Both have to describe one distribution: a temperature, bias or mask in forward() belongs into nll() too.",
        _with_corpus(check_agreement),
    ),
    Promise(
        "row_weight",
        "Being told what a loss weighs rows by changes neither nll nor its gradients",
        "The loss weighs a second time what the head has weighed, and the perplexity that is logged is another.",
        "Use row_weight to prepare gradients, as lmzoo.layers.functional.linear_nll does, or leave the argument out.",
        _with_corpus(check_row_weight),
    ),
    Promise(
        "types",
        "nll is (N) float32 also for bfloat16 hidden states; logits are (..., V)",
        "Sums over a corpus lose digits, which are the digits that comparisons are about.",
        "Take the logarithm of the sum in float32 and return it so; float64 where float64 comes in.",
        _with_corpus(check_types),
    ),
    Promise(
        "memory",
        "Training never holds the logits of all rows",
        "The vocabulary, not the model, decides how large a batch may be.",
        "Compute nll with lmzoo.layers.functional.linear_nll, or in chunks of rows inside torch.utils.checkpoint.",
        _with_corpus(check_memory),
    ),
    Promise(
        "finite",
        "Values and gradients are finite, and normalised, for zero and huge hidden states",
        "One unlucky batch ends a training run.",
        "Use log_softmax or logsumexp in place of log(softmax(x)); clamp before a logarithm or a division.",
        _with_corpus(check_finite),
    ),
    Promise(
        "empty",
        "No rows give no likelihoods, and gradients of zero",
        "A batch without targets on one of several devices stops them all.",
        "Return a tensor of shape (0,) that is still connected to hidden; a mean of nothing is NaN.",
        _with_corpus(check_empty),
    ),
    Promise(
        "gradients",
        "Gradients equal finite differences in float64",
        "The head trains towards something other than its loss.",
        "Look at backward() of your autograd.Function, at detach() and at in-place changes; keep float64 as float64.",
        _with_corpus(check_gradients),
    ),
    Promise(
        "autocast",
        "Under autocast the error of nll is that of a bfloat16 product, no more, and nll is float32",
        "Training in mixed precision learns less than the same head could.",
        "Let only the product with the weights be rounded; everything after it in float32.",
        _with_corpus(check_autocast),
    ),
    Promise(
        "state_dict",
        "Its state dict holds everything that it computes with",
        "A model that was saved and loaded is another model.",
        "What is learned, drawn or taken from the corpus is a Parameter or a persistent buffer.",
        _with_corpus(check_state_dict),
    ),
    Promise(
        "deterministic",
        "The same input gives the same bits twice",
        "Runs cannot be repeated, and resumed runs differ from uninterrupted ones.",
        "Draw nothing in nll(): a sampled softmax is no likelihood.",
        _with_corpus(check_deterministic),
    ),
)

HEAD_PROMISES = {promise.name: promise for promise in _PROMISES}
"""By name."""


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


def _drawn(head: Head, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    hidden = torch.randn(23, head.d_model, dtype=dtype, requires_grad=True)
    return hidden, torch.randint(head.vocab_size, (23,))
