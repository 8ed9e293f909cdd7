"""The promises as test classes to inherit: one test method each, for pytest or any runner like it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import nn

from ..attention.attention import Attention
from ..head.head import Head
from ..loss.loss import Loss
from ..position.position import Position
from .attention_promises import COMPILATION
from .promise import Candidate, Promise, hold
from .slots import SLOTS


def _test(name: str) -> Callable[[PartContract], None]:
    """A test method that holds the part to the promise of this name."""

    def test(self: PartContract) -> None:
        self.hold(SLOTS[self.slot].promises[name])

    return test


class PartContract:
    """What the contracts below have in common: set ``part``, and ``arguments`` where it needs some.

    Args of the class:
        part: the class of parts that is tested.
        arguments: its constructor's, by name; sizes are filled in.
        slot: where it goes; see :data:`lmzoo.layers.testing.SLOTS`.
    """

    part: ClassVar[type[nn.Module]]
    arguments: ClassVar[Mapping[str, Any]] = {}
    slot: ClassVar[str]

    def candidate(self) -> Candidate:
        """The part with all of its arguments; override it for a part that is built in another way."""
        return SLOTS[self.slot].candidate(self.part, self.arguments)

    def hold(self, promise: Promise) -> None:
        """Try one promise; what it means to break it, and what helps, is added to the message."""
        try:
            hold(promise, self.candidate())
        except AssertionError as error:
            raise AssertionError(f"{error}\n{promise.means}\n{promise.advice}") from error


class AttentionContract(PartContract):
    """Tests of an attention layer: ``class TestMine(AttentionContract): part = MyAttention``."""

    part: ClassVar[type[Attention]]
    slot = "attention"

    test_arguments = _test("arguments")
    test_causality = _test("causality")
    test_padding = _test("padding")
    test_cache = _test("cache")
    test_batch = _test("batch")
    test_groups = _test("groups")
    test_finite = _test("finite")
    test_gradients = _test("gradients")
    test_types = _test("types")
    test_half_precision = _test("half_precision")
    test_memory = _test("memory")
    test_state_dict = _test("state_dict")
    test_deterministic = _test("deterministic")


class CompiledAttentionContract(AttentionContract):
    """The same, and that ``torch.compile`` changes nothing, which takes many seconds."""

    def test_compile(self) -> None:
        """See :func:`lmzoo.layers.testing.attention_checks.check_compile`."""
        self.hold(COMPILATION)


class PositionContract(PartContract):
    """Tests of a position method."""

    part: ClassVar[type[Position]]
    slot = "position"

    test_arguments = _test("arguments")
    test_kind = _test("kind")
    test_binding = _test("binding")
    test_shape = _test("shape")
    test_defined = _test("defined")
    test_causality = _test("causality")
    test_padding = _test("padding")
    test_cache = _test("cache")
    test_finite = _test("finite")
    test_gradients = _test("gradients")
    test_half_precision = _test("half_precision")
    test_memory = _test("memory")
    test_state_dict = _test("state_dict")
    test_deterministic = _test("deterministic")


class HeadContract(PartContract):
    """Tests of an output head."""

    part: ClassVar[type[Head]]
    slot = "head"

    test_arguments = _test("arguments")
    test_distribution = _test("distribution")
    test_agreement = _test("agreement")
    test_row_weight = _test("row_weight")
    test_types = _test("types")
    test_memory = _test("memory")
    test_finite = _test("finite")
    test_empty = _test("empty")
    test_gradients = _test("gradients")
    test_autocast = _test("autocast")
    test_state_dict = _test("state_dict")
    test_deterministic = _test("deterministic")


class LossContract(PartContract):
    """Tests of a loss."""

    part: ClassVar[type[Loss]]
    slot = "loss"

    test_arguments = _test("arguments")
    test_scalar = _test("scalar")
    test_neutral = _test("neutral")
    test_order = _test("order")
    test_direction = _test("direction")
    test_finite = _test("finite")
    test_empty = _test("empty")
    test_gradients = _test("gradients")
    test_log_weight = _test("log_weight")
    test_row_weight = _test("row_weight")
    test_deterministic = _test("deterministic")


class FeedForwardContract(PartContract):
    """Tests of a feed-forward layer, or of a normalisation."""

    slot = "feed_forward"

    test_arguments = _test("arguments")
    test_types = _test("types")
    test_alone = _test("alone")
    test_finite = _test("finite")
    test_gradients = _test("gradients")
    test_half_precision = _test("half_precision")
    test_state_dict = _test("state_dict")
    test_deterministic = _test("deterministic")
