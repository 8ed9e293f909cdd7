"""Equal budgets: the feed-forward width or the depth at which a model costs what another one costs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...errors import require
from ...models import Counts, Decoder, count
from ...models.parts import class_path_of, split
from ..config import Config

BUDGETS = {"parameters": "parameters", "flops": "training FLOPs a token"}
SCOPES = ("total", "body")
SIZES = {"feed_forward": "feed-forward width", "depth": "number of layers"}
# The key that each size is written to.
KEYS = {"feed_forward": "model.feed_forward.init_args.hidden", "depth": "model.n_layers"}


class OutOfReach(Exception):
    """Even of size 1 a model costs more than it may; ``cost`` says how much."""

    def __init__(self, cost: float) -> None:
        self.cost = cost
        super().__init__(f"{cost:,.0f} at size 1")


@dataclass(frozen=True)
class Matching:
    """What every variant gets as much of as the baseline has.

    Of each variant the size n, one whole number for all layers, is the one that minimises |C(n) - C|, C being the
    baseline's cost; of two equally near the smaller. C is a count on the meta device, without memory or training.

    Args:
        budget: ``parameters``, or ``flops``: training FLOPs a token at the variant's own context length, as
            :meth:`lmzoo.models.Counts.training_flops_per_token` counts them; what is not counted there is not matched.
        of: ``total``, or ``body`` without the embedding and the head.
        by: the size: ``feed_forward``, the width between the projections of the feed-forward layers (the argument
            ``hidden`` of their class), or ``depth``, the number of layers.

    Raises:
        ArgumentError: one of them is unknown.
    """

    budget: str = "parameters"
    of: str = "total"
    by: str = "feed_forward"

    def __post_init__(self) -> None:
        for name, known in (("budget", tuple(BUDGETS)), ("of", SCOPES), ("by", tuple(SIZES))):
            value = getattr(self, name)
            require(value in known, name, f"one of {', '.join(known)}", value)

    @property
    def key(self) -> str:
        """The key of a run's configuration that holds the size."""
        return KEYS[self.by]

    def describe(self) -> str:
        """What is equal, in words, such as ``parameters of the body``."""
        return BUDGETS[self.budget] + (" of the body" if self.of == "body" else "")

    def cost(self, counts: Counts, context_length: int) -> float:
        """C of a counted model; a whole number."""
        if self.budget == "flops":
            return counts.training_flops_per_token(context_length, head=self.of == "total")
        return float(counts.total if self.of == "total" else counts.other)

    def solve(self, parts: Mapping[str, Any], vocab_size: int, context_length: int, target: float) -> Config:
        """The overrides that give a model the size at which it costs ``target`` as nearly as may be.

        Args:
            parts: the decoder's arguments, by name.
            vocab_size: its vocabulary's.
            context_length: tokens of a training window.
            target: the cost to come near to.

        Raises:
            OutOfReach: size 1 costs more than ``target``.
            ArgumentError: the feed-forward class has no ``hidden``, refuses a width, or does not cost more for more.
        """
        if self.by == "depth":
            size = self._size(lambda n: {**parts, "n_layers": n}, vocab_size, context_length, target)
            return {"model": {"n_layers": size}}
        cls, arguments = split(parts["feed_forward"])
        takes_width = "hidden" in inspect.signature(cls).parameters
        require(takes_width, "match", f"by: depth, since {cls.__name__} takes no width 'hidden'", self.by)

        def of_width(n: int) -> dict[str, Any]:
            return {**parts, "feed_forward": partial(cls, **{**arguments, "hidden": n})}

        size = self._size(of_width, vocab_size, context_length, target)
        return {"model": {"feed_forward": {"class_path": class_path_of(cls), "init_args": {"hidden": size}}}}

    def _size(
        self, of_size: Callable[[int], dict[str, Any]], vocab_size: int, context_length: int, target: float
    ) -> int:
        return nearest_size(lambda n: self.cost(count(vocab_size, **of_size(n)), context_length), target)


def nearest_size(cost: Callable[[int], float], target: float) -> int:
    """The n >= 1 with ``cost(n)`` nearest to ``target``, by doubling and bisection; of two equally near the smaller.

    Args:
        cost: of whole numbers, whole and never falling.
        target: what it should be.

    Raises:
        OutOfReach: ``cost(1)`` is above ``target``.
        ArgumentError: the cost does not grow.
    """
    low, high = 1, 2
    if cost(low) > target:
        raise OutOfReach(cost(low))
    while cost(high) <= target:
        # a part may round its width up, but hardly to a multiple of more than a thousand
        require(high <= 1024 * target, "match", "a size that the cost grows with", f"{cost(high):,.0f} at any size")
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= target else (low, middle)
    return low if target - cost(low) <= cost(high) - target else high


def sizes(decoder: Decoder) -> dict[str, int | None]:
    """The sizes of a model that matching solves for; None where its feed-forward layers do not name their width."""
    width = getattr(decoder.blocks[0].feed_forward, "hidden", None)
    return {"feed_forward": width if isinstance(width, int) else None, "depth": decoder.n_layers}
