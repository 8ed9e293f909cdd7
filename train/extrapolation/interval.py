"""How much a figure hangs on which documents were in the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..perplexity import figures
from .sums import Floats

UNITS = ("nll", "tokens", "words", "bytes")
# by what the nll is divided for each figure
FIGURES = {
    "cross_entropy": "tokens",
    "token_perplexity": "tokens",
    "word_perplexity": "words",
    "bits_per_byte": "bytes",
}
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


def interval(sums: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """95 % percentile intervals of the figures from resampling documents: ``<figure>_low`` and ``<figure>_high``.

    None below two documents: of a single one nothing can be resampled. It says how far the figure would move with
    other documents of the kind, not how far with another seed of training. With few documents it is too narrow.

    Args:
        sums: lists with an entry for each document, as :func:`lmzoo.train.extrapolation.sums.by_document` gives them.
    """
    if len(sums["nll"]) < 2:
        return {f"{name}_{end}": None for name in FIGURES for end in ("low", "high")}
    totals = resampled_sums(sums)
    found: dict[str, Any] = {}
    for name, unit in FIGURES.items():
        amount = totals[:, UNITS.index(unit)]
        if (amount == 0).any():  # as where some documents hold no word
            found |= {f"{name}_low": None, f"{name}_high": None}
            continue
        for end, ratio in zip(("low", "high"), np.percentile(totals[:, 0] / amount, (2.5, 97.5))):
            # every figure rises with its ratio, so that its percentile is the figure of the ratio's
            found[f"{name}_{end}"] = figures(float(ratio), 1, 1, 1)[name]
    return found
