"""What an output head promises."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..head.head import Head
from . import head_checks as head_contract
from .arguments import ARGUMENTS
from .corpus import introduce
from .differences import check_differences
from .promise import Candidate, Promise
from .repeats import check_repeats, trained


def check_gradients(make: Candidate) -> None:
    """Gradients of the hidden states and of every parameter equal finite differences."""
    head = _ready(make).double()
    hidden, target = _rows(head, torch.float64)
    check_differences(lambda: head.nll(hidden, target), {"hidden": hidden, **trained(head)})


def check_deterministic(make: Candidate) -> None:
    """The same input gives the same bits, forward and backward."""
    head = _ready(make)
    hidden, target = _rows(head, torch.float32)
    check_repeats(lambda: head.nll(hidden, target), [hidden, *trained(head).values()])


def _with_corpus(check: Callable[[Callable[[], Head]], None]) -> Callable[[Candidate], None]:
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
        _with_corpus(head_contract.check_distribution),
    ),
    Promise(
        "agreement",
        "nll is the cross-entropy of the logits, in value and gradient",
        "The model that generates is not the model that was trained and scored.",
        "Both have to describe one distribution: a temperature, bias or mask in forward() belongs into nll() too.",
        _with_corpus(head_contract.check_agreement),
    ),
    Promise(
        "row_weight",
        "Being told what a loss weighs rows by changes neither nll nor its gradients",
        "The loss weighs a second time what the head has weighed, and the perplexity that is logged is another.",
        "Use row_weight to prepare gradients, as lmzoo.layers.functional.linear_nll does, or leave the argument out.",
        _with_corpus(head_contract.check_row_weight),
    ),
    Promise(
        "types",
        "nll is (N) float32 also for bfloat16 hidden states; logits are (..., V)",
        "Sums over a corpus lose digits, which are the digits that comparisons are about.",
        "Take the logarithm of the sum in float32 and return it so; float64 where float64 comes in.",
        _with_corpus(head_contract.check_types),
    ),
    Promise(
        "memory",
        "Training never holds the logits of all rows",
        "The vocabulary, not the model, decides how large a batch may be.",
        "Compute nll with lmzoo.layers.functional.linear_nll, or in chunks of rows inside torch.utils.checkpoint.",
        _with_corpus(head_contract.check_memory),
    ),
    Promise(
        "finite",
        "Values and gradients are finite, and normalised, for zero and huge hidden states",
        "One unlucky batch ends a training run.",
        "Use log_softmax or logsumexp in place of log(softmax(x)); clamp before a logarithm or a division.",
        _with_corpus(head_contract.check_finite),
    ),
    Promise(
        "empty",
        "No rows give no likelihoods, and gradients of zero",
        "A batch without targets on one of several devices stops them all.",
        "Return a tensor of shape (0,) that is still connected to hidden; a mean of nothing is NaN.",
        _with_corpus(head_contract.check_empty),
    ),
    Promise(
        "gradients",
        "Gradients equal finite differences in float64",
        "The head trains towards something other than its loss.",
        "Look at backward() of your autograd.Function, at detach() and at in-place changes; keep float64 as float64.",
        check_gradients,
    ),
    Promise(
        "autocast",
        "Under autocast the error of nll is that of a bfloat16 product, no more, and nll is float32",
        "Training in mixed precision learns less than the same head could.",
        "Let only the product with the weights be rounded; everything after it in float32.",
        _with_corpus(head_contract.check_autocast),
    ),
    Promise(
        "state_dict",
        "Its state dict holds everything that it computes with",
        "A model that was saved and loaded is another model.",
        "What is learned, drawn or taken from the corpus is a Parameter or a persistent buffer.",
        _with_corpus(head_contract.check_state_dict),
    ),
    Promise(
        "deterministic",
        "The same input gives the same bits twice",
        "Runs cannot be repeated, and resumed runs differ from uninterrupted ones.",
        "Draw nothing in nll(): a sampled softmax is no likelihood.",
        check_deterministic,
    ),
)

HEAD_PROMISES = {promise.name: promise for promise in _PROMISES}
"""By name."""


def _ready(make: Candidate) -> Head:
    head: Head = make()
    introduce(head, head.vocab_size, head.d_model)
    if head.tied:
        head.tie(nn.Parameter(torch.randn(head.vocab_size, head.d_model)))
    return head


def _rows(head: Head, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    hidden = torch.randn(23, head.d_model, dtype=dtype, requires_grad=True)
    return hidden, torch.randint(head.vocab_size, (23,))
