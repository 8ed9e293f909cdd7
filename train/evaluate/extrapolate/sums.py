"""What is added up from scored tokens, and how much a figure hangs on which documents were in the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...figures.statistics.bootstrap import UNITS, resampled_sums
from ...fit.perplexity import figures

if TYPE_CHECKING:  # slow to import, and a report needs the names of the figures alone
    from .stream import TextStream


@dataclass(frozen=True)
class Scores:
    """Every scored target once, n of them.

    Attributes:
        target: index in the stream, (n,).
        context: tokens before it in its window, (n,).
        nll: in nats, (n,).
    """

    target: npt.NDArray[np.int64]
    context: npt.NDArray[np.int64]
    nll: npt.NDArray[np.float64]


def by_document(stream: TextStream, scores: Scores) -> dict[str, list[Any]]:
    """Sums over the targets of each document that has any, in the documents' order; lists of equal length."""
    index = stream.document[scores.target]
    present, place = np.unique(index, return_inverse=True)
    sums: dict[str, list[Any]] = {"document": present.tolist()}
    sums["nll"] = np.bincount(place, weights=scores.nll).tolist()
    sums["tokens"] = np.bincount(place).tolist()
    for name, counts in (("words", stream.words), ("bytes", stream.bytes)):
        # whole numbers below 2^53 are exact in the float64 of weights
        sums[name] = np.bincount(place, weights=counts[scores.target]).astype(np.int64).tolist()
    return sums


def by_position(scores: Scores) -> list[dict[str, float | int]]:
    """Mean nll by the context that a target had in its window, in buckets 1, 2 to 3, 4 to 7 and so on.

    One mapping for each bucket with targets: ``first`` and ``last`` context, ``tokens``, ``nll`` (the sum) and
    ``cross_entropy`` (the mean).
    """
    bucket = np.frexp(scores.context.astype(np.float64))[1] - 1
    counts = np.bincount(bucket)
    sums = np.bincount(bucket, weights=scores.nll)
    longest = int(scores.context.max())
    return [
        {
            "first": 1 << k,
            "last": min((2 << k) - 1, longest),
            "tokens": int(counts[k]),
            "nll": float(sums[k]),
            "cross_entropy": float(sums[k] / counts[k]),
        }
        for k in np.flatnonzero(counts).tolist()
    ]


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
        sums: lists with an entry for each document, as :func:`by_document` gives them.
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
