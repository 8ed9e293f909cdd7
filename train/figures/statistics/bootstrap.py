"""Noise of the evaluation: how far a difference would move with other documents of the kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ....errors import require

Floats = npt.NDArray[np.float64]

UNITS = ("nll", "tokens", "words", "bytes")


RESAMPLES = 2000


_SEED = 0


_CELLS = 1 << 22


def resampled_sums(sums: Mapping[str, Sequence[float]], *, resamples: int = RESAMPLES) -> Floats:
    """Sums of texts drawn document by document, with replacement, as many as there are: (resamples, 4) for UNITS.

    The draws depend on the number of documents alone, so that two models scored on the same documents are drawn alike,
    and differences of their figures pair.
    """
    generator = np.random.default_rng(_SEED)
    columns = np.stack([np.asarray(sums[name], dtype=np.float64) for name in UNITS], axis=1)
    n = len(columns)
    rows = max(1, _CELLS // n)
    drawn = []
    for first in range(0, resamples, rows):
        counts = generator.multinomial(n, np.full(n, 1 / n), size=min(rows, resamples - first))
        drawn.append(counts @ columns)
    return np.concatenate(drawn)


Sums = Mapping[str, Sequence[Any]]
"""Sums by document: ``document``, ``nll``, ``tokens``, ``words``, ``bytes``, lists of equal length."""


def pairs_of(variant: Mapping[int, Sums | None], baseline: Mapping[int, Sums | None]) -> list[tuple[Sums, Sums]]:
    """The sums of two variants by seed, paired over the seeds that both have; empty unless all are of one text.

    A seed without sums, as of a record from before they were kept, leaves nothing: an interval over the other seeds
    would be of another difference than the one it stands beside.
    """
    pairs = [(variant[seed], baseline[seed]) for seed in variant if seed in baseline]
    known = [(one, other) for one, other in pairs if one is not None and other is not None]
    alike = all(list(one["document"]) == list(other["document"]) for one, other in known)
    return known if alike and len(known) == len(pairs) else []


def bootstrap_interval(
    pairs: Sequence[tuple[Sums, Sums]], unit: str = "tokens", *, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """95 % percentile interval of the mean difference in nats a unit, variant - baseline, over resampled documents.

    Documents are drawn with replacement, as many as there are, and the same draw serves both models of every pair: what
    makes a document hard for both cancels. It is of these trained models; another seed is not in it.

    Args:
        pairs: (variant, baseline) sums, one pair a seed, all of the same documents.
        unit: ``tokens``, ``words`` or ``bytes``.
        resamples: how often documents are drawn.

    Returns:
        None without a pair, below two documents, and where a draw holds no unit.

    Raises:
        ArgumentError: the documents are not the same, or the unit is none.
    """
    require(unit in UNITS[1:], "unit", " or ".join(UNITS[1:]), unit)
    differences = []
    for variant, baseline in pairs:
        same = list(variant["document"]) == list(baseline["document"])
        require(same, "pairs", "sums of the same documents", f"{len(variant['nll'])} and {len(baseline['nll'])}")
        if len(variant["nll"]) < 2:
            return None
        ratios = []
        for sums in (variant, baseline):
            totals = resampled_sums(sums, resamples=resamples)
            amount = totals[:, UNITS.index(unit)]
            if (amount == 0).any():
                return None
            ratios.append(totals[:, 0] / amount)
        differences.append(ratios[0] - ratios[1])
    if not differences:
        return None
    low, high = np.percentile(np.mean(differences, axis=0), (2.5, 97.5))
    return float(low), float(high)
