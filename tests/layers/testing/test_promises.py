"""Promises as `lmzoo check` and a user's own test files try them; our parts keep theirs. For others: test_broken_*."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from unittest import SkipTest

import pytest
import torch
from lmzoo import layers
from lmzoo.errors import ArgumentError
from lmzoo.layers import (
    CrossEntropy,
    LearnedPosition,
    LinearHead,
    NoPosition,
    Rotary,
    SoftmaxAttention,
    T5Bias,
    testing,
)
from lmzoo.layers.attention.visibility import Visibility
from lmzoo.layers.testing import SLOTS, AttentionContract, Promise, slot_of, try_promise
from torch import Tensor, nn

ARGUMENTS: dict[str, dict[str, Any]] = {
    "VQLogitsHead": {"codebook_size": 64, "mapping": "cooccurrence", "within_code": "bias", "cooccurrence_rank": 4},
    "LearnedPosition": {"max_length": 64},
}
Status = Callable[..., tuple[str, str]]

BASES = ("Attention", "Head", "Loss", "Position")
PARTS = [n for n in layers.__all__ if n not in BASES and issubclass(getattr(layers, n), nn.Module)]
# run for our parts in the tests of their own, or too slow to be run for each here
ELSEWHERE = {"causality", "padding", "cache", "batch", "half_precision", "memory"}


@pytest.mark.parametrize("name", PARTS)
def test_our_parts_keep_the_promises(name: str) -> None:
    part = getattr(layers, name)
    slot = slot_of(part)
    candidate = slot.candidate(part, ARGUMENTS.get(name, {}))
    outcomes = [try_promise(promise, candidate) for key, promise in slot.promises.items() if key not in ELSEWHERE]
    assert [(o.promise.name, o.seen) for o in outcomes if o.status == "broken"] == []
    assert sum(o.status == "kept" for o in outcomes) >= 5


def test_every_promise_of_a_slot_is_a_test_of_its_contract() -> None:
    contracts = {
        "attention": testing.AttentionContract,
        "position": testing.PositionContract,
        "head": testing.HeadContract,
        "loss": testing.LossContract,
        "feed_forward": testing.FeedForwardContract,
    }
    for name, contract in contracts.items():
        methods = [m.removeprefix("test_") for m in dir(contract) if m.startswith("test_")]
        assert sorted(methods) == sorted(SLOTS[name].promises)
        assert contract.slot == name
    assert SLOTS["norm"].promises == SLOTS["feed_forward"].promises


class TestAnInheritedContract(AttentionContract):
    """As a user's test file has it."""

    part = SoftmaxAttention
    arguments: ClassVar[dict[str, Any]] = {"position": T5Bias(), "n_kv_heads": 2}


def test_a_failing_contract_says_what_to_do() -> None:
    class Broken(AttentionContract):
        part = ForgetsPadding

    with pytest.raises(AssertionError, match=r"without padding.*\n.*prompts alone\.\n.*visibility\.mask"):
        Broken().test_padding()
    Broken().test_causality()


class ForgetsPadding(SoftmaxAttention):
    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        blind = Visibility(visibility.n_queries, visibility.n_keys, None, query.device)
        return super().attend(query, key, value, blind)


class Raises(SoftmaxAttention):
    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        raise KeyError("nothing here")


def test_an_exception_is_an_outcome_with_its_place() -> None:
    slot = SLOTS["attention"]
    outcome = try_promise(slot.promises["causality"], slot.candidate(Raises, {}))
    assert outcome.status == "broken"
    assert "KeyError: 'nothing here'" in outcome.seen
    assert outcome.where is not None
    file, line = outcome.where.split(":")
    assert file == "test_promises.py"
    assert 'raise KeyError("nothing here")' in Path(__file__).read_text().splitlines()[int(line) - 1]


def test_a_check_leaves_the_random_numbers_alone_and_draws_the_same_each_time() -> None:
    drawn = []

    def draw(_: object) -> None:
        drawn.append(float(torch.rand(())))
        raise SkipTest("no more")

    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    first = torch.rand(())
    promise = Promise("draw", "", "", "", draw)
    outcomes = [try_promise(promise, SLOTS["loss"].candidate(CrossEntropy, {})) for _ in range(2)]
    assert [first.item(), torch.rand(()).item()] == expected.tolist()
    assert drawn[0] == drawn[1]
    assert [(o.status, o.seen) for o in outcomes] == [("skipped", "no more")] * 2


class WithoutRowWeight(LinearHead):
    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        return super().nll(hidden, target)


def test_what_does_not_concern_a_part_is_skipped(status: Status) -> None:
    assert status(LearnedPosition, "causality", max_length=64)[0] == "skipped"
    assert status(NoPosition, "defined")[0] == "skipped"
    assert status(CrossEntropy, "log_weight")[0] == "skipped"
    assert status(CrossEntropy, "row_weight")[0] == "skipped"
    memory = status(LinearHead, "memory", d_model=128, vocab_size=256)
    assert memory[0] == "skipped"
    assert "vocab_size=1024 or more" in memory[1]
    assert status(LinearHead, "row_weight")[0] == "kept"
    assert status(WithoutRowWeight, "row_weight")[0] == "skipped"
    assert status(SoftmaxAttention, "groups", n_heads=1) == ("skipped", "1 query heads cannot be shared in pairs")


def test_a_class_of_another_slot_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"inherits lmzoo\.layers\.Head"):
        slot_of(Rotary, "head").candidate(Rotary, {})
    with pytest.raises(ArgumentError, match="nearest: head"):
        slot_of(Rotary, "haed")


def test_a_position_beyond_its_table_says_so(status: Status) -> None:
    assert status(LearnedPosition, "defined", max_length=64)[0] == "kept"


def test_the_promises_need_torch_and_nothing_heavier() -> None:
    code = "import sys, lmzoo.layers.testing; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"transformers", "lightning", "pytest", "rich", "yaml"} & set(loaded)
