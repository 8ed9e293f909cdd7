"""How varied a set of continuations is: distinct-n, seq-rep-n and the share of rare units."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import Any

Continuation = Sequence[Hashable]
"""One continuation as units of any kind: token ids or words."""

DISTINCT = (1, 2, 3)
REPETITION = 4


def ngrams(units: Continuation, n: int) -> Iterator[tuple[Hashable, ...]]:
    """The n-grams of one continuation in order: max(0, length - n + 1) of them."""
    return zip(*(units[i:] for i in range(n)))


def distinct(continuations: Sequence[Continuation], n: int) -> float:
    """distinct-n (Li et al. 2016): different n-grams of all continuations together / n-grams of all of them.

    No n-gram reaches from one continuation into the next. The more text, the lower the figure, so that only sets of
    equally many and equally long continuations compare. NaN where no continuation has n units.
    """
    found = [gram for units in continuations for gram in ngrams(units, n)]
    return len(set(found)) / len(found) if found else math.nan


def sequence_repetition(continuations: Sequence[Continuation], n: int = REPETITION) -> tuple[float, int]:
    """seq-rep-n (Welleck et al. 2020): mean over continuations of 1 - different n-grams / n-grams of the continuation.

    Returns:
        The mean and the number of continuations it is over: those of at least n units, since a shorter one has no
        n-gram that could come again. NaN and 0 where there are none.
    """
    counts = [(len(set(grams)), len(grams)) for units in continuations if (grams := list(ngrams(units, n)))]
    if not counts:
        return math.nan, 0
    return math.fsum(1 - different / total for different, total in counts) / len(counts), len(counts)


def share_outside(continuations: Sequence[Continuation], frequent: Collection[Hashable]) -> float:
    """Share of all units that are not among the ``frequent`` ones; NaN where there is no unit."""
    known = set(frequent)
    total = sum(len(units) for units in continuations)
    return sum(unit not in known for units in continuations for unit in units) / total if total else math.nan


def variety(continuations: Sequence[Continuation]) -> dict[str, Any]:
    """Number of units, distinct-1, -2 and -3, and seq-rep-4 with the number of continuations it is over."""
    repetition, over = sequence_repetition(continuations)
    return {
        "units": sum(len(units) for units in continuations),
        **{f"distinct_{n}": distinct(continuations, n) for n in DISTINCT},
        f"seq_rep_{REPETITION}": repetition,
        f"seq_rep_{REPETITION}_over": over,
    }
