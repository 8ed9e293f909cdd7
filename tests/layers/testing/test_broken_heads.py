"""Heads that break one promise each, and the check that finds it out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from lmzoo.layers import CorpusStatistics, LinearHead
from lmzoo.layers.testing import SLOTS
from torch import Tensor, nn

Status = Callable[..., tuple[str, str]]


class Unnormalised(LinearHead):
    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        return super().nll(hidden, target) + 0.01


class Whole(LinearHead):
    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(self(hidden), target, reduction="none")


class KeepsEveryPiece(Whole):
    """No piece is large; backward has them all."""

    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        pieces = zip(hidden.split(64), target.split(64))
        return torch.cat([super(KeepsEveryPiece, self).nll(h, t) for h, t in pieces])


class KeepsThemInHalfPrecision(LinearHead):
    """As a kernel of its own would, out of sight of autograd's hooks."""

    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        self.kept = [self(h).detach().bfloat16() for h in hidden.split(64)]
        return super().nll(hidden, target)


class WrongGradient(LinearHead):
    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        return super().nll(hidden.detach() + 1.1 * (hidden - hidden.detach()), target)


class Restless(LinearHead):
    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        return super().nll(hidden + 1e-3 * torch.randn_like(hidden), target)


class ForgetsTheCorpus(LinearHead):
    def use_corpus(self, statistics: CorpusStatistics) -> None:
        self.counts = statistics.token_counts

    def forward(self, hidden: Tensor) -> Tensor:
        return super().forward(hidden) + self.counts.to(hidden.dtype).log1p()


class SumsInHalfPrecision(LinearHead):
    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        logits = nn.functional.linear(hidden, self.weight)
        with torch.autocast("cpu", enabled=False):
            nll = -torch.log_softmax(logits, 1).gather(1, target[:, None]).squeeze(1)
        return nll if nll.dtype == torch.float64 else nll.float()


class AlwaysMultipliesInHalfPrecision(LinearHead):
    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        low = hidden.dtype if hidden.dtype == torch.float64 else torch.bfloat16
        logits = nn.functional.linear(hidden.to(low), self.weight.to(low))
        return (torch.logsumexp(logits, 1) - logits.gather(1, target[:, None]).squeeze(1)).to(hidden.dtype)


class WeighsRows(LinearHead):
    def nll(self, hidden: Tensor, target: Tensor, *, row_weight: Tensor | None = None) -> Tensor:
        nll = super().nll(hidden, target)
        return nll if row_weight is None else nll * row_weight


class WeighsGradients(LinearHead):
    def nll(self, hidden: Tensor, target: Tensor, *, row_weight: Tensor | None = None) -> Tensor:
        nll = super().nll(hidden, target)
        return nll if row_weight is None else nll.detach() + (nll - nll.detach()) * row_weight


class Divides(LinearHead):
    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        return super().nll(hidden / hidden.norm(dim=-1, keepdim=True), target)


class CountsOn(LinearHead):
    """On there being a row."""

    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        return super().nll(hidden, target) + 0.0 * hidden[0].sum().detach()


class Forgetful(LinearHead):
    def __init__(self, d_model: int, vocab_size: int, *, temperature: float = 1.0) -> None:
        super().__init__(d_model, vocab_size)


BROKEN = [
    (Unnormalised, "distribution", "probabilities sum to 0.99"),
    (Unnormalised, "agreement", "nll and the cross-entropy of the logits differ"),
    (Whole, "memory", "whose logits have"),
    (Whole, "types", "nll is torch.bfloat16"),
    (KeepsEveryPiece, "memory", "whose logits have"),
    (KeepsThemInHalfPrecision, "memory", "whose logits have"),
    (WrongGradient, "gradients", "finite differences"),
    (Restless, "deterministic", "the output differs by"),
    (ForgetsTheCorpus, "state_dict", "does not hold everything"),
    (SumsInHalfPrecision, "autocast", "logits in bfloat16 by"),
    (AlwaysMultipliesInHalfPrecision, "autocast", "logits in bfloat16 by"),
    (WeighsRows, "row_weight", "nll differs when it is told right weights"),
    (WeighsGradients, "row_weight", "a gradient of nll differs"),
    (Divides, "finite", "a likelihood is not finite"),
    (CountsOn, "empty", "IndexError"),
    (Forgetful, "arguments", "'temperature'"),
]


@pytest.mark.parametrize(("broken", "promise", "sentence"), BROKEN)
def test_it_is_found_out(broken: type[nn.Module], promise: str, sentence: str, status: Status) -> None:
    found, seen = status(broken, promise)
    assert found == "broken"
    assert sentence in seen


def test_each_promise_can_be_broken() -> None:
    assert {promise for _, promise, _ in BROKEN} == set(SLOTS["head"].promises)
