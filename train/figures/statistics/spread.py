"""Means over seeds and trials, their spread and their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from scipy.stats import norm, t

Better = Literal["lower", "higher"]
"""Which way a metric is better; said before anything is measured."""

LEVEL = 0.95
"""Confidence of every interval."""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n - 1) of ``n`` values; the deviation is NaN below two values."""

    n: int
    mean: float
    sd: float


def spread(values: Iterable[float]) -> Spread:
    """Mean and standard deviation of the values, NaN included: a run without a figure must not vanish in a mean."""
    series = pd.Series(list(values), dtype="float64")
    if series.empty:
        return Spread(0, math.nan, math.nan)
    return Spread(len(series), float(series.mean(skipna=False)), float(series.std(ddof=1, skipna=False)))


def by_seed(frame: pd.DataFrame, metric: str, variants: Iterable[str]) -> dict[str, pd.Series]:
    """The metric by seed of each variant that has rows in ``frame`` (columns variant, seed, metric)."""
    rows = {name: frame[frame["variant"] == name] for name in variants}
    return {name: own.set_index("seed")[metric] for name, own in rows.items() if len(own)}


def summarise(frame: pd.DataFrame, metric: str, variants: Iterable[str]) -> dict[str, Spread]:
    """The metric's spread over seeds for each variant that has rows in ``frame`` (columns variant, seed, metric)."""
    return {name: spread(figures) for name, figures in by_seed(frame, metric, variants).items()}


def means_in_common(figures: Mapping[str, pd.Series]) -> tuple[dict[str, float], list[int]]:
    """The mean of each variant over the seeds that all of them have, and these seeds; what can be ranked.

    Variants without figures, or with a seed that has none, are left out; without a common seed nothing is ranked.

    Args:
        figures: of each variant, indexed by seed.
    """
    whole = {name: own for name, own in figures.items() if len(own) and own.notna().all()}
    seeds = sorted(set.intersection(*(set(own.index) for own in whole.values()))) if whole else []
    return ({name: float(own[seeds].mean()) for name, own in whole.items()} if seeds else {}), [int(s) for s in seeds]


def leaders(means: Mapping[str, float], better: Better = "lower") -> list[str]:
    """The variants of the best mean, in their order; none where there are no means."""
    best = (min if better == "lower" else max)(means.values(), default=math.nan)
    return [name for name, mean in means.items() if mean == best]


def t_interval(mean: float, sd: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Mean ± t(1/2 + level/2, n - 1) sd / sqrt(n), Student's, of ``n`` independent values, two or more."""
    half = float(t.ppf(0.5 + level / 2, n - 1)) * sd / math.sqrt(n)
    return mean - half, mean + half


def mean_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean and 95 % :func:`t_interval` of independent values; no interval below two of them."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, None, None
    return mean, *t_interval(mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1)), n)


def share_interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of ``n`` independent trials; it has a width where the share is 0 or 1, too.

    With z the normal quantile: (2n share + z^2 ± z sqrt(4n share (1 - share) + z^2)) / (2 (n + z^2)), as Newcombe,
    1998, and ``scipy.stats.binomtest`` have it, which takes whole numbers of successes alone. ``share`` may be a mean
    of trials that are themselves shares in [0, 1], whose variance is smaller: the interval is then wider than it need
    be, never narrower.
    """
    z = float(norm.ppf(0.5 + LEVEL / 2))
    scale = 2 * (n + z**2)
    middle = (2 * n * share + z**2) / scale
    half = z / scale * math.sqrt(4 * n * share * (1 - share) + z**2)
    return 0.0 if share == 0 else middle - half, 1.0 if share == 1 else middle + half
