"""What lmzoo.layers.testing adds to the contracts: checks catch what they are there to catch, and our parts pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar
from unittest import SkipTest

import pytest
import torch
from lmzoo import layers
from lmzoo.errors import ArgumentError
from lmzoo.layers import (
    CrossEntropy,
    FeedForward,
    LearnedPosition,
    LinearHead,
    NoPosition,
    Position,
    PowerLawDecay,
    Rotary,
    Sinusoidal,
    SoftmaxAttention,
    T5Bias,
    testing,
)
from lmzoo.layers.testing import SLOTS, AttentionContract, Promise, slot_of, try_promise
from lmzoo.layers.visibility import Visibility
from torch import Tensor, nn

ARGUMENTS: dict[str, dict[str, Any]] = {
    "VQLogitsHead": {"codebook_size": 64, "mapping": "cooccurrence", "within_code": "bias", "cooccurrence_rank": 4},
    "LearnedPosition": {"max_length": 64},
}
BASES = ("Attention", "Head", "Loss", "Position")
PARTS = [n for n in layers.__all__ if n not in BASES and issubclass(getattr(layers, n), nn.Module)]
# run for our parts in the tests of their own, or too slow to be run for each here
ELSEWHERE = {"causality", "padding", "cache", "batch", "half_precision", "memory"}


def status(part: type[nn.Module], promise: str, **arguments: Any) -> tuple[str, str]:
    slot = slot_of(part)
    outcome = try_promise(slot.promises[promise], slot.candidate(part, arguments))
    return outcome.status, outcome.seen


@pytest.mark.parametrize("name", PARTS)
def test_our_parts_keep_the_promises(name: str) -> None:
    part = getattr(layers, name)
    slot = slot_of(part)
    candidate = slot.candidate(part, ARGUMENTS.get(name, {}))
    outcomes = [try_promise(promise, candidate) for key, promise in slot.promises.items() if key not in ELSEWHERE]
    assert [(o.promise.name, o.seen) for o in outcomes if o.status == "broken"] == []
    assert sum(o.status == "kept" for o in outcomes) >= 5


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


class HeadWithWrongGradient(LinearHead):
    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        return super().nll(hidden.detach() + 1.1 * (hidden - hidden.detach()), target)


class RestlessHead(LinearHead):
    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        return super().nll(hidden + 1e-3 * torch.randn_like(hidden), target)


class ForgetsTheCorpus(LinearHead):
    def use_corpus(self, statistics: layers.CorpusStatistics) -> None:
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


class RestlessLoss(CrossEntropy):
    def forward(self, nll: Tensor, target: Tensor) -> Tensor:
        return (nll * torch.rand_like(nll)).mean()


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


class FeedForwardWithWrongGradient(FeedForward):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y.detach() + 0.9 * (y - y.detach())


@pytest.mark.parametrize(
    ("broken", "promise", "sentence"),
    [
        (WrongGradient, "gradients", "finite differences"),
        (ManyTypes, "types", "x is torch.float64 and y torch.float32"),
        (NoGroups, "groups", "RuntimeError"),
        (Restless, "deterministic", "the output differs by"),
        (HeadWithWrongGradient, "gradients", "finite differences"),
        (RestlessHead, "deterministic", "the output differs by"),
        (ForgetsTheCorpus, "state_dict", "does not hold everything"),
        (SumsInHalfPrecision, "autocast", "logits in bfloat16 by"),
        (AlwaysMultipliesInHalfPrecision, "autocast", "logits in bfloat16 by"),
        (WeighsRows, "row_weight", "nll differs when it is told right weights"),
        (WeighsGradients, "row_weight", "a gradient of nll differs"),
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
        (RestlessLoss, "deterministic", "the output differs by"),
        (NoKind, "kind", "acts_on is None"),
        (NoHook, "kind", "transform() is the neutral one"),
        (OneTable, "binding", "shared between two layers"),
        (ForgetsTheStart, "shape", "placed one by one differ"),
        (ForgetsTheStart, "cache", "rows differ"),
        (Overflowing, "defined", "not finite"),
        (Absolute, "padding", "without padding"),
        (MixesTokens, "alone", "among others differ"),
        (Divides, "finite", "not finite for zeros"),
        (Coarse, "half_precision", "more than 3"),
        (Drawn, "state_dict", "does not hold everything"),
        (Dropping, "deterministic", "the output differs by"),
        (Forgetful, "arguments", "'slope'"),
        (Doubles, "arguments", "the attribute 'slope' is 2.0; built again with that, the part has 4.0"),
        (Widened, "types", "x is torch.float64 and y torch.float32"),
        (FeedForwardWithWrongGradient, "gradients", "finite differences"),
    ],
)
def test_a_broken_part_fails(broken: type[nn.Module], promise: str, sentence: str) -> None:
    found, seen = status(broken, promise)
    assert found == "broken"
    assert sentence in seen


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


def test_what_does_not_concern_a_part_is_skipped() -> None:
    assert status(LearnedPosition, "causality", max_length=64)[0] == "skipped"
    assert status(NoPosition, "defined")[0] == "skipped"
    assert status(CrossEntropy, "log_weight")[0] == "skipped"
    assert status(CrossEntropy, "row_weight")[0] == "skipped"
    memory = status(LinearHead, "memory", d_model=128, vocab_size=256)
    assert memory[0] == "skipped"
    assert "vocab_size=1024 or more" in memory[1]
    assert status(ForgetsTheCorpus, "row_weight")[0] == "kept"
    assert status(RestlessHead, "row_weight")[0] == "skipped"
    assert status(SoftmaxAttention, "groups", n_heads=1) == ("skipped", "1 query heads cannot be shared in pairs")


def test_a_class_of_another_slot_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"inherits lmzoo\.layers\.Head"):
        slot_of(Rotary, "head").candidate(Rotary, {})
    with pytest.raises(ArgumentError, match="nearest: head"):
        slot_of(Rotary, "haed")


def test_a_position_beyond_its_table_says_so() -> None:
    assert status(LearnedPosition, "defined", max_length=64)[0] == "kept"


def test_the_promises_need_torch_and_nothing_heavier() -> None:
    code = "import sys, lmzoo.layers.testing; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"transformers", "lightning", "pytest", "rich", "yaml"} & set(loaded)
