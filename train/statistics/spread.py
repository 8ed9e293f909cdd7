"""Means and spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd


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
