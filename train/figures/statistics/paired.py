"""Differences of a variant to the baseline, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from scipy import stats

from .spread import LEVEL, by_seed, t_interval

Scale = Literal["log", "linear"]
"""``log``: differences of logarithms, whose exponential is a ratio; ``linear``: differences as they are."""

ROUNDING = 1e-10
"""Differences that lie no further apart are equal: 0.15 - 0.1 and 0.2 - 0.15 differ in the last digits alone."""


@dataclass(frozen=True)
class Paired:
    """Differences variant - baseline, one for each seed that both have.

    Runs of one seed saw the same batches in the same order, so that the order's share of the noise cancels. A
    difference without a figure is NaN, and with it everything that follows from the differences: none vanishes.

    Args:
        seeds: in rising order.
        values: the difference of each, on the scale.
        scale: of the values.
    """

    seeds: tuple[int, ...]
    values: tuple[float, ...]
    scale: Scale = "linear"

    @property
    def n(self) -> int:
        """How many seeds both have."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """The mean difference; NaN without a seed."""
        if len(set(self.values)) == 1:
            return self.values[0]  # a sum of equal values over their number may differ in the last digit
        if not all(map(math.isfinite, self.values)):
            return math.nan
        return math.fsum(self.values) / self.n if self.n else math.nan

    @property
    def sd(self) -> float:
        """Standard deviation of the differences (n - 1); NaN below two, exactly 0 where all are equal to rounding."""
        if self.n < 2 or not math.isfinite(self.mean):
            return math.nan
        if max(self.values) - min(self.values) <= ROUNDING:
            return 0.0
        return math.sqrt(math.fsum((value - self.mean) ** 2 for value in self.values) / (self.n - 1))

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Student's :func:`t_interval` of the mean; both ends NaN below two seeds and without any spread.

        Equal differences do not make their mean certain: figures that count, such as right answers, agree by chance.
        """
        if math.isnan(self.sd) or self.sd == 0:
            return math.nan, math.nan
        return t_interval(self.mean, self.sd, self.n, level)

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided p of the paired t test that the mean difference is ``null``; NaN below two seeds.

        Without any spread the test has no t: then 1 where the differences equal ``null``, else NaN.
        """
        if math.isnan(self.sd):
            return math.nan
        if self.sd == 0:
            return 1.0 if abs(self.mean - null) <= ROUNDING else math.nan
        return float(2 * stats.t.sf(abs(self.mean - null) / (self.sd / math.sqrt(self.n)), self.n - 1))


def paired(variant: Mapping[int, float], baseline: Mapping[int, float], scale: Scale = "linear") -> Paired:
    """The differences over the seeds that both have, from each one's figure by seed.

    On the ``log`` scale a figure of 0 or below has no logarithm, and the difference is NaN.
    """
    seeds = tuple(sorted(variant.keys() & baseline.keys()))
    change = _log if scale == "log" else float
    return Paired(seeds, tuple(change(variant[seed]) - change(baseline[seed]) for seed in seeds), scale)


def paired_differences(
    frame: pd.DataFrame, metric: str, variant: str, baseline: str, scale: Scale = "linear"
) -> Paired:
    """The same from a ``frame`` with the columns variant, seed and the metric."""
    figures: dict[str, dict[int, float]] = {variant: {}, baseline: {}}
    for name, own in by_seed(frame, metric, figures).items():
        if own.index.has_duplicates:
            raise AssertionError(f"{name} has several {metric} of one seed")
        figures[name] = dict(zip(map(int, own.index), map(float, own), strict=True))
    return paired(figures[variant], figures[baseline], scale)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else math.nan
