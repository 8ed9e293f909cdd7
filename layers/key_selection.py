"""How many keys a row may choose by the votes of its heads."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import require


@dataclass(frozen=True)
class KeySelection:
    """The numbers of keys that take part in a row of selective attention, three kinds that do not overlap.

    Attributes:
        keys: k, chosen by votes.
        recent: the newest keys, the row's own first, which always take part.
        sinks: the first real keys of the sequence, which always take part.

    Raises:
        ArgumentError: ``keys`` or ``recent`` is below 1, or ``sinks`` below 0.
    """

    keys: int
    recent: int = 1
    sinks: int = 0

    def __post_init__(self) -> None:
        require(self.keys >= 1, "keys", "an integer of at least 1", self.keys)
        require(self.recent >= 1, "recent", "an integer of at least 1: a row sees itself", self.recent)
        require(self.sinks >= 0, "sinks", "an integer of at least 0", self.sinks)

    @property
    def total(self) -> int:
        """The most keys that take part in a row."""
        return self.keys + self.recent + self.sinks
