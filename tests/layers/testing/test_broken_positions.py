"""Positions that break one promise each, and the check that finds it out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from lmzoo.layers import LearnedPosition, Position, Rotary, Sinusoidal
from lmzoo.layers.testing import SLOTS
from torch import Tensor, nn

Status = Callable[..., tuple[str, str]]


class NoKind(Position):
    pass


class NoHook(Position):
    acts_on = "query_key"


class OneTable(LearnedPosition):
    def __init__(self, max_length: int = 64) -> None:
        super().__init__(max_length)
        self.shared = nn.Embedding(max_length, 32)

    def bind(self, *, d_model: int, n_heads: int) -> OneTable:
        bound = super().bind(d_model=d_model, n_heads=n_heads)
        bound.table = self.shared
        return bound


class ForgetsTheStart(Rotary):
    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        return super().transform(query, key, 0)


class Overflowing(Sinusoidal):
    def encode(self, index: Tensor, like: Tensor) -> Tensor:
        return super().encode(index, like) * torch.exp(index[..., None].to(like.dtype))


class Absolute(Rotary):
    """Scores depend on absolute indices, which left padding shifts."""

    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        index = torch.arange(start, start + query.size(2), dtype=query.dtype)[:, None]
        return query * (1 + index), key


class LooksAhead(Rotary):
    """At the sum of all keys, by which each is multiplied."""

    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        query, key = super().transform(query, key, start)
        return query, key * key.sum(2, keepdim=True)


class Divides(Rotary):
    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        query, key = super().transform(query, key, start)
        return query / query.norm(dim=-1, keepdim=True), key


class WrongGradient(Rotary):
    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        query, key = super().transform(query, key, start)
        return query.detach() + 0.9 * (query - query.detach()), key


class Coarse(Rotary):
    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        query, key = super().transform(query, key, start)
        exact = query.dtype in (torch.float32, torch.float64)
        return (query if exact else (query * 4).round() / 4), key


class Quadratic(Rotary):
    """Keeps a score for every pair, for nothing."""

    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        query, key = super().transform(query, key, start)
        return query + 0.0 * (query @ key.mT).square().sum(-1, keepdim=True), key


class Drawn(Rotary):
    def __init__(self) -> None:
        super().__init__()
        self.drawn = float(torch.rand(()))

    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        query, key = super().transform(query, key, start)
        return query * self.drawn, key


class Restless(Rotary):
    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        return super().transform(query + 1e-3 * torch.randn_like(query), key, start)


class Forgetful(Rotary):
    def __init__(self, *, slope: float = 1.0) -> None:
        super().__init__()


BROKEN = [
    (NoKind, "kind", "acts_on is None"),
    (NoHook, "kind", "transform() is the neutral one"),
    (OneTable, "binding", "shared between two layers"),
    (ForgetsTheStart, "shape", "placed one by one differ"),
    (ForgetsTheStart, "cache", "rows differ"),
    (Overflowing, "defined", "not finite"),
    (Absolute, "padding", "without padding"),
    (LooksAhead, "causality", "an earlier row changed"),
    (Divides, "finite", "an output is not finite for zeros"),
    (WrongGradient, "gradients", "finite differences"),
    (Coarse, "half_precision", "the error of y is"),
    (Quadratic, "memory", "the largest allocation grew"),
    (Drawn, "state_dict", "does not hold everything"),
    (Restless, "deterministic", "the output differs by"),
    (Forgetful, "arguments", "'slope'"),
]


@pytest.mark.parametrize(("broken", "promise", "sentence"), BROKEN)
def test_it_is_found_out(broken: type[nn.Module], promise: str, sentence: str, status: Status) -> None:
    found, seen = status(broken, promise)
    assert found == "broken"
    assert sentence in seen


def test_each_promise_can_be_broken() -> None:
    assert {promise for _, promise, _ in BROKEN} == set(SLOTS["position"].promises)
