"""Attention layers that break one promise each, and the check that finds it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lmzoo.layers import SoftmaxAttention
from lmzoo.layers.attention.visibility import Visibility
from lmzoo.layers.testing import SLOTS
from torch import Tensor, nn

Status = Callable[..., tuple[str, str]]


class NotCausal(SoftmaxAttention):
    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value)


class IgnoresPadding(SoftmaxAttention):
    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        blind = Visibility(visibility.n_queries, visibility.n_keys, None, query.device)
        return super().attend(query, key, value, blind)


class ForgetsTheStart(SoftmaxAttention):
    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        return super().transform(query, key, 0)


class Quadratic(SoftmaxAttention):
    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, visibility.mask())


class KeepsEveryStrip(SoftmaxAttention):
    """No strip is large; backward has them all."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        strips = []
        for a in range(0, visibility.n_queries, 16):
            keys, seen = visibility.strip(a, min(a + 16, visibility.n_queries))
            scores = query[:, :, a : a + 16] @ key[:, :, keys].mT / query.size(-1) ** 0.5
            strips.append(scores.masked_fill(~seen.mask(), -torch.inf).softmax(-1) @ value[:, :, keys])
        return torch.cat(strips, dim=2)


class MixesTheBatch(SoftmaxAttention):
    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        return super().attend(query, key, value, visibility) + value.mean()


class Overflows(SoftmaxAttention):
    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        return super().attend(query, key, value, visibility) * torch.exp(query.abs().amax())


class Coarse(SoftmaxAttention):
    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        y = super().attend(query, key, value, visibility)
        return y if y.dtype == torch.float32 else (y * 16).round() / 16


class CoarseGradient(SoftmaxAttention):
    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        y = super().attend(query, key, value, visibility)
        if y.dtype != torch.float32:
            y.register_hook(lambda gradient: (gradient * 4).round() / 4)
        return y


class HidesState(SoftmaxAttention):
    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        self.factor = getattr(self, "factor", torch.randn(()))
        return super().attend(query, key, value, visibility) * self.factor


class Forgetful(SoftmaxAttention):
    def __init__(self, d_model: int, n_heads: int, *, temperature: float = 1.0) -> None:
        super().__init__(d_model, n_heads)


class WrongGradient(SoftmaxAttention):
    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        return super().attend(query, key, value.detach() + 0.9 * (value - value.detach()), visibility)


class ManyTypes(SoftmaxAttention):
    def forward(self, *arguments: Any, **more: Any) -> Tensor:
        return super().forward(*arguments, **more).float()


class NoGroups(SoftmaxAttention):
    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        return super().attend(query, key.expand_as(query), value.expand_as(query), visibility)


class Restless(SoftmaxAttention):
    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        return super().attend(query + 1e-3 * torch.randn_like(query), key, value, visibility)


BROKEN = [
    (NotCausal, "causality", "an earlier row changed"),
    (IgnoresPadding, "padding", "without padding"),
    (ForgetsTheStart, "cache", "rows differ"),
    (Quadratic, "memory", "the largest allocation grew"),
    (KeepsEveryStrip, "memory", "what is kept for the backward pass grew"),
    (MixesTheBatch, "batch", "alone and in a batch differ"),
    (Overflows, "finite", "an output is not finite"),
    (Coarse, "half_precision", "the error of y is"),
    (CoarseGradient, "half_precision", "the error of dx is"),
    (HidesState, "state_dict", "does not hold everything"),
    (Forgetful, "arguments", "'temperature'"),
    (WrongGradient, "gradients", "finite differences"),
    (ManyTypes, "types", "x is torch.float64 and y torch.float32"),
    (NoGroups, "groups", "RuntimeError"),
    (Restless, "deterministic", "the output differs by"),
]


@pytest.mark.parametrize(("broken", "promise", "sentence"), BROKEN)
def test_it_is_found_out(broken: type[nn.Module], promise: str, sentence: str, status: Status) -> None:
    found, seen = status(broken, promise)
    assert found == "broken"
    assert sentence in seen


def test_each_promise_can_be_broken() -> None:
    assert {promise for _, promise, _ in BROKEN} == set(SLOTS["attention"].promises)
