"""Losses that break one promise each, and the check that finds it out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from lmzoo.layers import CrossEntropy, PowerLawDecay
from lmzoo.layers.testing import SLOTS
from torch import Tensor, nn

Status = Callable[..., tuple[str, str]]


class Rows(CrossEntropy):
    def forward(self, nll: Tensor, target: Tensor) -> Tensor:
        return nll


class Summed(CrossEntropy):
    def forward(self, nll: Tensor, target: Tensor) -> Tensor:
        return nll.sum()


class FirstRowCountsTwice(CrossEntropy):
    def forward(self, nll: Tensor, target: Tensor) -> Tensor:
        return nll.mean() + nll[0]


class Backwards(CrossEntropy):
    def forward(self, nll: Tensor, target: Tensor) -> Tensor:
        return torch.exp(-nll).mean()


class LogOfOneMinusP(CrossEntropy):
    def forward(self, nll: Tensor, target: Tensor) -> Tensor:
        return -torch.log(1 - torch.exp(-nll)).mean()


class MeanOfNothing(CrossEntropy):
    def forward(self, nll: Tensor, target: Tensor) -> Tensor:
        return nll.mean()


class Detached(CrossEntropy):
    def forward(self, nll: Tensor, target: Tensor) -> Tensor:
        return (nll.detach() * nll).mean()


class OtherWeights(PowerLawDecay):
    def log_weight(self) -> Tensor:
        return 2 * super().log_weight()


class TellsOtherWeights(PowerLawDecay):
    def row_weight(self, target: Tensor) -> Tensor | None:
        weight = super().row_weight(target)
        return None if weight is None else weight.sqrt()


class TellsWholeNumbers(PowerLawDecay):
    def row_weight(self, target: Tensor) -> Tensor | None:
        return torch.ones_like(target)


class Restless(CrossEntropy):
    def forward(self, nll: Tensor, target: Tensor) -> Tensor:
        return (nll * torch.rand_like(nll)).mean()


class Forgetful(CrossEntropy):
    def __init__(self, *, smoothing: float = 0.0) -> None:
        super().__init__()


BROKEN = [
    (Rows, "scalar", "shape (1,)"),
    (Summed, "neutral", "differs from cross-entropy's"),
    (FirstRowCountsTwice, "order", "in another order"),
    (Backwards, "direction", "nats more for every token"),
    (LogOfOneMinusP, "finite", "every nll is 0"),
    (MeanOfNothing, "empty", "a loss of nan"),
    (Detached, "gradients", "finite differences"),
    (OtherWeights, "log_weight", "and not 0"),
    (TellsOtherWeights, "row_weight", "in no proportion"),
    (TellsWholeNumbers, "row_weight", "weights are torch.int64"),
    (Restless, "deterministic", "the output differs by"),
    (Forgetful, "arguments", "'smoothing'"),
]


@pytest.mark.parametrize(("broken", "promise", "sentence"), BROKEN)
def test_it_is_found_out(broken: type[nn.Module], promise: str, sentence: str, status: Status) -> None:
    found, seen = status(broken, promise)
    assert found == "broken"
    assert sentence in seen


def test_each_promise_can_be_broken() -> None:
    assert {promise for _, promise, _ in BROKEN} == set(SLOTS["loss"].promises)
