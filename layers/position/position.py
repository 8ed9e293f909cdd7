"""The base of all position methods: templates that an owner binds to its own sizes."""

from __future__ import annotations

import copy
from typing import ClassVar, Literal, Self

from torch import Tensor

from ...errors import ArgumentError
from ..common.part import Part

PositionKind = Literal["query_key", "score", "embedding", "nothing"]


class Position(Part):
    """How a model learns where a token stands.

    An instance made by the user is a template that only holds its arguments. The owner, an attention layer or a
    decoder, calls :meth:`bind` and keeps the module that comes back, so one template serves many layers. ``acts_on``
    says which hook does the work; the other hooks are neutral:

    ============== =================== ===========================================================
    ``acts_on``    hook                works
    ============== =================== ===========================================================
    ``query_key``  :meth:`transform`   on queries and keys, before the keys are cached
    ``score``      :meth:`score_bias`  as a term that is added to the scores
    ``embedding``  :meth:`encode`      as a vector that is added to the token embedding
    ``nothing``    none                not at all
    ============== =================== ===========================================================

    Indices are absolute: the number of keys before a token in its sequence. Attention counts padding in (relative
    methods cancel the shift), the embedding does not.
    """

    acts_on: ClassVar[PositionKind]
    """Which hook does the work; every position says it."""

    max_length: int | None = None
    """The tokens that the position is defined for; a longer context is refused before training. None is any number."""

    def bind(self, *, d_model: int, n_heads: int) -> Self:
        """A fresh module with these arguments for a layer of width ``d_model`` with ``n_heads`` query heads."""
        bound = copy.deepcopy(self)
        bound.configure(d_model, n_heads)
        return bound

    def configure(self, d_model: int, n_heads: int) -> None:
        """Check the sizes and create what depends on them; called once, on the bound copy."""

    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Place queries (B, H, T, dh) and keys (B, G, T, dh), whose first row has absolute index ``start``."""
        return query, key

    def score_bias(self, n_queries: int, n_keys: int, like: Tensor) -> Tensor | None:
        """What is added to the scores of the last ``n_queries`` of ``n_keys`` rows, on the device of ``like``.

        Shape (H, Tq, Tk), or (H, 1, Tk) when the term depends on the key alone, which costs no (Tq, Tk) memory.
        float64 where ``like`` is, else float32. None adds nothing.
        """
        return None

    def encode(self, index: Tensor, like: Tensor) -> Tensor:
        """Vectors (..., d) for token indices (...), in the dtype of ``like``."""
        raise ArgumentError("position", "a position that acts on the embedding", type(self).__name__)


def as_template(position: Position | type[Position]) -> Position:
    """The template itself, or one with default arguments where a class is given."""
    if isinstance(position, type) and issubclass(position, Position):
        return position()
    if isinstance(position, Position):
        return position
    raise ArgumentError("position", "a Position, or a class of positions", position)
