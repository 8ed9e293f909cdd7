"""The hooks of a part: documented on one page, called where a part defines them, whatever it inherits."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import (
    Attention,
    CorpusStatistics,
    Head,
    LinearHead,
    Loss,
    Position,
    PowerLawDecay,
    SoftmaxAttention,
    SwiGLU,
)
from lmzoo.layers.common.part import Part, defines, keeps
from lmzoo.layers.testing import SLOTS, try_promise
from lmzoo.models import Decoder, describe
from torch import Tensor, nn

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "own-part.md").read_text()
SLOT = {"any": Part, "attention": Attention, "position": Position, "head": Head, "loss": Loss}
# stated in the table above that of the hooks, or not to be overridden
ELSEWHERE = {"forward", "attend", "nll", "matmul_weights", "acts_on", "bind", "takes_row_weight"}


def documented() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `(\w+)[^|]* \| (\w+)[^|]* \|", PAGE.partition("### Hooks")[2], re.MULTILINE)
    return {slot: {name for name, of in rows if of == slot} for slot in SLOT}


def hooks(base: type) -> set[str]:
    names = {*vars(base), *inspect.get_annotations(base)}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("slot", SLOT)
def test_the_page_names_every_hook_of_a_base_and_no_other(slot: str) -> None:
    assert documented()[slot] == hooks(SLOT[slot]) - ELSEWHERE
    for name in hooks(SLOT[slot]) & ELSEWHERE:
        assert f"`{name}" in PAGE


@pytest.mark.parametrize("slot", SLOT)
def test_every_hook_has_a_docstring(slot: str) -> None:
    source = inspect.getsource(SLOT[slot])
    for name in hooks(SLOT[slot]):
        value = vars(SLOT[slot]).get(name)
        text = value.__doc__ if inspect.isroutine(value) else re.search(rf'^    {name}: .*\n    """', source, re.M)
        assert text, name


class Duck(nn.Module):
    """A feed-forward layer with hooks and without a base."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.d_model = d_model
        self.weight = nn.Parameter(torch.zeros(d_model))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight

    def initialise(self, std: float, generator: torch.Generator) -> None:
        nn.init.constant_(self.weight, std)

    def set_step(self, step: int) -> None:
        self.step = step


def test_a_part_defines_a_hook_with_or_without_the_base() -> None:
    duck = Duck(8)
    assert defines(duck, Part.set_step)
    assert not defines(duck, Part.use_corpus)
    assert defines(PowerLawDecay(), Part.use_corpus)
    for part in (SoftmaxAttention(8, 2), SwiGLU(8), None):
        assert not defines(part, Part.use_corpus)
    SoftmaxAttention(8, 2).use_corpus(CorpusStatistics(torch.ones(3)))
    decoder = Decoder(11, 8, 1, 2, feed_forward=Duck, init_std=0.5)
    assert decoder.blocks[0].feed_forward.weight.tolist() == [0.5] * 8


class Counting(LinearHead):
    """Keeps its counts in a buffer, as what is learned from a corpus is to be kept."""

    def __init__(self, d_model: int, vocab_size: int) -> None:
        super().__init__(d_model, vocab_size)
        self.register_buffer("tie_counts", torch.arange(vocab_size))


class Knowing(LinearHead):
    @property
    def tie_counts(self) -> Tensor:  # type: ignore[override]
        return torch.arange(self.vocab_size)


def test_the_counts_for_ties_may_be_a_buffer_or_a_property() -> None:
    assert Knowing(4, 3).tie_counts.tolist() == [0, 1, 2]
    assert LinearHead(4, 3).tie_counts is None
    assert list(LinearHead(4, 3).state_dict()) == ["weight"]
    head = Counting(4, 3)
    assert head.tie_counts.tolist() == [0, 1, 2]
    assert head.state_dict()["tie_counts"].tolist() == [0, 1, 2]


class Forgetful(Position):
    """Takes an argument whose name its base has an attribute of, and does not keep it."""

    acts_on = "nothing"

    def __init__(self, max_length: int = 8) -> None:
        super().__init__()


class Mindful(Forgetful):
    def __init__(self, max_length: int = 8) -> None:
        super().__init__()
        self.max_length = max_length


class Fixed(Part):
    """A part of a user's, right below the base, with an argument that only one value makes sense of."""

    hidden = 3

    def __init__(self, hidden: int = 3) -> None:
        super().__init__()


def test_a_default_of_the_base_is_no_argument_kept() -> None:
    assert keeps(Fixed(), "hidden")
    assert keeps(Mindful(3), "max_length")
    assert describe(Mindful(3))["init_args"] == {"max_length": 3}
    assert not keeps(Forgetful(3), "max_length")
    with pytest.raises(ArgumentError, match="max_length"):
        describe(Forgetful(3))
    slot = SLOTS["position"]
    outcome = try_promise(slot.promises["arguments"], slot.candidate(Forgetful, {}))
    assert "does not keep its argument 'max_length'" in outcome.seen
