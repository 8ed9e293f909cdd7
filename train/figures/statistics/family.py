"""The tests of one table: every variant against the baseline, corrected for their number, each with its verdict."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from scipy import stats

from ....errors import require
from .paired import Paired, Scale, paired_differences
from .spread import Better

EFFECT = 0.01
"""Relative difference of perplexity that a comparison wants to see, unless its file says otherwise."""

POWER = 0.8
ALPHA = 0.05

Word = Literal["better", "worse", "tie", "exact tie", "no spread", "diverged", "one seed", "no figure", "not paired"]

MEANING = (
    "better or worse: the Holm-adjusted p is below 5 %; tie: it is not; exact tie: every seed's figures are equal; "
    "no spread: every seed differs by the same, which no test can weigh; diverged: the one that would be ahead "
    "lost a seed so; one seed: no verdict; no figure: a run has none; not paired: no seed in common."
)


def verdict(differences: Paired, adjusted_p: float, better: Better = "lower") -> Word:
    """The word for differences to the baseline whose p-value, corrected over their table, is ``adjusted_p``."""
    if not differences.n:
        return "not paired"
    if any(not math.isfinite(value) for value in differences.values):
        return "no figure"
    if differences.n == 1:
        return "one seed"
    if all(value == 0 for value in differences.values):
        return "exact tie"
    if differences.sd == 0:
        return "no spread"
    if adjusted_p >= ALPHA:
        return "tie"
    return "better" if (differences.mean < 0) == (better == "lower") else "worse"


def holm(p_values: Sequence[float]) -> list[float]:
    r"""Adjusted p-values of Holm, 1979, in the order given: a test is significant at a level if its own is below it.

    With the m p-values in rising order, :math:`\tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) p_{(j)})`. It holds
    the chance of any false finding in the table at the level, however the tests depend on each other.

    NaN, of what could not be tested, stays NaN and is not counted in m.
    """
    tested = [i for i, p in enumerate(p_values) if not math.isnan(p)]
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for place, i in enumerate(sorted(tested, key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(tested) - place) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def power_of(n: int, effect: float, sd: float, *, alpha: float = ALPHA) -> float:
    r"""Chance that a two-sided paired t test of ``n`` seeds finds a mean difference of ``effect``, exactly.

    With t noncentral of n - 1 degrees of freedom and noncentrality :math:`\delta = |effect| \sqrt n / sd`:
    :math:`P(t_{n-1,\delta} > t_{1-\alpha/2}) + P(t_{n-1,\delta} < -t_{1-\alpha/2})`.
    """
    require(n >= 2, "n", "2 seeds or more", n)
    require(sd > 0, "sd", "above 0", sd)
    critical = stats.t.ppf(1 - alpha / 2, n - 1)
    delta = abs(effect) * math.sqrt(n) / sd
    return float(stats.nct.sf(critical, n - 1, delta) + stats.nct.cdf(-critical, n - 1, delta))


def seeds_needed(effect: float, sd: float, *, power: float = POWER, alpha: float = ALPHA) -> float:
    """The smallest number of seeds whose :func:`power_of` is at least ``power``; a whole number, or NaN or infinity.

    It is of one test at ``alpha``, before Holm's correction, and takes the observed ``sd`` for the true one, which of
    three seeds may be off by half or by three times. Without any spread two seeds are enough; with an unknown one the
    answer is NaN; for no effect no number is enough.
    """
    require(0 < power < 1, "power", "between 0 and 1", power)
    if math.isnan(sd) or math.isnan(effect):
        return math.nan
    if effect == 0:
        return math.inf
    if sd == 0:
        return 2.0
    # a test that knew sd would need this many; Student's, which does not, needs more: the search begins here
    z = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    n = max(2, math.floor((z * sd / abs(effect)) ** 2))
    while power_of(n, effect, sd, alpha=alpha) < power:
        n += 1
    return float(n)


@dataclass(frozen=True)
class Tested:
    """One variant's test against the baseline.

    Attributes:
        differences: variant - baseline by seed.
        p: of the paired t test, by itself.
        adjusted_p: by Holm over the table's variants.
        seeds_needed: to see the stated effect with 80 % power at 5 %, were the spread as observed.
    """

    differences: Paired
    p: float
    adjusted_p: float
    verdict: Word
    seeds_needed: float


def family(
    frame: pd.DataFrame,
    metric: str,
    variants: Sequence[str],
    baseline: str,
    *,
    scale: Scale = "log",
    better: Better = "lower",
    effect: float = math.nan,
    diverged: Collection[str] = (),
) -> dict[str, Tested]:
    """Test each of ``variants`` but the baseline; empty where the baseline has no rows.

    Args:
        frame: columns variant, seed and the metric.
        metric: the column.
        variants: those without rows are left out.
        baseline: one of them.
        scale: of the differences; ``log`` for perplexities.
        better: which way the metric is better.
        effect: the size for which seeds are counted: a ratio less 1 on the log scale, else a difference.
        diverged: of which a seed has no figure since its training diverged; none of them is called the better one.
    """
    present = set(frame["variant"])
    names = [name for name in variants if name != baseline and name in present] if baseline in present else []
    differences = {name: paired_differences(frame, metric, name, baseline, scale) for name in names}
    p_values = [own.p_value() for own in differences.values()]
    size = math.log1p(effect) if scale == "log" else effect
    tested = {}
    for (name, own), p, adjusted in zip(differences.items(), p_values, holm(p_values), strict=True):
        word = verdict(own, adjusted, better)
        if {"better": name, "worse": baseline}.get(word) in diverged:
            word = "diverged"
        tested[name] = Tested(own, p, adjusted, word, seeds_needed(size, own.sd))
    return tested
