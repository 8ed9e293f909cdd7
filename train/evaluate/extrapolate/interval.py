"""How much a figure hangs on which documents were in the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...figures.statistics.bootstrap import UNITS, resampled_sums
from ...fit.perplexity import figures

# by what the nll is divided for each figure
FIGURES = {
    "cross_entropy": "tokens",
    "token_perplexity": "tokens",
    "word_perplexity": "words",
    "bits_per_byte": "bytes",
}


def interval(sums: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """95 % percentile intervals of the figures from resampling documents: ``<figure>_low`` and ``<figure>_high``.

    None below two documents: of a single one nothing can be resampled. It says how far the figure would move with
    other documents of the kind, not how far with another seed of training. With few documents it is too narrow.

    Args:
        sums: lists with an entry for each document, as :func:`.sums.by_document` gives them.
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
