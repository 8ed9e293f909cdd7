"""The promises as test classes to inherit: one test method each, for pytest or any runner like it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from ..attention.attention import Attention
from ..head.head import Head
from ..loss.loss import Loss
from ..position.position import Position
from .attention_checks import COMPILATION
from .promise import Candidate, Promise, hold
from .slots import SLOTS


class PartContract:
    """What the contracts below have in common: set ``part``, and ``arguments`` where it needs some.

    A class that sets ``slot`` gets a method ``test_<name>`` for each promise of it.

    Args of the class:
        part: the class of parts that is tested.
        arguments: its constructor's, by name; sizes are filled in.
        slot: where it goes; see :data:`lmzoo.layers.testing.SLOTS`.
    """

    part: ClassVar[type[nn.Module]]
    arguments: ClassVar[Mapping[str, Any]] = {}
    slot: ClassVar[str]

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "slot" not in vars(cls):
            return
        for promise in SLOTS[cls.slot].promises.values():
            if not hasattr(cls, f"test_{promise.name}"):  # a class may write a test itself, or inherit one
                setattr(cls, f"test_{promise.name}", _test(promise))

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[[], None]: ...

    def candidate(self) -> Candidate:
        """The part with all of its arguments; override it for a part that is built in another way."""
        return SLOTS[self.slot].candidate(self.part, self.arguments)

    def hold(self, promise: Promise) -> None:
        """Try one promise; what it means to break it, and what helps, is added to the message."""
        try:
            hold(promise, self.candidate())
        except AssertionError as error:
            raise AssertionError(f"{error}\n{promise.means}\n{promise.advice}") from error


def _test(promise: Promise) -> Callable[[PartContract], None]:
    """A test method that holds the part to what its slot promises under this name."""

    def test(self: PartContract) -> None:
        self.hold(SLOTS[self.slot].promises[promise.name])

    test.__name__, test.__doc__ = f"test_{promise.name}", promise.text
    return test


class AttentionContract(PartContract):
    """Tests of an attention layer: ``class TestMine(AttentionContract): part = MyAttention``."""

    part: ClassVar[type[Attention]]
    slot = "attention"


class CompiledAttentionContract(AttentionContract):
    """The same, and that ``torch.compile`` changes nothing, which takes many seconds."""

    def test_compile(self) -> None:
        """See :func:`lmzoo.layers.testing.attention_checks.check_compile`."""
        self.hold(COMPILATION)


class PositionContract(PartContract):
    """Tests of a position method."""

    part: ClassVar[type[Position]]
    slot = "position"


class HeadContract(PartContract):
    """Tests of an output head."""

    part: ClassVar[type[Head]]
    slot = "head"


class LossContract(PartContract):
    """Tests of a loss."""

    part: ClassVar[type[Loss]]
    slot = "loss"


class FeedForwardContract(PartContract):
    """Tests of a feed-forward layer, or of a normalisation."""

    slot = "feed_forward"
