"""The slots of a model: what fits them, what it promises, and the sizes that it is tried with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ...errors import nearest, require
from ..attention.attention import Attention
from ..head.head import Head
from ..loss.loss import Loss
from ..position.position import Position
from .attention_checks import ATTENTION_PROMISES
from .head_checks import HEAD_PROMISES
from .loss_checks import LOSS_PROMISES
from .position_checks import POSITION_PROMISES
from .promise import Candidate, Promise
from .token_checks import TOKEN_PROMISES


@dataclass(frozen=True)
class Slot:
    """A place in a model.

    Args:
        name: as a configuration calls it.
        base: what a part has to inherit.
        promises: what it promises, by name.
        sizes: what its owner gives to the constructor, as small as the checks can use.
    """

    name: str
    base: type[nn.Module]
    promises: Mapping[str, Promise]
    sizes: Mapping[str, int]

    def candidate(self, part: type[nn.Module], arguments: Mapping[str, Any]) -> Candidate:
        """The part with its arguments, and with sizes for those of the owner's that are not among them.

        Raises:
            ArgumentError: the class does not fit the slot, or has no such argument.
        """
        fits = isinstance(part, type) and issubclass(part, self.base)
        base = "torch.nn.Module" if self.base is nn.Module else f"lmzoo.layers.{self.base.__name__}"
        require(fits, "part", f"a class that inherits {base}, for the slot {self.name}", part)
        one = Candidate(part)
        sizes = {name: size for name, size in self.sizes.items() if one.takes(name)}
        return Candidate(part, {**sizes, **arguments})


SLOTS = {
    slot.name: slot
    for slot in (
        Slot("attention", Attention, ATTENTION_PROMISES, {"d_model": 32, "n_heads": 4}),
        Slot("position", Position, POSITION_PROMISES, {}),
        Slot("head", Head, HEAD_PROMISES, {"d_model": 16, "vocab_size": 512}),
        Slot("loss", Loss, LOSS_PROMISES, {}),
        Slot("feed_forward", nn.Module, TOKEN_PROMISES, {"d_model": 32}),
        Slot("norm", nn.Module, TOKEN_PROMISES, {"d_model": 32}),
    )
}
"""By name."""


def slot_of(part: type[nn.Module], name: str | None = None) -> Slot:
    """The slot of this name, else the one whose base the class inherits; a feed-forward layer inherits none.

    Raises:
        ArgumentError: there is no slot of this name.
    """
    if name is not None:
        expected = f"one of {', '.join(SLOTS)}; nearest: {nearest(name, SLOTS, 1)[0]}"
        require(name in SLOTS, "slot", expected, name)
        return SLOTS[name]
    return next(slot for slot in SLOTS.values() if issubclass(part, slot.base))
