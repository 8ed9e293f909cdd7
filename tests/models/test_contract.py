"""What parts promise inside a model: the checks catch what breaks there only."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from lmzoo.layers import CrossEntropy, LearnedPosition, Rotary, Sinusoidal, SoftmaxAttention
from lmzoo.layers.testing import slot_of, try_promise
from lmzoo.models.contract import described, model_promises
from torch import Tensor, nn


class Unused(SoftmaxAttention):
    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__(d_model, n_heads)
        self.spare = nn.Parameter(torch.zeros(3))


class Frozen(CrossEntropy):
    def forward(self, nll: Tensor, target: Tensor) -> Tensor:
        return 1e-12 * super().forward(nll, target)


class IgnoresTheIndex(Sinusoidal):
    def encode(self, index: Tensor, like: Tensor) -> Tensor:
        return super().encode(torch.arange(index.size(-1)).expand_as(index), like)


class HidesState(SoftmaxAttention):
    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__(d_model, n_heads)
        self.factor = random.random()

    def forward(self, *arguments: Any, **more: Any) -> Tensor:
        return super().forward(*arguments, **more) * self.factor


def outcome(part: type[nn.Module], promise: str, **arguments: Any):
    slot = slot_of(part)
    return try_promise(model_promises(slot.name)[promise], slot.candidate(part, arguments))


@pytest.mark.parametrize(
    ("broken", "promise", "sentence"),
    [
        (Unused, "learning", "blocks.0.attention.spare has no gradient"),
        (Frozen, "learning", "nats only"),
        (IgnoresTheIndex, "generation", "with the key cache differ"),
        (HidesState, "saving", "of the loaded model differ"),
    ],
)
def test_a_broken_part_fails(broken, promise, sentence):
    found = outcome(broken, promise)
    assert found.status == "broken"
    assert sentence in found.seen


@pytest.mark.parametrize("promise", ["learning", "generation", "saving"])
def test_whole_parts_keep_them(promise):
    for part, arguments in ((SoftmaxAttention, {"position": Rotary(500.0)}), (LearnedPosition, {"max_length": 32})):
        assert outcome(part, promise, **arguments).status == "kept"
    assert outcome(CrossEntropy, promise).status == ("kept" if promise == "learning" else "skipped")


def test_a_description_leaves_out_what_the_owner_gives():
    candidate = slot_of(SoftmaxAttention).candidate(SoftmaxAttention, {"d_model": 8, "position": Rotary(500.0)})
    part = described(candidate)
    assert part["class_path"] == "lmzoo.layers.SoftmaxAttention"
    assert list(part["init_args"]) == ["position"]
    assert part["init_args"]["position"]["init_args"]["base"] == 500.0
