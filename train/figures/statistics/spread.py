"""Means and spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from scipy.stats import norm, t


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n - 1) of ``n`` values; the deviation is NaN below two values."""

    n: int
    mean: float
    sd: float


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of the values, NaN included: a run without a figure must not vanish in a mean."""
    series = pd.Series(list(values), dtype="float64")
    if series.empty:
        return Spread(0, math.nan, math.nan)
    return Spread(len(series), float(series.mean(skipna=False)), float(series.std(ddof=1, skipna=False)))


def summarise(frame: pd.DataFrame, metric: str, variants: Sequence[str]) -> dict[str, Spread]:
    """The metric's spread over seeds for each variant that has rows in ``frame`` (columns variant, seed, metric)."""
    values = {name: frame.loc[frame["variant"] == name, metric].tolist() for name in variants}
    return {name: spread(rows) for name, rows in values.items() if rows}


def paired_means(frame: pd.DataFrame, metric: str, variants: Sequence[str]) -> tuple[dict[str, float], list[int]]:
    """The mean of each variant over the seeds that all of them have, and these seeds; what can be ranked.

    Variants without rows, or with a row that has no figure, are left out; without a common seed nothing is ranked.
    """
    return means_in_common({name: frame[frame["variant"] == name].set_index("seed")[metric] for name in variants})


def means_in_common(by_seed: Mapping[str, pd.Series]) -> tuple[dict[str, float], list[int]]:
    """:func:`paired_means` of each variant's figures, indexed by seed."""
    figures = {name: own for name, own in by_seed.items() if len(own) and own.notna().all()}
    seeds = sorted(set.intersection(*(set(own.index) for own in figures.values()))) if figures else []
    return ({name: float(own[seeds].mean()) for name, own in figures.items()} if seeds else {}), [int(s) for s in seeds]


def lowest(means: Mapping[str, float]) -> list[str]:
    """The variants of the lowest mean, in their order; none where there are no means."""
    least = min(means.values(), default=math.nan)
    return [name for name, mean in means.items() if mean == least]


def highest(means: Mapping[str, float]) -> list[str]:
    """The variants of the highest mean, in their order; none where there are no means."""
    return lowest({name: -mean for name, mean in means.items()})


_LEVEL = 0.95


def share_interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of ``n`` independent trials; it has a width where the share is 0 or 1, too.

    With z the normal quantile: (share + z^2 / 2n ± z sqrt(share (1 - share) / n + z^2 / 4n^2)) / (1 + z^2 / n).
    ``share`` may be a mean of trials that are themselves shares in [0, 1], whose variance is smaller: the interval is
    then wider than it need be, never narrower.
    """
    z = float(norm.ppf(0.5 + _LEVEL / 2))
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    below, above = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return max(0.0, below), min(1.0, above)


def mean_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean and 95 % interval (Student's t, n - 1) of independent values; no interval below two of them."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, None, None
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    half = float(t.ppf(0.5 + _LEVEL / 2, n - 1)) * error
    return mean, mean - half, mean + half
