"""The contract must catch what it is there to catch."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lmzoo.layers import LinearHead, SoftmaxAttention, contract, head_contract
from lmzoo.layers.visibility import Visibility
from torch import Tensor


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


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (NotCausal, "causality"),
        (IgnoresPadding, "padding"),
        (ForgetsTheStart, "cache"),
        (Quadratic, "memory"),
        (KeepsEveryStrip, "memory"),
        (MixesTheBatch, "batch"),
        (Overflows, "finite"),
        (Coarse, "half_precision"),
        (CoarseGradient, "half_precision"),
        (HidesState, "state_dict"),
        (Forgetful, "arguments"),
    ],
)
def test_a_broken_attention_fails(broken: type[SoftmaxAttention], check: str) -> None:
    with pytest.raises(AssertionError):
        contract.ATTENTION_CHECKS[check](partial(broken, 32, 4))


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


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Unnormalised, "distribution"),
        (Unnormalised, "agreement"),
        (Whole, "memory"),
        (Whole, "types"),
        (KeepsEveryPiece, "memory"),
        (KeepsThemInHalfPrecision, "memory"),
    ],
)
def test_a_broken_head_fails(broken: type[LinearHead], check: str) -> None:
    with pytest.raises(AssertionError):
        head_contract.HEAD_CHECKS[check](partial(broken, 8, 512))
