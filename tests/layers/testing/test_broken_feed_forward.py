"""Feed-forward layers that break one promise each, and the check that finds it out; a norm promises the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from lmzoo.layers import FeedForward
from lmzoo.layers.testing import SLOTS
from torch import Tensor, nn

Status = Callable[..., tuple[str, str]]


class MixesTokens(FeedForward):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0.1 * x.mean(1, keepdim=True))


class Divides(FeedForward):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / x.norm(dim=-1, keepdim=True)


class Coarse(FeedForward):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if y.dtype in (torch.float32, torch.float64) else (y * 8).round() / 8


class Drawn(FeedForward):
    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.factor = torch.randn(())

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.factor


class Dropping(FeedForward):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(x), 0.5)


class Forgetful(FeedForward):
    def __init__(self, d_model: int, *, slope: float = 1.0) -> None:
        super().__init__(d_model)


class Doubles(FeedForward):
    def __init__(self, d_model: int, *, slope: float = 1.0) -> None:
        super().__init__(d_model)
        self.slope = 2 * slope


class Widened(FeedForward):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float()


class WrongGradient(FeedForward):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y.detach() + 0.9 * (y - y.detach())


BROKEN = [
    (MixesTokens, "alone", "among others differ"),
    (Divides, "finite", "not finite for zeros"),
    (Coarse, "half_precision", "more than 3"),
    (Drawn, "state_dict", "does not hold everything"),
    (Dropping, "deterministic", "the output differs by"),
    (Forgetful, "arguments", "'slope'"),
    (Doubles, "arguments", "the attribute 'slope' is 2.0; built again with that, the part has 4.0"),
    (Widened, "types", "x is torch.float64 and y torch.float32"),
    (WrongGradient, "gradients", "finite differences"),
]


@pytest.mark.parametrize(("broken", "promise", "sentence"), BROKEN)
def test_it_is_found_out(broken: type[nn.Module], promise: str, sentence: str, status: Status) -> None:
    found, seen = status(broken, promise)
    assert found == "broken"
    assert sentence in seen


def test_each_promise_can_be_broken() -> None:
    assert {promise for _, promise, _ in BROKEN} == set(SLOTS["feed_forward"].promises)
